"""More that the demo shows of copies: of two groups at one time, onto a volume, cloned, and taken away."""

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import tidelog
from examples.demo import bank
from examples.demo.names import (
    AFTER_VOLUME_COPY,
    BOTH_GROUPS,
    COUNTER,
    DRILL,
    GROUP,
    JOURNAL,
    LEDGER,
    SECOND_GROUP,
    SITES,
    TEST_LEDGER,
)
from tidelog.gateways.sqlite import database

if TYPE_CHECKING:
    from examples.demo.steps import Demo

_NUMBER_BYTES = 8


class Counter:
    """How many transactions there were, in a volume of another group: counted behind each commit."""

    def __init__(self, group: tidelog.Group) -> None:
        self._volume = group.create_volume(COUNTER, size="1MiB")
        self._value = 0

    def count(self) -> None:
        """One more."""
        self._value += 1
        self._volume.write(0, self._value.to_bytes(_NUMBER_BYTES))


def drill(demo: "Demo", copy: tidelog.MarkedCopy) -> None:
    """Writes to a clone of london's copy while replication goes on; the copy stays what it is."""
    demo.say(f"a drill at london, on a clone of {copy.name}, while transfers go on:")
    before = copy.wait(sites=["london"], timeout=60)["london"].digest
    demo.tool("pitc", "clone", copy.name, DRILL, "--group", GROUP, "--site", "london")
    with tidelog.open_site("london", config=demo.config) as site:
        group = site.group(GROUP)
        clone = group.clone(DRILL)
        with closing(database(clone, clone.volume(LEDGER), clone.volume(JOURNAL))) as connection:
            found = bank.examine(connection)
            demo.check(found.sound, f"the clone is the database: {found}")
            connection.execute("UPDATE account SET balance = 0")
            spoiled = bank.examine(connection)
        demo.check(spoiled.integrity == "ok" and spoiled.total == 0, f"and can be written to: {spoiled}")
        view = group.copy(copy.name)
        demo.check(bank.audit(view.volume(LEDGER), view.volume(JOURNAL)) == found, "nothing of that is in the copy")
        demo.check(view.digest() == before, f"whose digest is {before.hex()} as before")
    demo.tool("clone", "drop", DRILL, "--group", GROUP, "--site", "london")


def audit_both_groups(demo: "Demo") -> None:
    """At every site, the two groups' copies by time: the counter of one is never ahead of the database in the other,
    and at most one behind."""
    demo.say(f"opening both groups' copies {BOTH_GROUPS} at every site:")
    demo.tool("pitc", "orders")
    digests = set()
    for name in SITES:
        with tidelog.open_site(name, config=demo.config) as site:
            bank_copy, orders_copy = (site.group(group).copy(BOTH_GROUPS) for group in (GROUP, SECOND_GROUP))
            found = bank.audit(bank_copy.volume(LEDGER), bank_copy.volume(JOURNAL))
            counted = int.from_bytes(orders_copy.volume(COUNTER).read(0, _NUMBER_BYTES))
            digests.add((bank_copy.digest(), orders_copy.digest()))
        of_one_moment = found.transactions is not None and 0 <= found.transactions - counted <= 1
        demo.check(found.sound and of_one_moment, f"{name}: {counted} counted in {SECOND_GROUP}; {GROUP}: {found}")
    demo.check(len(digests) == 1, f"both are the same at {', '.join(SITES)}")


def copy_onto_volume(demo: "Demo", group: tidelog.Group, transact: Callable[[], None]) -> None:
    """Copies the ledger onto another mirrored volume, and once more after a transaction: a command each time."""
    demo.say(f"copying volume {LEDGER} onto volume {TEST_LEDGER} at every site, by a command in the log:")
    group.create_volume(TEST_LEDGER, size="64MiB")
    first = group.copy_volume(LEDGER, TEST_LEDGER)
    transact()
    second = group.copy_volume(LEDGER, TEST_LEDGER)
    for what, copied in (("first", first), ("incremental", second)):
        size = copied.blocks * copied.block_size
        demo.say(f"{what}: {copied.blocks} blocks, {size:,} bytes, told in {copied.bitmap_bytes:,} bytes")
    demo.check(0 < second.blocks < first.blocks, "the second copy moves only what has changed")
    group.mark(AFTER_VOLUME_COPY).wait(sites=SITES, timeout=60)
    with tidelog.open_site("london", config=demo.config) as site:
        copy = site.group(GROUP).copy(AFTER_VOLUME_COPY)
        ledger, test_ledger = copy.volume(LEDGER), copy.volume(TEST_LEDGER)
        equal = ledger.read(0, ledger.size) == test_ledger.read(0, test_ledger.size)
        found = bank.audit(test_ledger, copy.volume(JOURNAL))
    demo.check(equal and found.sound, f"{TEST_LEDGER} equals {LEDGER} at london, and is a database: {found}")


def take_away(demo: "Demo", copy: tidelog.MarkedCopy) -> None:
    """Exports london's copy, and verifies the export with no site and no log."""
    demo.say(f"taking {copy.name} away from london, as Avro files:")
    with tempfile.TemporaryDirectory(prefix="tidelog-demo-") as folder:
        place = Path(folder, copy.name)
        demo.tool("pitc", "export", copy.name, "--group", GROUP, "--site", "london", "--to", str(place))
        demo.tool("export", "verify", str(place))
        digest = json.loads((place / "manifest.json").read_text())["pitc"]["digest"]
    known = demo.receipts[copy.name]["tokyo"].digest.hex()
    demo.check(digest == known, f"the export has the digest that tokyo's copy has, {known}")

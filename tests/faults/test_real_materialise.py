"""Any point in time on real Kafka and Redis, while writers, cuts, drops and copies onto volumes go on."""

import random
import threading
import uuid

import pytest

from tests.faults.folded import all_equal
from tests.reference import Reference
from tests.reference_image import Cut
from tidelog.consumers.clone_view import CloneView
from tidelog.gateways.sqlite import database
from tidelog.producers.group import Group
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
KIB = 1024
SIZE = 256 * KIB + 100
DEADLINE = 60.0


def go_on(group: Group, ended: threading.Event, failures: list[BaseException]) -> None:
    """Some of everything, until it is told to end."""
    chance, turn = random.Random(2), 0
    try:
        while not ended.is_set():
            ledger = group.volume("ledger")
            for _ in range(20):
                ledger.write(chance.randrange(SIZE - 5000), chance.randbytes(chance.choice([1, 100, 4096, 5000])))
            ledger.discard(chance.randrange(SIZE - 20_000), 20_000)
            if turn % 4 == 0:
                group.mark(f"m{turn}")
            if turn % 8 == 7:
                group.drop_copy(f"m{turn - 3}")
            if turn % 5 == 1:
                group.create_volume(f"v{turn}", SIZE).write(5, chance.randbytes(3000))
            if turn % 5 == 4:
                group.volume(f"v{turn - 3}").resize(10 * KIB + turn)
            if turn % 5 == 2 and turn > 5:
                group.delete_volume(f"v{turn - 6}")
            if turn % 10 == 3:
                group.copy_volume("ledger", "copied")
            group.flush()
            turn += 1
            ended.wait(0.05)
    except BaseException as error:
        failures.append(error)


class Log:
    """The records of a group's log, and the reference's folds of them."""

    def __init__(self, running: RunningDeployment, group: str) -> None:
        self._cluster, self._group = running.deployment.cluster, group
        self._record = self._cluster.find_group(group)

    def fold(self, sequence: int | None = None) -> Reference:
        log = self._cluster.log(self._record)
        reader = log.reader(0)
        values = [(found.offset, found.value) for found in reader.records(log.bounds().end, 30)]
        reader.close()
        log.close()
        return Reference(self._record.group_id).fold(values, sequence)

    def check(self, view: CloneView) -> None:
        """A clone is what the reference has at its sequence."""
        reference = self.fold(view.sequence)
        if reference.sequence == view.sequence:  # else it ends inside a batch
            assert (view.seal, view.timestamp_us) == (reference.seal, reference.timestamp_us)
            found = {one.id: (one.name, one.info.block_size, one.read(0, one.size)) for one in view.volumes()}
            assert found == reference.image()
            assert view.digest() == Cut(0, b"", "", 0, reference.image(), 0).digest


def test_while_writers_go_on(tidelog_deployment: RunningDeployment) -> None:
    """By sequence and by time, all over the log, at two sites: as the reference says, and the same at both; and the
    sites' copies are what they were."""
    running = tidelog_deployment
    group = running.group(f"g-{uuid.uuid4().hex[:12]}")
    for site in ("tokyo", "osaka"):
        running.wait_for_store(site, group.name)
    group.create_volume("ledger", SIZE)
    group.create_volume("copied", SIZE)
    ended, failures = threading.Event(), []
    writer = threading.Thread(target=go_on, args=(group, ended, failures))
    writer.start()
    log, chance = Log(running, group.name), random.Random(3)
    osaka, tokyo = (running.site(site).group(group.name) for site in ("osaka", "tokyo"))
    try:
        for turn in range(8):
            some = chance.choice(log.fold().counted[3:])
            view = osaka.materialise(f"a{turn}", sequence=some.last)
            log.check(view)
            if turn % 3 == 0:
                timed = tokyo.materialise(f"b{turn}", at=view.timestamp_us + chance.choice([0, 1]))
                assert timed.digest() == view.digest() and timed.seal == view.seal
                inside = chance.randrange(some.first, some.last + 1)
                one, other = (site.materialise(f"c{turn}", sequence=inside) for site in (osaka, tokyo))
                assert one.digest() == other.digest() and one.sequence == other.sequence == inside
            assert not failures
            if turn % 2:
                osaka.drop_clone(view.name)
    finally:
        ended.set()
        writer.join()
    assert not failures
    for name in [clone.name for clone in osaka.clones()]:
        if name.startswith("a"):
            log.check(osaka.clone(name))
    copies = group.mark("end").wait(["tokyo", "osaka"], timeout=DEADLINE)
    assert len({receipt.digest for receipt in copies.values()}) == 1
    assert osaka.materialise("end", sequence=log.fold().sequence).digest() == copies["osaka"].digest
    all_equal(running.deployment, group.name, ("tokyo", "osaka"))


def test_a_database_as_it_was(tidelog_deployment: RunningDeployment) -> None:
    """SQLite on a moment before somebody deleted the accounts, read and written to; the group goes on without them."""
    running = tidelog_deployment
    group = running.group(f"g-{uuid.uuid4().hex[:12]}")
    for site in ("osaka", "tokyo"):
        running.wait_for_store(site, group.name)
    live = database(group, group.create_volume("main", "1MiB"), group.create_volume("journal", "1MiB"))
    live.execute("CREATE TABLE accounts (name TEXT, balance INT)")
    live.execute("INSERT INTO accounts VALUES ('a', 7), ('b', 8)")
    group.flush()
    good = group.session.confirmed.sequence
    live.execute("DELETE FROM accounts")
    live.close()
    group.flush()
    view = running.site("osaka").group(group.name).materialise("was", sequence=good)
    was = database(view, view.volume("main"), view.volume("journal"))
    assert was.execute("SELECT sum(balance) FROM accounts").fetchall() == [(15,)]
    was.execute("INSERT INTO accounts VALUES ('c', 9)")
    assert was.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    was.close()
    Log(running, group.name).check(running.site("tokyo").group(group.name).materialise("again", sequence=good))
    all_equal(running.deployment, group.name, ("tokyo", "osaka"))

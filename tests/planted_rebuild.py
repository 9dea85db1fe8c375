"""The planted bugs in rebuilding a site from a base."""

from tests.planted import Mutant

BASE = "tests/recovery/test_rebuild_base.py"
CHOICE = "tests/recovery/test_rebuild_choice.py"
STORE = "tests/stores/test_base.py"

REBUILD_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "rebuild-takes-a-base-unproved",
        "recovery/base_load.py",
        "        if copy_digest(proved) != self._base.digest:\n",
        "        if not proved:\n",
        BASE,
    ),
    Mutant(
        "rebuild-goes-on-with-what-was-not-erased",
        "stores/base.py",
        "        load._value = encode_loading(load._name, _nobodys(loading))\n",
        "        load._value = encode_loading(load._name, loading)\n",
        STORE,
    ),
    Mutant(
        "rebuild-forgets-the-bits-of-what-it-goes-on-with",
        "stores/base.py",
        '            load._named[volume.id] = ChangeBitmap(cast("bytes | None", bits))\n',
        "            load._named[volume.id] = ChangeBitmap()\n",
        STORE,
    ),
    Mutant(
        "rebuild-loads-from-a-block-too-far",
        "recovery/base_load.py",
        "        named.discard_range(0, after + 1)\n",
        "        named.discard_range(0, after + 2)\n",
        BASE,
    ),
    Mutant(
        "rebuild-holds-no-copy",
        "recovery/base_load.py",
        "        self._contents = self._store.contents(self._lease.copy)\n",
        "        self._lease.close()\n        self._contents = self._store.contents(copy)\n",
        BASE,
    ),
    Mutant(
        "rebuild-takes-what-receipts-contradict",
        "recovery/base_search.py",
        'return f"its digest is contradicted by {\', \'.join(against)}" if against else ""',
        'return "" if against else ""',
        CHOICE,
    ),
    Mutant(
        "rebuild-does-not-look-at-the-log-again",
        "recovery/base_load.py",
        "        self.check_log()\n        load.finish(",
        "        load.finish(",
        BASE,
    ),
    Mutant(
        "rebuild-is-good-at-its-base",
        "stores/base.py",
        '        goal = None if until_sequence is None else b"%d" % until_sequence\n',
        "        goal = None\n",
        STORE,
    ),
    Mutant(
        "rebuild-erases-what-another-has-taken",
        "stores/erase.py",
        "        if name is not None and value != name:\n",
        "        if name is not None and value is None:\n",
        "tests/stores/test_erases_at_once.py",
    ),
)

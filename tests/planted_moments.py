"""The planted bugs in what makes a moment of the past: windows, filling, claims."""

from tests.planted import Mutant

EVERY = "tests/stores/test_materialise.py"
BOTH = "tests/stores/test_materialise.py tests/consumers/test_materialise.py"

MOMENT_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "moment-one-write-late",
        "consumers/materialise.py",
        "self._moment.sequence + 1 - batch.sequence)",
        "self._moment.sequence + 2 - batch.sequence)",
        EVERY,
    ),
    Mutant(
        "moment-before-its-own-time",
        "consumers/materialise.py",
        "        return bisect_right(batch.timestamps_us, self._moment.at_us)\n",
        "        return bisect_right(batch.timestamps_us, self._moment.at_us - 1)\n",
        EVERY,
    ),
    Mutant(
        "moment-that-is-not-over",
        "consumers/moments.py",
        "moment.at_us > window.last_us\n",
        "moment.at_us > window.last_us + 10**9\n",
        EVERY,
    ),
    Mutant(
        "filled-over-nothing",
        "stores/clone_keys.py",
        "        if self._reader is None:\n",
        "        if self._reader is None or len(changes.entries) > 1:\n",
        EVERY,
    ),
    Mutant(
        "filled-over-what-was-discarded",
        "stores/clone_keys.py",
        "            self.entries.setdefault(block, None)\n",
        "            pass\n",
        EVERY,
    ),
    Mutant(
        "filled-with-what-was-cut-off",
        "stores/clone_fill.py",
        "            self._zeros(before, event.size, before.size)\n",
        "            pass\n",
        EVERY,
    ),
    Mutant(
        "filled-from-the-source-as-it-is",
        "stores/clone_fill.py",
        "        return None\n    for copy in copies:\n",
        "        return None\n    if len(copies) > 1:\n        return None\n    for copy in copies:\n",
        EVERY,
    ),
    Mutant(
        "record-ahead-of-the-blocks",
        "stores/clone_claim.py",
        "        self._submit([*commands, record], self._token if clone.forming else UNTOUCHED)\n",
        "        self._submit([record], self._token if clone.forming else UNTOUCHED)\n"
        "        self.settle()\n"
        "        self._submit(list(commands), self._token if clone.forming else UNTOUCHED)\n",
        EVERY,
    ),
    Mutant(
        "ready-before-it-is-whole",
        "stores/clones.py",
        "        if found.forming and not forming:\n",
        "        if not found.name:\n",
        EVERY,
    ),
    Mutant(
        "two-fill-one",
        "stores/clone_claim.py",
        '            raise self._lost(cast("bytes | None", reply)) from None\n',
        "            self._session.begin()\n            return\n",
        BOTH,
    ),
    Mutant(
        "dropped-beside-whoever-fills-it",
        "stores/clone_drop.py",
        "    return change_beside(keyspace, keys.clone(clone.id), plan, failed)\n",
        "    keyspace.transact(drop_commands(keys, clone, replace(clone, dropping=True))[:-1])\n    return True\n",
        BOTH,
    ),
)

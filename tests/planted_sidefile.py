"""Planted bugs in what goes on while Kafka is away, and in the way back."""

from tests.planted import Mutant

MODEL = "tests/producers/test_sidefile.py"
CRASHES = "tests/producers/test_sidefile_crashes.py"
DAMAGE = "tests/producers/test_sidefile_damage.py"
FULL = "tests/producers/test_sidefile_full.py"
LOST = "tests/producers/test_sidefile_lost.py"

SIDEFILE_MUTANTS = (
    Mutant(
        "what-landed-after-all-is-drained-again",
        "producers/sidefile_drain.py",
        "        self._cursor = entry.after\n",
        "        self._cursor = self._cursor if again else entry.after\n",
        MODEL,
    ),
    Mutant(
        "a-drain-that-was-cut-short-begins-anew",
        "producers/sidefile_drain.py",
        "        self._cursor = entry.after\n",
        "        self._cursor = entry.after if again else self._cursor\n",
        CRASHES,
    ),
    Mutant(
        "a-sidefile-is-drained-behind-another-writer",
        "producers/sidefile_drain.py",
        "        if self.superseded is not None:\n            raise Fenced(",
        "        if False:\n            raise Fenced(",
        LOST,
    ),
    Mutant(
        "a-lost-sidefile-goes-away",
        "producers/outage.py",
        "        if not self.drain.whole:\n            return self.drain.keep()\n",
        "",
        LOST,
    ),
    Mutant(
        "the-file-goes-before-the-log-has-it",
        "producers/outage.py",
        "        drain.run(session)\n        session.drained()\n        drain.sidefile.remove()\n",
        "        drain.sidefile.remove()\n        drain.run(session)\n        session.drained()\n",
        CRASHES,
    ),
    Mutant(
        "the-open-batch-is-forgotten-at-the-hand-over",
        "producers/outage.py",
        "        session.adopt(self.spool.batch)\n",
        "",
        MODEL,
    ),
    Mutant(
        "damage-is-cut-off",
        "producers/sidefile.py",
        "            if mark == bytes(len(_END)) and self._is_zero(after.position, end):\n",
        "            if True:\n",
        DAMAGE,
    ),
    Mutant(
        "a-sidefile-has-no-end",
        "producers/spool.py",
        "        if self.sidefile.size + waiting + more > self._size:\n",
        "        if False:\n",
        FULL,
    ),
    Mutant(
        "writes-go-on-while-volumes-are-in-doubt",
        "producers/succession.py",
        "            if doubtful or not away.spool.doubtful:\n",
        "            if True:\n",
        MODEL,
    ),
    Mutant(
        "a-spooled-write-gets-the-time-of-the-drain",
        "producers/resumable_session.py",
        "            last_us = max(stamp, last_us + 1)\n",
        "            last_us = self._clock.stamp()\n",
        MODEL,
    ),
)

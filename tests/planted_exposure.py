"""Planted bugs in what tells how far data has come, waits for it, and trims the log behind it."""

from tests.planted import Mutant

EXPOSURE_MUTANTS = (
    Mutant(
        "a-dead-writer-taken-for-idle",
        "recovery/rpo.py",
        "    if silent < ALIVE_HEARTBEATS * heartbeat:\n",
        "    if report is not None or silent < ALIVE_HEARTBEATS * heartbeat:\n",
        "tests/recovery/test_rpo.py",
    ),
    Mutant(
        "a-report-of-the-session-before-counts",
        "recovery/rpo.py",
        " and found.epoch >= newest.epoch else None\n",
        " else None\n",
        "tests/recovery/test_rpo.py",
    ),
    Mutant(
        "heartbeats-age-in-no-copy",
        "consumers/uncopied.py",
        "        if event.last_sequence > after and isinstance(event, _CHANGES):\n",
        "        if event.last_sequence > after:\n",
        "tests/consumers/test_uncopied.py",
    ),
    Mutant(
        "a-copy-covers-what-came-behind-it",
        "consumers/uncopied.py",
        "            self.since_us = _oldest_us(events, _sequence(newest))\n",
        "            self.since_us = 0\n",
        "tests/consumers/test_uncopied.py",
    ),
    Mutant(
        "another-history-counts-as-applied",
        "producers/applied.py",
        "            if head == target or carries_head(log, head):\n",
        "            if True:\n",
        "tests/consumers/test_flush_applied.py",
    ),
    Mutant(
        "an-image-that-is-not-whole-counts-as-applied",
        "producers/applied.py",
        "found.sequence < target.sequence or found.state in NOT_GOOD:\n",
        "found.sequence < target.sequence:\n",
        "tests/consumers/test_flush_applied.py",
    ),
    Mutant(
        "the-newest-question-replaces-the-one-before",
        "consumers/asked.py",
        "                pending.append(asked.sequence)\n",
        "                pending[:] = [asked.sequence]\n",
        "tests/consumers/test_flush_applied.py",
    ),
    Mutant(
        "pacing-takes-age-for-lag",
        "producers/pacing.py",
        "            if now - self._asked < ANSWER_WITHIN:\n",
        "            if False:\n",
        "tests/producers/test_pacing.py",
    ),
    Mutant(
        "a-held-write-does-not-see-the-end",
        "producers/pacing.py",
        "        while self.blocked and not session.ended:\n",
        "        while self.blocked:\n",
        "tests/producers/test_pacing.py",
    ),
    Mutant(
        "a-trim-within-the-margin",
        "recovery/trim_plan.py",
        "    return receipt.formed_us <= found.now_us - found.margin_us\n",
        "    return receipt.formed_us <= found.now_us\n",
        "tests/recovery/test_trim_plan.py",
    ),
    Mutant(
        "a-trim-past-a-late-copys-base",
        "recovery/trim_plan.py",
        "            if need is not None:\n",
        "            if need is not None and not need.sequence:\n",
        "tests/recovery/test_trim_plan.py",
    ),
)

"""The planted bugs of `tests.mutants`, with the tests that must notice each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """``old`` is replaced by ``new`` in ``file``, once; ``tests`` are pytest's arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: str


STORES = "tests/stores/test_schedules.py tests/stores/test_exhaustive.py tests/stores/test_machine.py -m 'not servers'"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "position-outside-the-transaction",
        "stores/applier.py",
        "            self._session.submit(transaction.commands)\n",
        "            self._session.submit(transaction.commands[:-1])\n"
        "            self._session.settle()\n"
        "            self._session.submit(transaction.commands[-1:])\n",
        STORES,
    ),
    Mutant(
        "before-image-after-the-write",
        "stores/transaction.py",
        "            commands.append(Packed(len(self.before), self.before))\n",
        "            self.bitmaps.append(Packed(len(self.before), self.before))\n",
        STORES,
    ),
    Mutant(
        "cut-before-the-writes-that-precede-it",
        "stores/plan.py",
        '"""One EXEC, whatever the size of the volumes: the copy\'s record, and a generation with nothing in it."""\n'
        "        yield from self._flush()\n",
        '"""One EXEC, whatever the size of the volumes: the copy\'s record, and a generation with nothing in it."""\n',
        STORES,
    ),
    Mutant(
        "cut-one-event-late",
        "stores/plan.py",
        "        for event, offset in run:\n            try:\n",
        "        run = list(run)\n"
        "        for at in range(len(run) - 1):\n"
        "            if isinstance(run[at][0], Marker) and isinstance(run[at + 1][0], WriteBatch):\n"
        "                self._write(run[at + 1][0])\n"
        "        for event, offset in run:\n            try:\n",
        STORES,
    ),
    Mutant(
        "another-worker-unnoticed",
        "stores/applier.py",
        "                if value != transaction.value:\n",
        "                if value is None:\n",
        STORES,
    ),
    Mutant(
        "absent-before-image-read-from-the-live-block",
        "stores/reading.py",
        "                    if content is not None and block in right[source]:\n",
        "                    if content is None and source is not None:\n"
        "                        content = self._keyspace.transact(\n"
        '                            [(b"GET", self._keys.block_format(self.volume.id) % (base + block))]\n'
        "                        )[0]\n"
        "                    if content is not None and block in right[source]:\n",
        STORES,
    ),
    Mutant(
        "drop-hands-over-what-the-elder-has",
        "stores/drop.py",
        "            if block in theirs:\n                gone.append(before_of % block)\n                continue\n",
        "",
        STORES,
    ),
    Mutant(
        "newest-copy-dropped-at-once",
        "stores/drop.py",
        "        due = {one for one, copy in image.copies.items() if copy.state is CopyState.DROPPING} - waits\n",
        "        due = {one for one, copy in image.copies.items() if copy.state is CopyState.DROPPING}\n",
        STORES,
    ),
    Mutant(
        "chain-not-checked",
        "schemas/chain.py",
        "    extends = event.previous == head.seal and event.sequence == head.sequence + 1\n",
        "    extends = event.sequence == head.sequence + 1\n",
        "tests/schemas/test_chain.py",
    ),
    Mutant(
        "redelivery-applied-again",
        "schemas/chain.py",
        "            return Verdict.REDELIVERED\n",
        "            return Verdict.APPLY\n",
        "tests/schemas/test_chain.py",
    ),
    Mutant(
        "time-may-go-back",
        "schemas/chain.py",
        "    if event.first_timestamp_us <= head.timestamp_us:\n",
        "    if event.timestamp_us <= 0:\n",
        "tests/schemas/test_chain.py",
    ),
    Mutant(
        "seal-not-checked",
        "schemas/codec.py",
        "        if self.seal(view[:-SEAL_SIZE]) != view[-SEAL_SIZE:]:\n",
        "        if False:\n",
        "tests/schemas/test_codec.py tests/schemas/test_fuzz.py",
    ),
    Mutant(
        "head-taken-for-ours",
        "producers/follower.py",
        "    return record is not None and record.value[-SEAL_SIZE:] == head.seal\n",
        "    return True\n",
        "tests/simulation tests/producers",
    ),
    Mutant(
        "held-record-applied-after-a-gap",
        "producers/follower.py",
        "(verdict is Verdict.APPLY and self.gap is None)",
        "verdict is Verdict.APPLY",
        "tests/simulation tests/producers",
    ),
    Mutant(
        "any-acknowledgement-confirms",
        "producers/confirmation.py",
        "            if self._sent[0].offset != self.confirmed.next_offset:\n",
        "            if False:\n",
        "tests/simulation tests/producers",
    ),
    Mutant(
        "failed-send-goes-on",
        "producers/confirmation.py",
        "            if self.error is None:\n                self.error = error\n",
        "            if self.error is None and not isinstance(error, LogUnavailable):\n"
        "                self.error = error\n",
        "tests/simulation tests/producers",
    ),
    Mutant(
        "interrupted-session-goes-on",
        "producers/session.py",
        "            self._confirmations.fail(error if isinstance(error, TidelogError) else interrupted(error))\n",
        "            pass\n",
        "tests/producers/test_interruption.py",
    ),
    Mutant(
        "write-past-the-end-goes-out",
        "producers/session.py",
        "            if info is None or offset < 0 or not data or offset + len(data) > info.size:\n",
        "            if info is None or offset < 0 or not data:\n",
        "tests/producers",
    ),
    Mutant(
        "own-writes-laid-under",
        "producers/overlay.py",
        "        for sequence in sorted(found):\n",
        "        for sequence in sorted(found, reverse=True):\n",
        "tests/producers",
    ),
    Mutant(
        "a-site-of-another-history-is-read",
        "producers/overlay.py",
        "        return head.sequence < self._opened.sequence or head.writer in self.writers\n",
        "        return True\n",
        "tests/consumers/test_reading_in_doubt.py",
    ),
    Mutant(
        "skips-to-the-end-when-out-of-range",
        "producers/kafka_clients.py",
        '"auto_offset_reset": "none"',
        '"auto_offset_reset": "latest"',
        "tests/log/test_kafka_clients.py",
    ),
    Mutant(
        "locked-copy-dropped",
        "stores/copy_changes.py",
        "    return copy if copy.locked_until_us > event.timestamp_us else replace(",
        "    return replace(",
        "tests/stores/test_locks.py -m 'not servers'",
    ),
    Mutant(
        "lock-ended-by-the-writers-clock-alone",
        "producers/lock_time.py",
        "    return min(log_time_us, max(reported) + CLOCK_SKEW_US) if reported else log_time_us\n",
        "    return log_time_us\n",
        "tests/producers/test_copy_locks.py",
    ),
    Mutant(
        "retention-drops-a-kept-copy",
        "producers/retention.py",
        "    if copy.kept:\n",
        "    if copy.kept and copy.locked_until_us:\n",
        "tests/producers/test_retention.py",
    ),
    Mutant(
        "writer-ships-what-the-site-knows-alone",
        "producers/volume_copy.py",
        "        _add(changes, late, target.block_size)\n",
        "",
        "tests/producers/test_volume_copy.py",
    ),
)

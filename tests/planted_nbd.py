"""Planted bugs in the block device: what is durable, whose flush it is, what is a hole, who is let in."""

from tests.planted import Mutant

AWAY = "tests/nbd/test_log_away.py -m 'not servers'"
FLUSHES = "tests/nbd/test_flushes.py"
TRANSMISSION = "tests/nbd/test_transmission.py"
DISCARDS = "tests/nbd/test_discards.py tests/nbd/test_discards_in_doubt.py -m 'not servers'"

NBD_MUTANTS = (
    Mutant(
        "nbd-flush-is-answered-at-once",
        "gateways/nbd/exports.py",
        "        self.group.flush(in_log=True)\n",
        "        pass\n",
        AWAY,
    ),
    Mutant(
        "nbd-fua-is-ignored",
        "gateways/nbd/transmission.py",
        "if taken.request.flags & CommandFlag.FUA and taken.request.length:",
        "if False:",
        AWAY,
    ),
    Mutant(
        "nbd-a-write-with-fua-is-answered-at-once",
        "gateways/nbd/transmission.py",
        "            return True\n        self._changed(taken)\n",
        "            return True\n        self._answer(taken, self._done(request))\n",
        AWAY,
    ),
    Mutant(
        "nbd-a-flush-is-answered-by-one-that-began-before-it",
        "gateways/nbd/flushes.py",
        "            answers, self._waiting = self._waiting, []\n            error = await self._once()\n",
        "            error = await self._once()\n            answers, self._waiting = self._waiting, []\n",
        FLUSHES,
    ),
    Mutant(
        "nbd-a-flush-that-failed-is-answered-as-one-that-did-not",
        "gateways/nbd/flushes.py",
        "                    if await done:\n                        return None\n",
        "                    await done\n                    return None\n",
        FLUSHES,
    ),
    Mutant(
        "nbd-another-session-is-fenced",
        "gateways/nbd/writer.py",
        "        if head.writer not in self._ours:\n",
        "        if not self._ours:\n",
        AWAY,
    ),
    Mutant(
        "nbd-a-connection-outlives-its-session",
        "gateways/nbd/server.py",
        " and not writer.has(export.group):\n                connection.stop()\n",
        " and not writer.has(export.group):\n                pass\n",
        AWAY,
    ),
    Mutant(
        "nbd-a-write-on-its-way-is-a-hole",
        "gateways/nbd/exports.py",
        "        written = ((start, count) for _, start, count in named.extents)\n",
        "        written = ()\n",
        TRANSMISSION,
    ),
    Mutant(
        "nbd-a-discard-forgets-what-is-not-applied",
        "gateways/nbd/discards.py",
        "_bytes(found, info)], early.extents, info,",
        "_bytes(found, info)], (), info,",
        DISCARDS,
    ),
    Mutant(
        "nbd-a-discard-trusts-a-site-of-another-history",
        "gateways/nbd/discards.py",
        "        if found.head.writer != session.writer:\n            return None\n",
        "",
        DISCARDS,
    ),
    Mutant(
        "nbd-zeroes-go-by-one-sites-bitmaps",
        "gateways/nbd/transmission.py",
        "await self._means.change.run(self.export.zero, request.offset, request.length)",
        "await self._means.change.run(self.export.trimming(request.offset, request.length))",
        DISCARDS,
    ),
    Mutant(
        "nbd-what-was-discarded-stays-data",
        "stores/presence.py",
        " for block, there in found if there is not None)",
        " for block, there in found)",
        f"{TRANSMISSION} tests/stores/test_presence.py -m 'not servers'",
    ),
    Mutant(
        "nbd-a-copy-is-not-held",
        "gateways/nbd/catalogue.py",
        "        return CopyExport(store, lease.copy, info, lease)\n",
        "        lease.close()\n        return CopyExport(store, copy, info, None)\n",
        "tests/nbd/test_negotiation.py",
    ),
    Mutant(
        "nbd-what-cannot-be-asked-for-is-not-there",
        "gateways/nbd/negotiation.py",
        "OptionReply.ERR_UNKNOWN if isinstance(error, NotFound) else OptionReply.ERR_SHUTDOWN",
        "OptionReply.ERR_UNKNOWN",
        "tests/nbd/test_redis_away.py",
    ),
    Mutant(
        "nbd-a-write-that-needs-waiting-holds-the-loop",
        "gateways/nbd/exports.py",
        "            if ready := session.ready:\n",
        "            if ready := True:\n",
        AWAY,
    ),
    Mutant(
        "nbd-plain-text-is-read-as-encrypted",
        "gateways/nbd/channel.py",
        "        self._came.clear()\n",
        "",
        "tests/nbd/test_tls.py",
    ),
    Mutant(
        "nbd-what-is-taken-is-not-told-from-what-came",
        "gateways/nbd/channel.py",
        "            taken = bytes(view[:count])\n        del came[:count]\n",
        "            taken = bytes(view[:count])\n        del came[:]\n",
        TRANSMISSION,
    ),
    Mutant(
        "nbd-a-client-may-send-more-than-there-is-room-for",
        "gateways/nbd/intake.py",
        "        if coming.room is None:\n            if self._room is None:\n",
        "        if coming.room is None and not coming.payload:\n            if self._room is None:\n",
        "tests/nbd/test_hogs.py",
    ),
    Mutant(
        "nbd-a-command-that-did-not-come-whole-keeps-its-room",
        "gateways/nbd/intake.py",
        "            self._share.give(self._coming.size, self._coming.room)\n",
        "            pass\n",
        "tests/nbd/test_hogs.py tests/nbd/test_bad_input.py",
    ),
    Mutant(
        "nbd-a-flush-that-was-fenced-is-told-as-durable",
        "producers/confirmation.py",
        "            tell(sequence <= confirmed)\n",
        "            tell(True)\n",
        "tests/producers/test_flush_soon.py",
    ),
    Mutant(
        "nbd-a-flush-is-told-before-those-in-front-of-it",
        "producers/confirmation.py",
        "due = [each for each in self._waiting if failed or each[0] <= confirmed]",
        "due = [each for each in self._waiting if True]",
        "tests/producers/test_flush_soon.py",
    ),
    Mutant(
        "nbd-reads-that-do-not-adjoin-are-read-as-one",
        "gateways/nbd/reads.py",
        "        while self._waiting and self._waiting[0].offset == end:\n",
        "        while self._waiting:\n",
        "tests/nbd/test_reads.py",
    ),
    Mutant(
        "nbd-a-read-is-not-tried-without-those-it-adjoins",
        "gateways/nbd/reads.py",
        "        if error is not None and len(together) > 1:  # of one of them, maybe\n",
        "        if False:\n",
        "tests/nbd/test_reads.py",
    ),
    Mutant(
        "nbd-a-read-only-server-writes-to-clones",
        "gateways/nbd/catalogue.py",
        "info, read_only=self.read_only)\n",
        "info, read_only=False)\n",
        "tests/nbd/test_clients.py",
    ),
)

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
        " or (length and request.flags & CommandFlag.FUA)",
        "",
        AWAY,
    ),
    Mutant(
        "nbd-fua-is-written-at-once",
        "gateways/nbd/transmission.py",
        " or not data or request.flags & CommandFlag.FUA:\n",
        " or not data:\n",
        AWAY,
    ),
    Mutant(
        "nbd-a-flush-is-answered-by-one-that-began-before-it",
        "gateways/nbd/flushes.py",
        "            task = self._next = self._next or asyncio.ensure_future(self._behind(self._running))\n",
        "            task = self._running\n",
        FLUSHES,
    ),
    Mutant(
        "nbd-who-leaves-takes-the-flush-away",
        "gateways/nbd/flushes.py",
        "await asyncio.shield(task)",
        "await task",
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
        "            if not session.ready:\n                return False\n",
        "",
        AWAY,
    ),
    Mutant(
        "nbd-plain-text-is-read-as-encrypted",
        "gateways/nbd/channel.py",
        "        reader = asyncio.StreamReader(limit=READ_AHEAD)\n",
        "        reader = self._reader\n",
        "tests/nbd/test_tls.py",
    ),
    Mutant(
        "nbd-a-read-only-server-writes-to-clones",
        "gateways/nbd/catalogue.py",
        "info, read_only=self.read_only)\n",
        "info, read_only=False)\n",
        "tests/nbd/test_clients.py",
    ),
)

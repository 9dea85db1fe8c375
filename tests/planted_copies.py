"""The planted bugs in what is done with copies: volume copies, late copies, holds and clones, proof, archives."""

from tests.planted import Mutant

STORES = "tests/stores/test_schedules.py tests/stores/test_exhaustive.py tests/stores/test_machine.py -m 'not servers'"
CLONES = "tests/stores/test_clone_schedules.py tests/stores/test_clones.py -m 'not servers'"
LATE = "tests/stores/test_late.py"
COPIES = "tests/stores/test_copy_schedules.py tests/stores/test_machine.py -m 'not servers'"

COPY_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "discard-names-only-what-is-there",
        "stores/transaction.py",
        "        self.ranges.append((first, end))\n",
        "",
        STORES,
    ),
    Mutant(
        "copy-forgets-changes-since-its-source-copy",
        "stores/volume_copy.py",
        "            self._since.merge(bitmap)\n",
        "            pass\n",
        COPIES,
    ),
    Mutant(
        "copy-onto-a-volume-not-named-in-its-other-pairs",
        "stores/volume_copy.py",
        "in pairs_with(image.pairs, target, keys):",
        "in pairs_with({}, target, keys):",
        COPIES,
    ),
    Mutant(
        "shipped-bitmap-unchecked",
        "stores/volume_copy.py",
        "        if missing.count:\n",
        "        if missing.count < 0:\n",
        COPIES,
    ),
    Mutant(
        "source-copy-taken-from-the-live-block",
        "stores/volume_copy.py",
        " if place is None else keys.before_format(place, source)\n",
        "\n",
        COPIES,
    ),
    Mutant(
        "held-copy-dropped",
        "stores/drop.py",
        "            if generation in due and not any(hold.live(now_us) for hold in of_it):\n",
        "            if generation in due:\n",
        CLONES,
    ),
    Mutant(
        "hold-put-although-the-copy-is-dropped",
        "stores/holds.py",
        "        check_readable(copy, record, hold)\n",
        "",
        CLONES,
    ),
    Mutant(
        "ended-holds-left-when-a-drop-begins",
        "stores/drop.py",
        '            ended.append((b"HDEL", self._keys.holds, *(hold.encode() for hold in work.ended)))\n',
        "",
        CLONES,
    ),
    Mutant(
        "part-of-a-block-written-over-nothing",
        "stores/clone_image.py",
        "            content = bytearray(self._blocks(volume, block, block + 1)[0])\n",
        "            content = bytearray(size)\n",
        CLONES,
    ),
    Mutant(
        "clone-written-to-unwatched",
        "stores/clone_image.py",
        '                    session.submit([*self._plan(volume, offset, end, data), (b"SET", self._key, token)])\n',
        "                    commands = self._plan(volume, offset, end, data)\n"
        "                    session.begin()\n"
        '                    session.submit([*commands, (b"SET", self._key, token)])\n',
        CLONES,
    ),
    Mutant(
        "late-copy-takes-the-bits-of-both-sides",
        "stores/late.py",
        "handed = {volume: bits - self._fold.bits(volume) for",
        "handed = {volume: ChangeBitmap(bits.bits) for",
        LATE,
    ),
    Mutant(
        "late-copy-gets-no-before-images",
        "stores/handing.py",
        "        if self._elder:  # where there is none",
        "        if self._elder < 0:  # where there is none",
        LATE,
    ),
    Mutant(
        "late-copy-keeps-what-was-not-named-again",
        "stores/late.py",
        "            gone, generation = bits - self._fold.after.get(volume, ChangeBitmap()), self.generation\n",
        "            gone, generation = ChangeBitmap(), self.generation\n",
        LATE,
    ),
    Mutant(
        "late-copy-begins-from-zeros",
        "stores/late_values.py",
        "            if loads and self._elder:\n",
        "            if not self._elder:\n",
        LATE,
    ),
    Mutant(
        "late-copy-one-write-early",
        "stores/late.py",
        "            count = bisect_right(stamps, self._cuts[0].at_us)\n",
        "            count = bisect_right(stamps, self._cuts[0].at_us - 1)\n",
        LATE,
    ),
    Mutant(
        "late-copy-left-half-done",
        "stores/drop.py",
        "        if image.forming is not None:\n",
        "        if image.forming is not None and image.forming.volumes == ():\n",
        LATE,
    ),
    Mutant(
        "generation-that-makes-room-keeps-no-volumes",
        "stores/cut.py",
        "        tuple(image.volumes),\n        0,\n",
        "        (),\n        0,\n",
        "tests/stores/test_late_room.py",
    ),
    Mutant(
        "compared-by-one-sites-bitmaps",
        "stores/ranges.py",
        "    named.merge(theirs.named(volume))\n",
        "",
        "tests/stores/test_ranges.py",
    ),
    Mutant(
        "local-drop-not-remembered",
        "stores/local_drop.py",
        "also = forgetting(keys, found, position.head.timestamp_us) if forget else []",
        "also = forgetting(keys, found, position.head.timestamp_us)[1:] if forget else []",
        "tests/consumers/test_local_retention.py",
    ),
    Mutant(
        "dropped-before-it-is-archived",
        "producers/retention.py",
        "if found.dropped and (found.copy.sequence, found.copy.seal, found.copy.name) not in archived",
        "if found.dropped and not archived",
        "tests/producers/test_schedule.py",
    ),
    Mutant(
        "archived-though-it-differs",
        "producers/archived.py",
        "    if differing:\n",
        "    if differing and not sites:\n",
        "tests/exports/test_archive.py",
    ),
    Mutant(
        "archive-told-of-before-it-is-verified",
        "gateways/exports/archiving.py",
        "        check_export(place, read_manifest(place), advance).check(place)\n        return url\n",
        "        check_export(place, read_manifest(place), advance)\n        return url\n",
        "tests/exports/test_archive.py",
    ),
    Mutant(
        "archive-read-from-one-file",
        "gateways/exports/archived.py",
        "            if max(blocks) >= end - 1:\n",
        "            if blocks:\n",
        "tests/exports/test_archive.py tests/exports/test_archive_damage.py",
    ),
    Mutant(
        "void-event-moves-the-time",
        "consumers/fetcher.py",
        "                event = self._follower.take(record)\n",
        "                void, head = self._follower.skipped.void, self._follower.head\n"
        "                event = self._follower.take(record)\n"
        "                if self._follower.skipped.void > void:\n"
        "                    from tidelog.schemas.events import Heartbeat\n"
        "                    time = self._follower.codec.decode(record.value).timestamp_us\n"
        "                    place = {'sequence': head.sequence + 1, 'previous': head.seal, 'seal': head.seal}\n"
        "                    event = Heartbeat(epoch=head.epoch, writer=head.writer, timestamp_us=time, **place)\n",
        "tests/consumers/test_timed_copies.py::test_a_void_event_does_not_move_time",
    ),
)

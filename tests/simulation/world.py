"""A small world of writers and sites around one log, in which anything may happen between any two steps.

A schedule is a list of operations; each is a name and a few small numbers that choose among what there is. An
operation that does not apply does nothing, so that any part of a schedule is a schedule. What must hold is checked at
the end (and of a fenced session at once), against `tests.reference`, which reads the log on its own:

- I2, I5: every event that a session ever confirmed, so that a flush could return, counts;
- a session that says `Fenced` has lost, or yields to somebody who opens;
- I1: every site holds the reference fold at its own position; I4: every copy at every site is the reference's, with the
  same bytes, changed blocks and digest, and none is missing (an event applied twice or over a hole would show here);
- a site halts only for a reason that is there (here: a truncation that took what it had read);
- once the faults end, a new session opens and every site that a truncation has spared streams again.
"""

from contextlib import suppress
from random import Random

from tests.reference import Reference
from tests.simulation.actors import GROUP_ID, SITES, WRITERS, Op, Session, Site, Violation, Writer
from tests.simulation.coroutine import Coroutine
from tests.simulation.judgement import check_positions, judge_refusal, judge_sessions, recover
from tests.simulation.protection import CopyProtection
from tests.simulation.stepped import Settings, SteppedLog, WriterIds, give_up, step
from tests.simulation.volume_copying import VolumeCopying
from tidelog.consumers.vouching import vouch
from tidelog.errors import TidelogError
from tidelog.producers import opening
from tidelog.producers.follower import carries_head
from tidelog.producers.group_state import Vouched
from tidelog.producers.log import UNKNOWN_OFFSET
from tidelog.producers.session import WriterSession
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import CopyDropped, Discard, Marker, VolumeCreated, VolumeDeleted, VolumeResized

__all__ = ["GROUP_ID", "Op", "Violation", "World"]

BLOCK = 512


class World(VolumeCopying, CopyProtection):
    """See the module; what happens to sites is in `tests.simulation.site_operations`, copies in `volume_copying`, locks
    in `protection`."""

    def __init__(self) -> None:
        self.log = SteppedLog()
        self.codec = Codec()
        self.now_us = 1_700_000_000_000_000
        self.writers = [Writer(-3000 * number, self) for number in range(WRITERS)]
        self.sites = [Site(number, self) for number in range(SITES)]
        self.sessions: list[Session] = []
        self.truncated = False
        self.sources: set[bytes] = set()
        self._count = 0
        WriterIds.random = Random(0)

    def run(self, schedule: list[Op]) -> None:
        """Raises `Violation`, with what is wrong."""
        try:
            for op in schedule:
                self.now_us += 1000
                getattr(self, op.name)(op.a, op.b, op.c)
                judge_sessions(self)
            check_positions(self)
            recover(self)
        finally:
            for writer in self.writers:
                if writer.opening is not None:
                    writer.opening.kill()

    # ---- writers

    def open(self, a: int, b: int, _c: int) -> None:
        """Begins to open a session; with ``b`` odd from a position that a site vouches for."""
        writer = self.writers[a % WRITERS]
        if writer.opening is not None or writer.live is not None:
            return
        vouched = self._vouched(self.sites[b // 2 % SITES]) if b % 2 else None
        writer.sends = []
        writer.opening = Coroutine(lambda: self.open_session(writer, vouched))
        self.resume(writer)

    def go(self, a: int, b: int, _c: int) -> None:
        """A writer's thread gets ``b`` turns."""
        writer = self.writers[a % WRITERS]
        for _ in range(b % 4 + 1):
            if writer.opening is not None:
                self.resume(writer)
            elif writer.session is not None:
                step(writer.session.real)

    def opens(self, a: int, b: int, _c: int) -> None:
        """Opens, or goes on opening, with nothing in between."""
        writer = self.writers[a % WRITERS]
        self.open(a, b, 0)
        for _ in range(300):
            if writer.opening is None:
                return
            self.deliver(a, 0, 0)
            self.resume(writer)

    def expire(self, a: int, _b: int, _c: int) -> None:
        """An opening waits no longer for its acknowledgement."""
        writer = self.writers[a % WRITERS]
        if writer.opening is not None:
            give_up(True)
            self.resume(writer)
            give_up(False)

    def crash(self, a: int, _b: int, _c: int) -> None:
        """A writer's process ends; what it has sent may still arrive (`late`)."""
        writer = self.writers[a % WRITERS]
        if writer.opening is not None:
            writer.opening.kill()
            writer.opening = None
        if writer.session is not None:
            writer.session.real._closed = True
            writer.session.real._appender.abandon()
        for send in writer.sends:
            if not send.decided:
                send.fail()

    def write(self, a: int, b: int, c: int) -> None:
        """One to three writes; with ``b`` a multiple of 4 they stay in the open batch."""
        session = self.writers[a % WRITERS].live
        if session is None:
            return
        with suppress(TidelogError):
            table = list(session.state.volumes)
            if not table:
                session.emit(VolumeCreated, name="v0", size=3 * BLOCK + 100, block_size=BLOCK)
                table = list(session.state.volumes)
            for index in range(c % 3 + 1):
                self._count += 1
                info = table[(b + index) % len(table)]
                offset = (b * 211 + index * BLOCK) % info.size
                length = min(info.size - offset, (1, 37, BLOCK, BLOCK + 9)[(c + index) % 4])
                session.write(info.id, offset, bytes([self._count % 255 + 1]) * length)
            if b % 4:
                session._close_batch()

    def say(self, a: int, b: int, c: int) -> None:
        """An event other than a write."""
        session = self.writers[a % WRITERS].live
        if session is None:
            return
        with suppress(TidelogError):
            self._say(session, b, c)

    def mark(self, a: int, _b: int, _c: int) -> None:
        session = self.writers[a % WRITERS].live
        if session is not None:
            self._count += 1
            with suppress(TidelogError):
                session.emit(Marker, name=f"m{self._count}")

    def deliver(self, a: int, b: int, _c: int) -> None:
        """The oldest sends arrive and are acknowledged."""
        writer = self.writers[a % WRITERS]
        for _ in range(b % 4 + 1):
            send = writer.undecided()
            if send is None:
                return
            if send.offset == UNKNOWN_OFFSET:
                send.land()
            send.acknowledge()

    def land(self, a: int, b: int, _c: int) -> None:
        """The oldest sends arrive; nobody is told yet."""
        writer = self.writers[a % WRITERS]
        waiting = [send for send in writer.sends if not send.decided and send.offset == UNKNOWN_OFFSET]
        for send in waiting[: b % 3 + 1]:
            send.land()

    def acknowledge(self, a: int, b: int, c: int) -> None:
        """The sender of what has arrived is told, sometimes without the offset."""
        writer = self.writers[a % WRITERS]
        for _ in range(b % 3 + 1):
            send = writer.undecided()
            if send is not None and send.offset != UNKNOWN_OFFSET:
                send.acknowledge(UNKNOWN_OFFSET if c % 4 == 0 else None)

    def lose(self, a: int, _b: int, _c: int) -> None:
        """The oldest send fails, in the log or not; those behind it are on their way (`late`)."""
        send = self.writers[a % WRITERS].undecided()
        if send is not None:
            send.fail()

    def late(self, a: int, _b: int, _c: int) -> None:
        """A send that was given up arrives after all."""
        waiting = [send for send in self.log.sent if send.decided and send.offset == UNKNOWN_OFFSET]
        if waiting:
            waiting[a % len(waiting)].land()

    def again(self, a: int, _b: int, _c: int) -> None:
        """A record that is in the log arrives once more."""
        values = self.log.values()
        if values:
            self.log.put(values[-1 - a % len(values)][1])

    # ---- the log

    def lead(self, _a: int, _b: int, _c: int) -> None:
        """A new leader that lost nothing."""
        self.log.bump_leader_epoch()

    def truncate(self, a: int, b: int, _c: int) -> None:
        """A new leader that lost the newest records; with ``b`` even the readers' clients notice."""
        end = self.log._end
        offset = max(0, end - 1 - a % 5)
        if offset == end:
            return
        self.truncated = True
        for session in self.sessions:
            session.cut |= session.real.confirmed.offset >= offset
        for writer in self.writers:
            if writer.session is not None:
                writer.session.cut |= any(send.offset >= offset for send in writer.sends)
        for site in self.sites:
            for worker in site.workers:
                worker.touched |= worker.reads_at > offset
        self.log.truncate(offset, noticed=b % 2 == 0)

    # ---- behind the operations

    def _vouched(self, site: Site) -> Vouched | None:
        with suppress(TidelogError):
            word = vouch(site.store, self.log.id)
            return None if word is None else word.vouched
        return None

    def open_session(self, writer: Writer, vouched: Vouched | None) -> WriterSession:
        return opening.open_session(self.log, self.codec, GROUP_ID, Settings(), vouched=vouched, clock=writer.clock)

    def resume(self, writer: Writer) -> None:
        coroutine = writer.opening
        assert coroutine is not None
        first = len(self.log.sent)
        done = coroutine.resume()
        writer.sends += self.log.sent[first:]
        if not done:
            return
        writer.opening = None
        if coroutine.error is not None:
            judge_refusal(self, coroutine.error)
            return
        session = coroutine.result
        assert isinstance(session, WriterSession)
        writer.session = Session(session, not carries_head(self.log, session.confirmed))
        self.sessions.append(writer.session)
        real_append = session._append

        def append(event: object) -> bytes:
            before = len(self.log.sent)
            try:
                return real_append(event)  # type: ignore[arg-type]
            finally:
                writer.sends += self.log.sent[before:]

        session._append = append  # type: ignore[method-assign,assignment]

    def _say(self, session: WriterSession, b: int, c: int) -> None:
        table = list(session.state.volumes)
        copies = list(session.state._copies.values())
        kind = b % 6
        if kind == 0 and len(table) < 2:
            self._count += 1
            session.emit(VolumeCreated, name=f"v{self._count}", size=BLOCK * 2, block_size=BLOCK)
        elif kind in (1, 2) and table:
            info = table[c % len(table)]
            offset = c * 97 % info.size
            session.emit(Discard, volume=info.id, offset=offset, length=min(info.size - offset, BLOCK + c % 7))
        elif kind == 3 and table:
            session.emit(VolumeResized, volume=table[c % len(table)].id, size=(100, BLOCK, 3 * BLOCK, 1300)[c % 4])
        elif kind == 4 and copies:
            copy = copies[c % len(copies)]
            session.emit(CopyDropped, copy_sequence=copy.sequence, copy_seal=copy.seal)
        elif kind == 5 and len(table) > 1:
            session.emit(VolumeDeleted, volume=table[c % len(table)].id)

    def reference(self, until: int | None = None) -> Reference:
        return Reference(GROUP_ID).fold(self.log.values(), until)

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

import uuid
from collections.abc import Callable
from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import NamedTuple

from tests.reference import Reference
from tests.simulation.coroutine import Coroutine
from tests.simulation.stepped import Settings, SiteWorker, SteppedLog, give_up, step
from tidelog.clock import HybridClock
from tidelog.consumers.access import _vouch
from tidelog.errors import Fenced, LogDiverged, LogUnavailable, TidelogError
from tidelog.producers import opening
from tidelog.producers.follower import carries_head
from tidelog.producers.group_state import Vouched
from tidelog.producers.log import UNKNOWN_OFFSET
from tidelog.producers.memory_send import PendingSend
from tidelog.producers.session import WriterSession
from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.schemas.events import CopyDropped, Discard, Marker, VolumeCreated, VolumeDeleted, VolumeResized
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.memory import MemoryKeyspace, Value
from tidelog.stores.records import decode_position
from tidelog.stores.store import Identity

GROUP_ID = "4ec22d14-2b71-4cb1-9b7e-9d7b2b0d2f6e"
BLOCK = 512
WRITERS, SITES, WORKERS = 3, 2, 2


class Violation(AssertionError):
    """Something that must hold does not."""


class Op(NamedTuple):
    """One operation of a schedule."""

    name: str
    a: int = 0
    b: int = 0
    c: int = 0


class Session:
    """A writer session of the real code, and what the world knows of it. ``cut`` once a truncation took something that
    it rests on: then even a confirmed event may be gone."""

    def __init__(self, session: WriterSession, cut: bool) -> None:
        self.real, self.cut = session, cut
        self.judged = False


class Writer:
    """One process that opens sessions. ``session`` is its newest, maybe ended."""

    def __init__(self, skew_us: int, world: "World") -> None:
        self.clock = HybridClock(lambda: world.now_us + skew_us)
        self.opening: Coroutine | None = None
        self.session: Session | None = None
        self.sends: list[PendingSend] = []  # of the newest opening and its session

    @property
    def live(self) -> WriterSession | None:
        """The session, if it has not ended."""
        if self.session is None or self.session.real._confirmations.error is not None or self.session.real._closed:
            return None
        return self.session.real

    def undecided(self) -> PendingSend | None:
        """The oldest send that its appender still waits for: acknowledgements come in order."""
        return next((send for send in self.sends if not send.decided), None)


class WitnessedKeyspace(MemoryKeyspace):
    """A Redis whose position must never go back but by a rewind: each event, cut and drop step happens once."""

    def __init__(self, position: bytes) -> None:
        super().__init__()
        self._position = position

    def _set(self, key: bytes, value: Value) -> None:
        before = self.data.get(key)
        if key == self._position and isinstance(before, bytes) and isinstance(value, bytes):
            old, new = decode_position(before), decode_position(value)
            was, now = ((p.head.sequence, p.layout, p.step) for p in (old, new))
            if was >= now or old.layout > new.layout:
                raise Violation(f"(sequence, layout, step) went from {was} to {now}: something was done twice")
        super()._set(key, value)


class Site:
    """One Redis, and the workers that believe they own it."""

    def __init__(self, number: int, world: "World") -> None:
        self.identity = Identity("bank", GROUP_ID, f"site-{number}")
        self.keyspace = WitnessedKeyspace(Keys("bank").position)
        self.store = Store.create(self.keyspace, self.identity)
        self.workers = [SiteWorker(world.log, world.codec, self.keyspace, self.identity) for _ in range(WORKERS)]
        self.snapshots = [self.keyspace.snapshot()]
        self.dropped: set[bytes] = set()  # seals of copies that were dropped here alone


class World:
    """See the module."""

    def __init__(self) -> None:
        self.log = SteppedLog()
        self.codec = Codec()
        self.now_us = 1_700_000_000_000_000
        self.writers = [Writer(-3000 * number, self) for number in range(WRITERS)]
        self.sites = [Site(number, self) for number in range(SITES)]
        self.sessions: list[Session] = []
        self.truncated = False
        self._count = 0
        self._ids = Random(0)
        opening.uuid = SimpleNamespace(uuid4=lambda: uuid.UUID(int=self._ids.getrandbits(128)))  # type: ignore[attr-defined]

    def run(self, schedule: list[Op]) -> None:
        """Raises `Violation`, with what is wrong."""
        try:
            for op in schedule:
                self.now_us += 1000
                getattr(self, op.name)(op.a, op.b, op.c)
                self._judge_sessions()
            self._check_positions()
            self._recover()
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
        writer.opening = Coroutine(lambda: self._open(writer, vouched))
        self._resume(writer)

    def go(self, a: int, b: int, _c: int) -> None:
        """A writer's thread gets ``b`` turns."""
        writer = self.writers[a % WRITERS]
        for _ in range(b % 4 + 1):
            if writer.opening is not None:
                self._resume(writer)
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
            self._resume(writer)

    def expire(self, a: int, _b: int, _c: int) -> None:
        """An opening waits no longer for its acknowledgement."""
        writer = self.writers[a % WRITERS]
        if writer.opening is not None:
            give_up(True)
            self._resume(writer)
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

    # ---- sites

    def sync(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).sync()

    def connect(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).connect()

    def poll(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).poll()

    def apply(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).apply()

    def settle(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).settle()

    def idle(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).idle()

    def restart(self, a: int, b: int, _c: int) -> None:
        """A worker's process ends, and another begins."""
        self._worker(a, b).crash()

    def between(self, a: int, b: int, c: int) -> None:
        """The next time that a worker's transaction reaches a point (``c``), the other one does all it can or, by
        ``b``, a copy is dropped by another process, or Redis goes back without a new connection."""
        site = self.sites[a % SITES]
        keyspace = site.keyspace
        wanted = ("exec", "watch", "get")[c % 3]

        def come_in(point: str) -> None:
            idle = [worker for worker in site.workers if not worker.busy]
            if point != wanted or not idle:
                return
            keyspace.between = _nobody
            if b % 6 == 4:
                self.drop(a, c, 0)
            elif b % 6 == 5:
                self.rewind(a, c, 1)
            else:
                idle[0].sync()
                idle[0].idle()

        keyspace.between = come_in

    def race(self, a: int, b: int, c: int) -> None:
        """Both workers of a site apply all there is, one in the midst of the other."""
        self.between(a, b // 2, c)
        self._worker(a, b).sync()

    def snapshot(self, a: int, _b: int, _c: int) -> None:
        site = self.sites[a % SITES]
        site.snapshots.append(site.keyspace.snapshot())

    def rewind(self, a: int, b: int, c: int) -> None:
        """A Redis loses its tail, and comes back as it was earlier."""
        site = self.sites[a % SITES]
        site.keyspace.restore(site.snapshots[b % len(site.snapshots)], lose_connections=c % 2 == 0)

    def fail(self, a: int, b: int, c: int) -> None:
        """A connection to Redis breaks around one of the next transactions."""
        self.sites[a % SITES].keyspace.fail(b % 3 + 1, applied=c % 2 == 0)

    def drop(self, a: int, b: int, _c: int) -> None:
        """Another process drops a copy at one site."""
        site = self.sites[a % SITES]
        copies = site.store.copies()
        if copies:
            copy = copies[b % len(copies)]
            site.dropped.add(copy.seal)
            with suppress(TidelogError):  # `fail`: then it may be dropped or not
                site.store.mark_dropping(copy)

    # ---- behind the operations

    def _worker(self, a: int, b: int) -> SiteWorker:
        return self.sites[a % SITES].workers[b % WORKERS]

    def _vouched(self, site: Site) -> Vouched | None:
        with suppress(TidelogError):
            return _vouch(site.store, self.log.cluster_id)
        return None

    def _open(self, writer: Writer, vouched: Vouched | None) -> WriterSession:
        return opening.open_session(self.log, self.codec, GROUP_ID, Settings(), vouched=vouched, clock=writer.clock)

    def _resume(self, writer: Writer) -> None:
        coroutine = writer.opening
        assert coroutine is not None
        first = len(self.log.sent)
        done = coroutine.resume()
        writer.sends += self.log.sent[first:]
        if not done:
            return
        writer.opening = None
        if coroutine.error is not None:
            self._judge_refusal(coroutine.error)
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

    def _reference(self, until: int | None = None) -> Reference:
        return Reference(GROUP_ID).fold(self.log.values(), until)

    # ---- what must hold

    def _judge_refusal(self, error: Exception) -> None:
        if isinstance(error, LogUnavailable | Fenced):
            return
        if not (isinstance(error, LogDiverged) and self.truncated):
            raise Violation(f"an opening failed: {error!r}") from error

    def _judge_sessions(self) -> None:
        for session in self.sessions:
            error = session.real._confirmations.error
            if session.judged or error is None:
                continue
            session.judged = True
            if session.cut or isinstance(error, LogUnavailable):
                continue
            if not isinstance(error, Fenced):
                raise Violation(f"a session failed: {error!r}") from error
            reference = self._reference()
            epoch, writer = session.real.epoch, session.real.writer
            count = {event.seal for event in reference.counted}
            there = {value[-SEAL_SIZE:] for _, value in self.log.values()}
            lost = reference.epoch > epoch or reference.gap
            asked = any(opened > epoch for opened in reference.void_openings)
            unconfirmed = {sent.head.seal for sent in session.real._confirmations._sent}
            if not (lost or asked or unconfirmed & (there - count)):
                raise Violation(f"session {epoch} of {writer.hex()[:6]} was fenced by nobody: {error}")

    def _check_confirmed(self, reference: Reference) -> None:
        for session in self.sessions:
            head = session.real.confirmed
            found = reference.at(head.sequence)
            if not session.cut and (found is None or found.seal != head.seal):
                raise Violation(
                    f"session {session.real.epoch} confirmed sequence {head.sequence}, which does not count"
                )

    def _check_positions(self) -> None:
        """Before the faults end: every site is a fold at the position that it has, whatever its workers do."""
        for site in self.sites:
            site.keyspace.between = _nobody
            head = site.store.position().head
            if head.sequence == 0 or not carries_head(self.log, head):
                continue
            reference = self._reference(head.sequence)
            if (reference.sequence, reference.seal) != (head.sequence, head.seal):
                raise Violation(f"{site.identity.site} stands at {head.sequence}, which does not count")
            if site.store.position().step == 0:
                self._compare(site, reference)

    def _recover(self) -> None:
        """The faults end, somebody opens and writes: what is spared must stream."""
        for number in range(WRITERS):
            self.crash(number, 0, 0)
        self._judge_sessions()
        self._check_confirmed(self._reference())
        self.log.release()
        writer = Writer(0, self)
        self.writers = [writer]
        session = self._reopen(writer)
        for a, b, c in ((0, 1, 0), (0, 2, 1)):
            self.write(a, b, c)
            self.mark(0, 0, 0)
        if session.confirmed.sequence != session._planned.sequence:
            raise Violation("a session with the log to itself confirms nothing")
        reference = self._reference()
        self._check_confirmed(reference)
        for site in self.sites:
            self._stream(site, reference)
        self._check_digests(reference)

    def _reopen(self, writer: Writer) -> WriterSession:
        self.now_us += 1_000_000
        writer.opening = Coroutine(lambda: self._open(writer, None))
        for _ in range(300):
            self._resume(writer)
            if writer.opening is None:
                break
        if writer.live is None:
            raise Violation("no session can open any more")
        return writer.live

    def _stream(self, site: Site, reference: Reference) -> None:
        site.keyspace._fault = None
        # Those that run go on; then a new one, as after a restart.
        for worker in [*site.workers, SiteWorker(self.log, self.codec, site.keyspace, site.identity)]:
            for _ in range(3):
                worker.sync()
                while worker.idle():
                    pass
            # Asked anew each time: a worker may still have applied what it had read before the log lost it.
            head = site.store.position().head
            spared = carries_head(self.log, head)
            self._check_worker(site, worker, reference, spared)
        if spared and (head.sequence, head.seal) != (reference.sequence, reference.seal):
            raise Violation(f"{site.identity.site} stands at {head.sequence}, not {reference.sequence}")
        if spared:
            self._compare(site, reference)

    def _check_worker(self, site: Site, worker: SiteWorker, reference: Reference, spared: bool) -> None:
        name = site.identity.site
        if worker.halt is not None:
            if isinstance(worker.halt, LogDiverged) and worker.had_reason:
                return
            raise Violation(f"{name} halted: {worker.halt!r}") from worker.halt
        if not spared:
            raise Violation(f"{name} goes on, on a history that the log no longer holds")
        if worker.follower is None or worker.follower.gap is not None:
            raise Violation(f"{name} does not stream again: {worker.follower and worker.follower.gap!r}")
        if worker.follower.head.sequence != reference.sequence:
            raise Violation(f"{name} follows up to {worker.follower.head.sequence}, not {reference.sequence}")

    def _compare(self, site: Site, reference: Reference) -> None:
        store, name = site.store, site.identity.site
        live = {info.id: (info.name, info.block_size, store.read(info, 0, info.size)) for info in store.volumes()}
        if live != reference.image():
            raise Violation(f"{name} at {reference.sequence} does not hold the fold")
        held = {copy.seal: copy for copy in store.copies()}
        wanted = {cut.seal: cut for cut in reference.copies.values()}
        if held.keys() - wanted.keys() or wanted.keys() - held.keys() - site.dropped:
            raise Violation(f"{name} at {reference.sequence} holds other copies than it must")
        for seal, copy in held.items():
            cut = wanted[seal]
            content = {
                info.id: (info.name, info.block_size, store.read(info, 0, info.size, copy)) for info in copy.volumes
            }
            if content != cut.volumes:
                raise Violation(f"{name}: copy {copy.name} at {copy.sequence} does not hold what the marker cut")
            if copy.blocks_changed != cut.blocks_changed:
                raise Violation(f"{name}: copy {copy.name} counts {copy.blocks_changed}, not {cut.blocks_changed}")

    def _check_digests(self, reference: Reference) -> None:
        for site in self.sites:
            if not carries_head(self.log, site.store.position().head):
                continue
            for copy in site.store.copies():
                if site.store.digest(copy) != reference.copies[copy.sequence].digest:
                    raise Violation(f"{site.identity.site}: copy {copy.name} has another digest")


def _nobody(_point: str) -> None:
    """Nothing comes in between."""


Runner = Callable[[list[Op]], None]

"""What must hold in the simulated world, at each step and at its end (see `tests.simulation.world`)."""

from typing import TYPE_CHECKING

from tests.reference import Reference
from tests.simulation.actors import WRITERS, Site, Violation, Writer, nobody
from tests.simulation.coroutine import Coroutine
from tests.simulation.stepped import SiteWorker
from tidelog.errors import Fenced, LogDiverged, LogUnavailable
from tidelog.producers.follower import carries_head
from tidelog.producers.session import WriterSession
from tidelog.schemas.codec import SEAL_SIZE
from tidelog.schemas.events import Heartbeat

if TYPE_CHECKING:
    from tests.simulation.world import World


def judge_refusal(world: "World", error: Exception) -> None:
    """Why a session could not be opened."""
    if isinstance(error, LogUnavailable | Fenced):
        return
    if not (isinstance(error, LogDiverged) and world.truncated):
        raise Violation(f"an opening failed: {error!r}") from error


def judge_sessions(world: "World") -> None:
    """Why sessions ended, each once."""
    for session in world.sessions:
        error = session.real._confirmations.error
        if session.judged or error is None:
            continue
        session.judged = True
        if session.cut or isinstance(error, LogUnavailable):
            continue
        if not isinstance(error, Fenced):
            raise Violation(f"a session failed: {error!r}") from error
        reference = world.reference()
        epoch, writer = session.real.epoch, session.real.writer
        count = {event.seal for event in reference.counted}
        there = {value[-SEAL_SIZE:] for _, value in world.log.values()}
        lost = reference.epoch > epoch or reference.gap
        asked = any(opened > epoch for opened in reference.void_openings)
        unconfirmed = {sent.head.seal for sent in session.real._confirmations._sent}
        if not (lost or asked or unconfirmed & (there - count)):
            raise Violation(f"session {epoch} of {writer.hex()[:6]} was fenced by nobody: {error}")


def _check_confirmed(world: "World", reference: Reference) -> None:
    for session in world.sessions:
        head = session.real.confirmed
        found = reference.at(head.sequence)
        if not session.cut and (found is None or found.seal != head.seal):
            raise Violation(f"session {session.real.epoch} confirmed sequence {head.sequence}, which does not count")


def check_positions(world: "World") -> None:
    """Before the faults end: every site is a fold at the position that it has, whatever its workers do."""
    for site in world.sites:
        site.keyspace.between = nobody
        head = site.store.position().head
        if head.sequence == 0 or not carries_head(world.log, head):
            continue
        reference = world.reference(head.sequence)
        if (reference.sequence, reference.seal) != (head.sequence, head.seal):
            raise Violation(f"{site.identity.site} stands at {head.sequence}, which does not count")
        if site.store.position().step == 0:
            _compare(site, reference)


def recover(world: "World") -> None:
    """The faults end, somebody opens and writes: what is spared must stream."""
    for number in range(WRITERS):
        world.crash(number, 0, 0)
    judge_sessions(world)
    _check_confirmed(world, world.reference())
    world.log.release()
    writer = Writer(0, world)
    world.writers = [writer]
    session = _reopen(world, writer)
    for a, b, c in ((0, 1, 0), (0, 2, 1)):
        world.write(a, b, c)
        world.mark(0, 0, 0)
    # A reader that stands exactly at the end of a log which has grown again has seen nothing that could tell it.
    while any(worker.reads_at >= world.log._end for site in world.sites for worker in site.workers):
        session.emit(Heartbeat)
    if session.confirmed.sequence != session._planned.sequence:
        raise Violation("a session with the log to itself confirms nothing")
    reference = world.reference()
    _check_confirmed(world, reference)
    for site in world.sites:
        _stream(world, site, reference)
    _check_digests(world, reference)


def _reopen(world: "World", writer: Writer) -> WriterSession:
    world.now_us += 1_000_000
    writer.opening = Coroutine(lambda: world.open_session(writer, None))
    for _ in range(300):
        world.resume(writer)
        if writer.opening is None:
            break
    if writer.live is None:
        raise Violation("no session can open any more")
    return writer.live


def _stream(world: "World", site: Site, reference: Reference) -> None:
    site.keyspace._fault = None
    # Those that run go on; then a new one, as after a restart.
    for worker in [*site.workers, SiteWorker(world.log, world.codec, site.keyspace, site.identity)]:
        for _ in range(3):
            worker.sync()
            while worker.idle():
                pass
        # Asked anew each time: a worker may still have applied what it had read before the log lost it.
        head = site.store.position().head
        spared = carries_head(world.log, head)
        _check_worker(site, worker, reference, spared)
    if spared and (head.sequence, head.seal) != (reference.sequence, reference.seal):
        raise Violation(f"{site.identity.site} stands at {head.sequence}, not {reference.sequence}")
    if spared:
        _compare(site, reference)


def _check_worker(site: Site, worker: SiteWorker, reference: Reference, spared: bool) -> None:
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


def _compare(site: Site, reference: Reference) -> None:
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
        content = {info.id: (info.name, info.block_size, store.read(info, 0, info.size, copy)) for info in copy.volumes}
        if content != cut.volumes:
            raise Violation(f"{name}: copy {copy.name} at {copy.sequence} does not hold what the marker cut")
        if (copy.locked_until_us, copy.kept) != (cut.locked_until_us, cut.kept):
            raise Violation(
                f"{name}: copy {copy.name} is locked until {copy.locked_until_us}, not {cut.locked_until_us}"
            )
        if copy.blocks_changed != cut.blocks_changed:
            raise Violation(f"{name}: copy {copy.name} counts {copy.blocks_changed}, not {cut.blocks_changed}")


def _check_digests(world: "World", reference: Reference) -> None:
    for site in world.sites:
        if not carries_head(world.log, site.store.position().head):
            continue
        for copy in site.store.copies():
            if site.store.digest(copy) != reference.copies[copy.sequence].digest:
                raise Violation(f"{site.identity.site}: copy {copy.name} has another digest")

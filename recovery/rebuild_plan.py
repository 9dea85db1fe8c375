"""The plan of a rebuild: what it begins from and why, what it erases, loads and replays, as data, before anything is
done. Looking at what there is stands in `tidelog.recovery.rebuild_survey`; this is pure.

The rule: the base behind which the least is left to replay. All of the log is taken in its place where that is
estimated to take no more than `LOG_SECONDS_MORE` longer, since it brings every copy back. A base that leaves a copy of
the site's behind whose lock still runs is taken only if there is no other.
"""

from dataclasses import dataclass, replace

from tidelog.errors import REBUILD, ROLLBACK, NeedsRebuild, RollingBack, UsageError
from tidelog.producers.log import Bounds
from tidelog.recovery.rebuild_bases import Base, BaseKind, BaseSurvey, NotTaken, Wanted
from tidelog.schemas.control import GroupCreated
from tidelog.stores.erase import ERASING as ERASING
from tidelog.stores.loading import Loading

# For estimates of time only, bytes and writes a second: about what the authors' 2-core machine does (``python -m
# benchmarks --only rebuild``, ``--only apply-128``).
LOAD_BYTES_PER_SECOND = 150 << 20
REPLAY_BYTES_PER_SECOND = 150 << 20
REPLAY_WRITES_PER_SECOND = 200_000
# A rebuild from the log's beginning brings all copies back: worth so many seconds.
LOG_SECONDS_MORE = 30.0
THE_LOG = Base(BaseKind.LOG)


@dataclass(frozen=True, slots=True)
class StoreSurvey:
    """What a site's store holds before a rebuild. ``sequence`` is None where it has no position: an erase or a load
    that was cut short. ``rebuilding`` is the sequence that an unfinished rebuild must reach, None if there is none;
    ``in_log`` whether the log goes on from where the store is. ``loading`` is the load that was cut short, if one was.
    ``clones`` are names; ``leases`` counts the exports and open work volumes that hold copies; ``locked`` are those
    copies whose locks still run, oldest first; ``gone`` those, locked or not, whose event the log does not have: no
    base brings them back. ``rolling``: it is being rolled back, or that was cut short. ``began`` is the sequence and
    seal of the copy that it began from, as far as it still tells; None: from the log's beginning."""

    sequence: int | None
    copies: int
    volumes: int
    rebuilding: int | None
    clones: tuple[str, ...] = ()
    leases: int = 0
    loading: Loading | None = None
    in_log: bool = True
    locked: "tuple[KnownCopy, ...]" = ()
    gone: "tuple[KnownCopy, ...]" = ()
    rolling: bool = False
    began: tuple[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A copy that receipts, or the store, tell of."""

    name: str
    sequence: int
    seal: bytes = b""
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that a plan rests on. ``worker`` is who runs the site now, empty if nobody does. ``first_sequence``
    is that of the log's oldest record, None in an empty log; ``record_size`` the mean of some records, in bytes.
    ``bases`` are what there is but for the log's beginning; ``copies`` those that are known, oldest first."""

    record: GroupCreated
    site: str
    bounds: Bounds
    first_sequence: int | None
    head_sequence: int
    head_timestamp_us: int
    record_size: float
    store: StoreSurvey | None
    worker: str
    wanted: Wanted
    bases: BaseSurvey
    copies: tuple[KnownCopy, ...] = ()
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild will do. ``base`` is what it begins from, ``why`` that, ``others`` what it does not begin from.

    ``erase`` is False when an earlier one is gone on with: with its replay, from ``from_sequence`` (``loads`` is then
    False), or with the load of the very same base. An erase takes clones away only with ``drop_clones``.
    ``copies_back`` are the known copies that the site will have, as far as its own retention keeps them;
    ``copies_lost`` those that are older than the base, and that it will not, and the site's own that are not in the log
    (a lost history's); ``locked_lost`` those of the site's own among them whose locks still run: an erase takes them
    away only with ``leave_locked``. Bytes and seconds are estimates.
    """

    site: str
    group: str
    base: Base
    why: str
    others: tuple[NotTaken, ...]
    erase: bool
    loads: bool
    drop_clones: bool
    store: StoreSurvey | None
    from_sequence: int
    until_sequence: int
    until_timestamp_us: int
    records: int
    bytes_estimated: int
    seconds_estimated: float
    worker: str
    copies_back: tuple[str, ...]
    copies_lost: tuple[str, ...]
    locked_lost: tuple[str, ...] = ()
    leave_locked: bool = False


def plan_rebuild(
    found: Survey, *, from_scratch: bool = False, drop_clones: bool = False, leave_locked: bool = False
) -> RebuildPlan:
    """The plan. An earlier rebuild that had begun to load or to replay is gone on with, unless ``from_scratch``, or
    another base was asked for than it began from.

    Raises `NeedsRebuild` if there is nothing to begin from, `UsageError` if what was asked for cannot be a base,
    `RollingBack` if the store is being rolled back, unless ``from_scratch``.
    """
    store = found.store
    if store is not None and store.rolling and not from_scratch:
        raise _rolling(found)
    replaying = store is not None and store.sequence is not None and store.rebuilding not in (None, ERASING)
    begun = store if replaying and store is not None and store.in_log and not from_scratch else None
    if begun is not None and not found.wanted.source:
        return _replay_on(found, begun, drop_clones)
    base, why = _chosen(found, from_scratch)
    if begun is not None and begun.began == (None if base.copy is None else (base.copy.sequence, base.copy.seal)):
        return _replay_on(found, begun, drop_clones)
    if begun is not None:
        why += f"; an earlier rebuild, which has come to sequence {begun.sequence}, is begun anew"
    loading = None if store is None or from_scratch else store.loading
    goes_on = base.copy is not None and loading is not None and loading.goes_on_with(base.loading)
    if loading is not None and not goes_on:
        why += f"; what was loaded of a copy at sequence {loading.sequence} from {loading.source} is begun anew"
    gone = () if store is None else store.gone
    lost = (*(copy.name for copy in _in_log(found) if copy.sequence < base.sequence), *(copy.name for copy in gone))
    plan = _plan(found, base, why, done=base.sequence, erase=not goes_on, drop_clones=drop_clones, lost=lost)
    locked_lost = (*_locked_lost(found, base), *(copy.name for copy in gone if copy.locked))
    return replace(plan, locked_lost=locked_lost, leave_locked=leave_locked)


def _in_log(found: Survey) -> list[KnownCopy]:
    """The known copies but for those of the site's own that are known not to be in the log, whoever told of them."""
    gone = {(copy.sequence, copy.seal) for copy in found.store.gone} if found.store is not None else set()
    return [copy for copy in found.copies if (copy.sequence, copy.seal) not in gone]


def _locked_lost(found: Survey, base: Base) -> tuple[str, ...]:
    """What of the site's own locked copies a base leaves behind that another may bring back."""
    locked = found.store.locked if found.store is not None else ()
    return tuple(copy.name for copy in locked if copy.sequence < base.sequence)


def _replay_on(found: Survey, store: StoreSurvey, drop_clones: bool) -> RebuildPlan:
    done = store.sequence or 0
    why = f"an earlier rebuild has come to sequence {done}, and goes on (another --from or --from-scratch begins anew)"
    return _plan(found, THE_LOG, why, done=done, erase=False, drop_clones=drop_clones, lost=None)


def _plan(
    found: Survey, base: Base, why: str, *, done: int, erase: bool, drop_clones: bool, lost: tuple[str, ...] | None
) -> RebuildPlan:
    """``lost`` is None where nobody can tell which copies an earlier rebuild has left behind."""
    records, size, seconds = _cost(found, base, done)
    back = tuple(copy.name for copy in _in_log(found) if copy.sequence >= base.sequence)
    return RebuildPlan(
        site=found.site,
        group=found.record.group,
        base=base,
        why=why,
        others=tuple(_others(found, base)) if lost is not None else (),
        erase=erase,
        loads=base.copy is not None,
        drop_clones=drop_clones,
        store=found.store,
        from_sequence=done + 1,
        until_sequence=found.head_sequence,
        until_timestamp_us=found.head_timestamp_us,
        records=records,
        bytes_estimated=size,
        seconds_estimated=seconds,
        worker=found.worker,
        copies_back=() if lost is None else back,
        copies_lost=lost or (),
    )


def _chosen(found: Survey, from_scratch: bool) -> tuple[Base, str]:
    """The base, and why it."""
    kind = found.wanted.kind(found.sites)
    if kind is BaseKind.LOG:
        if why := _log_refused(found):
            plan = f"tidelog site rebuild {found.site} --group {found.record.group} --dry-run"
            hint = f"nothing was erased. What there is to begin from, and what not and why: {plan}"
            raise UsageError(f"{why}, and a rebuild from the log needs it from sequence 1", hint=hint)
        return THE_LOG, "--from log"
    usable = sorted(found.bases.usable, key=lambda base: (base.sequence, base.kind is BaseKind.SITE), reverse=True)
    loading = found.store.loading if found.store is not None and not from_scratch else None
    if loading is not None and not found.wanted.copy:
        for base in usable:
            if loading.goes_on_with(base.loading):
                return base, "an earlier rebuild has loaded a part of it, and goes on (--from-scratch begins anew)"
    if kind is not None:
        if not usable:
            reasons = "; ".join(f"{one.what}: {one.why}" for one in found.bases.refused)
            raise UsageError(f"there is no base in {found.wanted.source}: {reasons or 'it has no copy'}")
        return usable[0], f"--from {found.wanted.source}"
    refused = _log_refused(found)
    if not usable:
        if refused:
            raise _refused(found, f"{refused}, and there is no other base")
        return THE_LOG, "there is no other base"
    keeping = [base for base in usable if not _locked_lost(found, base)]
    if not keeping and not refused:
        return THE_LOG, "of all bases it alone brings the site's locked copies back"
    newest = (keeping or usable)[0]
    if not refused and _cost(found, THE_LOG, 0)[2] <= _cost(found, newest, newest.sequence)[2] + LOG_SECONDS_MORE:
        return THE_LOG, f"it brings every copy back, and takes hardly longer than {newest}"
    if newest is not usable[0]:
        return newest, "of the bases that bring the site's locked copies back it leaves the least to replay"
    return newest, "of all bases it leaves the least to replay"


def _log_refused(found: Survey) -> str:
    """Why the log's beginning cannot be the base; empty if it can."""
    if found.bounds.start == 0 and found.first_sequence in (None, 1):
        return ""
    first = f", with sequence {found.first_sequence}" if found.first_sequence is not None else ""
    return f"the log begins at offset {found.bounds.start}{first}"


def _rolling(found: Survey) -> RollingBack:
    error = RollingBack(
        f"group {found.record.group} at site {found.site} is being rolled back, or a roll back was cut short",
        hint=f"wait for it, or run it again: {ROLLBACK}. If it cannot end, give it up: {REBUILD} --from-scratch",
    )
    error.at_site(found.site, found.record.group)
    return error


def _refused(found: Survey, what: str) -> NeedsRebuild:
    told = "".join(f"; {one.what}: {one.why}" for one in found.bases.refused)
    error = NeedsRebuild(
        what + told,
        group=found.record.group,
        offset=found.bounds.start,
        hint="nothing was erased. Begin from a site that is well, once it has a copy that the log goes on from"
        " (tidelog pitc create NAME --group GROUP --wait), or from an export:"
        " tidelog site rebuild SITE --group GROUP --from PLACE",
    )
    error.at_site(found.site, found.record.group)
    return error


def _others(found: Survey, base: Base) -> list[NotTaken]:
    """What was looked at and not taken."""
    others = list(found.bases.refused)
    kind = found.wanted.kind(found.sites)
    for other in found.bases.usable:
        if other is not base:
            others.append(NotTaken(str(other), _why_not(found, other, base)))
    if base is not THE_LOG and kind is None:
        others.append(NotTaken(str(THE_LOG), _log_refused(found) or _why_not(found, THE_LOG, base)))
    return others


def _why_not(found: Survey, other: Base, base: Base) -> str:
    if base is THE_LOG:
        return f"copies before it do not come back, for about {_cost(found, other, other.sequence)[2]:.0f} s of work"
    if other.sequence == base.sequence:
        return "it is the same copy"
    if other.sequence > base.sequence:
        lost = _locked_lost(found, other)
        return f"locked copies do not come back: {', '.join(lost)}" if lost else "another one goes on"
    records, _, seconds = _cost(found, other, other.sequence)
    return f"it leaves more to replay: {records} records, about {seconds:.0f} s in all"


def _cost(found: Survey, base: Base, done: int) -> tuple[int, int, float]:
    """Records and bytes left to replay behind sequence ``done``, and seconds for that and the base's load."""
    bounds = found.bounds
    records = bounds.end - bounds.start
    if base.copy is not None and done == base.sequence:
        records = bounds.end - base.copy.offset - 1
    elif done and found.head_sequence:
        records = round(records * max(0.0, 1 - done / found.head_sequence))
    size = round(records * found.record_size)
    writes = max(0, found.head_sequence - done)
    replay = max(size / REPLAY_BYTES_PER_SECOND, writes / REPLAY_WRITES_PER_SECOND)
    return records, size, base.content_bytes / LOAD_BYTES_PER_SECOND + replay

"""A site whose log is another than before, on another cluster or in another topic: where its head stands there.

Offsets mean nothing between logs, and a mirror sends records twice. So the new log is folded by the verdict table, and
the head is found by sequence and seal among the events that count there (DESIGN section 9). Where it is known up to
which event the two agree, since the old one was sealed, the new one is waited for.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from tidelog.consumers.history import check_history
from tidelog.errors import ROLLBACK, Halted, LogDiverged, LogUnavailable
from tidelog.producers.follower import Follower, follow, goes_on
from tidelog.producers.log import Log
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.mirrors import HistorySealed
from tidelog.stores.applier import Applier
from tidelog.stores.image import Store

# A worker that is told to stop leaves the search this often (records).
LOOK_AGAIN = 256
FOLD_TIMEOUT = 30.0
ROLL_BACK = f"roll the site back to the last event that both have: {ROLLBACK}"

MakeFollower = Callable[[Log, Codec, Head], Follower]
# Where the log of that id was sealed, if it was.
FindSealed = Callable[[str], HistorySealed | None]


def follower_at(
    store: Store,
    log: Log,
    codec: Codec,
    applier: Applier,
    make: MakeFollower,
    ended: Callable[[], bool],
    sealed: FindSealed = lambda _: None,
) -> Follower:
    """Who judges the log from where the store stands. A store that was filled from another log is moved to this one
    first, if its head counts here.

    Raises `LogDiverged` if that, or the head's own record, is not there; `NeedsRebuild`, `LogUnavailable`.
    """
    position = applier.position
    if position.head.sequence and position.cluster_id != log.id:
        elders = [copy.head for copy in store.copies() if copy.sequence <= position.head.sequence]
        both = sealed(position.cluster_id)
        found, offsets = find_head(log, codec, store.identity.group_id, position.head, elders, make, ended, both)
        if (found.sequence, found.seal) not in offsets:
            return make(log, codec, found)  # the first event that is applied moves the position
        position = applier.found(found.offset, offsets)
    follower = make(log, codec, position.head)
    check_history(log, follower, position.cluster_id)
    return follower


def find_head(
    log: Log,
    codec: Codec,
    group_id: str,
    head: Head,
    elders: Collection[Head],
    make: MakeFollower = Follower,
    ended: Callable[[], bool] = lambda: False,
    sealed: HistorySealed | None = None,
) -> tuple[Head, dict[tuple[int, bytes], int]]:
    """The head as it stands in ``log``: only its offset is another; and the offsets there, by sequence and seal, of it
    and of ``elders``, heads that the store has been at: the log may have been trimmed to one, or to the event behind
    one. The head itself has none where the log begins right behind it. Reads the log up to the head. ``sealed`` is
    where the two logs part, if that is known.

    Raises `LogDiverged` if the log has another event there, or ends before; `LogUnavailable`, also once ``ended``, and
    if what is known to be in both is still to come.
    """
    if sealed is not None and head.sequence > sealed.sequence:
        raise _behind_the_seal(head, sealed)
    wanted = {(one.sequence, one.seal) for one in elders}
    there, standing = _beginning(log, codec, group_id, [*elders, head])
    follower, offsets = make(log, codec, there), dict[tuple[int, bytes], int]()
    if standing:
        offsets[there.sequence, there.seal] = there.offset
    if there.seal == head.seal:
        return there, offsets
    reader = log.reader(max(follower.head.next_offset, log.bounds().start))
    try:
        for count, _ in enumerate(follow(reader, log.bounds().end, follower, FOLD_TIMEOUT)):
            there = follower.head
            if (there.sequence, there.seal) in wanted or there.sequence == head.sequence:
                offsets[there.sequence, there.seal] = there.offset
            if there.sequence >= head.sequence:
                break
            if count % LOOK_AGAIN == 0 and ended():
                raise LogUnavailable("told to stop before the head was found in the log of another cluster")
    finally:
        reader.close()
    if (there.sequence, there.seal) == (head.sequence, head.seal):
        return there, offsets
    raise _not_there(log, there, head, follower, sealed)


def _behind_the_seal(head: Head, sealed: HistorySealed) -> LogDiverged:
    return LogDiverged(
        f"the log that this site has followed was sealed at sequence {sealed.sequence}, and it has applied more:"
        f" the group goes on from there in {sealed.goes_on}",
        sequence=head.sequence,
        hint=ROLL_BACK,
    )


def _not_there(
    log: Log, there: Head, head: Head, follower: Follower, sealed: HistorySealed | None
) -> LogDiverged | LogUnavailable:
    """Why the head was not found in the log, in which ``there`` is the last event that counts."""
    if follower.gap is not None:
        return LogDiverged(
            f"the log on cluster {log.id} lacks sequence {there.sequence + 1}, so that this site's head cannot"
            " be looked for in it",
            sequence=head.sequence,
            hint=f"the mirror has left out records; begin it anew, or {ROLL_BACK}",
        )
    if there.sequence < head.sequence and sealed is not None:
        return LogUnavailable(
            f"the log on cluster {log.id} has come to sequence {there.sequence}, and this site is at {head.sequence},"
            " which it is known to have: waiting for the mirror",
            hint="is MirrorMaker running?",
        )
    if there.sequence < head.sequence:
        return LogDiverged(
            f"the log on cluster {log.id} ends at sequence {there.sequence}, and this site has applied more:"
            " the rest has not been mirrored, or never will be",
            sequence=head.sequence,
            hint=f"if the mirror still runs, start the worker again once it has caught up; else {ROLL_BACK}",
        )
    return LogDiverged(
        f"the log on cluster {log.id} has another event at the sequence of this site's head",
        sequence=head.sequence,
        hint=ROLL_BACK,
    )


def _beginning(log: Log, codec: Codec, group_id: str, known: Iterable[Head]) -> tuple[Head, bool]:
    """Where the log can be folded from, and whether that head's own record is there: the first record, if the store has
    been there; a head of the store's that the first record goes right on from; else nothing. A log is trimmed to
    nothing but an event that counts."""
    bounds, nothing = log.bounds(), origin(group_id)
    record = log.record_at(bounds.start) if bounds.end > bounds.start else None
    if record is None:
        return nothing, False
    try:
        event = codec.decode(record.value)
    except Halted:  # who folds the log meets it
        return nothing, False
    for one in known:
        if event.seal == one.seal:
            return nothing.after(event, record.offset), True
        if goes_on(event, one):
            return replace(one, offset=record.offset - 1), False
    return nothing, False

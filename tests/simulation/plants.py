"""Breakages, one for each rule that keeps a log and its sites true: the search must find every one of them.

Each puts a plausible, lazier version of one rule in place of the real one. The names are those of the schedules in
DESIGN section 3's notes: L1 is what L1 guards against.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tidelog.errors import LogGap
from tidelog.producers import follower as follower_module
from tidelog.producers import opening as opening_module
from tidelog.producers.confirmation import Confirmations
from tidelog.producers.follower import Follower
from tidelog.schemas.chain import Head, Verdict
from tidelog.schemas.events import WriterOpened
from tidelog.stores.applier import Applier
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.records import decode_position

Plant = Callable[[pytest.MonkeyPatch], None]


def extends_the_last_record(patch: pytest.MonkeyPatch) -> None:
    """L1: an opening takes the log's last record for the head, whether it counts or not."""
    real = opening_module._fold

    def fold(reader: Any, until: int, follower: Follower, state: Any, timeout: float) -> None:
        real(reader, until, follower, state, timeout)
        record = follower.log.record_at(reader.next_offset - 1)
        if record is not None:
            event = follower.codec.decode(record.value)
            follower.head = follower.head.after(event, record.offset)

    patch.setattr(opening_module, "_fold", fold)


def fetches_the_end_apart_from_the_fold(patch: pytest.MonkeyPatch) -> None:
    """L1: the expected offset of an opening is an end offset of its own; an opening that lands there is believed."""
    real = opening_module._try_open

    def try_open(appender: Any, reader: Any, log: Any, codec: Any, follower: Follower, *rest: Any) -> bool:
        expected = log.bounds().end
        head, sent = follower.head, len(log.sent)
        before = opening_module._fold

        def believe(*arguments: Any) -> None:
            send = log.sent[sent]
            if send.offset == expected:
                event = codec.decode(send.value)
                assert isinstance(event, WriterOpened)
                follower.head = head.after(event, send.offset)
            else:
                before(*arguments)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(opening_module, "_fold", believe)
            return real(appender, reader, log, codec, follower, *rest)

    patch.setattr(opening_module, "_try_open", try_open)


def halts_at_a_gap_for_ever(patch: pytest.MonkeyPatch) -> None:
    """L2: a missing event is an error like any other, that no later opening heals."""
    real = follower_module.judge

    def judge(*arguments: Any) -> Verdict:
        verdict = real(*arguments)
        if verdict is Verdict.GAP:
            raise LogGap("an event is missing")
        return verdict

    patch.setattr(follower_module, "judge", judge)


def applies_what_lies_in_a_gap(patch: pytest.MonkeyPatch) -> None:
    """L2: a late event that fills a gap is applied, although others who read the log anew see it as void."""
    real = Follower.take

    def take(self: Follower, record: Any) -> Any:
        self.gap = None
        return real(self, record)

    patch.setattr(Follower, "take", take)


def takes_every_stranger_for_a_fence(patch: pytest.MonkeyPatch) -> None:
    """L3: any record between our last and our next one means that another session has taken over."""

    def settle_doubt(self: Confirmations) -> None:
        raise self._fenced("a foreign record", self.confirmed.epoch)

    patch.setattr(Confirmations, "settle_doubt", settle_doubt)


def believes_every_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """No fence: what the log has acknowledged is confirmed, wherever it landed."""

    def confirm_expected(self: Confirmations) -> None:
        while self._sent and self._sent[0].offset is not None:
            self._confirm(self._sent[0].offset)

    patch.setattr(Confirmations, "_confirm_expected", confirm_expected)


def never_looks_at_its_own_head(patch: pytest.MonkeyPatch) -> None:
    """L4: nobody asks whether the head's own record is still in the log."""
    patch.setattr(follower_module, "carries_head", lambda _log, _head: True)


def overlooks_new_leaders(patch: pytest.MonkeyPatch) -> None:
    """L4: a reader goes on after a new leader as if nothing could have been lost."""
    patch.setattr(Follower, "leader_changed", lambda _self, _record: False)


def does_not_ask_at_its_first_record(patch: pytest.MonkeyPatch) -> None:
    """L4: a truncation between connecting and the first record is overlooked."""
    real = Follower.leader_changed

    def leader_changed(self: Follower, record: Any) -> bool:
        if self._leader_epoch < 0:
            self._leader_epoch = record.leader_epoch
        return real(self, record)

    patch.setattr(Follower, "leader_changed", leader_changed)


def remembers_a_truncated_gap(patch: pytest.MonkeyPatch) -> None:
    """L4: a gap stays one after a new leader, although what made it is gone."""
    real = Follower.leader_changed

    def leader_changed(self: Follower, record: Any) -> bool:
        gap = self.gap
        changed = real(self, record)
        self.gap = self.gap or gap
        return changed

    patch.setattr(Follower, "leader_changed", leader_changed)


def _settles_if(alike: Callable[[Any, Any], bool]) -> Callable[[Applier], Any]:
    """`Applier.settle` with another idea of when the store is where this applier left it."""

    def settle(self: Applier) -> Any:
        transaction, self._on_its_way = self._on_its_way, None
        if self._failed:
            raise PositionMoved("this applier has failed before: open a new one")
        if transaction is not None:
            try:
                value = self._session.settle()
                if value is None or not alike(decode_position(value), transaction.position):
                    raise PositionMoved("another worker or command changed the position")
            except Exception:
                self._fail()
                raise
            self._confirmed = transaction.position
        return self._confirmed

    return settle


def watches_without_reading(patch: pytest.MonkeyPatch) -> None:
    """L5: the WATCH behind an EXEC is trusted without looking at what it watches."""
    patch.setattr(Applier, "settle", _settles_if(lambda _found, _mine: True))


def overlooks_the_layout(patch: pytest.MonkeyPatch) -> None:
    """L6: a position is the same if its head is, whatever became of the copies."""
    patch.setattr(Applier, "settle", _settles_if(lambda found, mine: found.head == mine.head))


def applies_void_events(patch: pytest.MonkeyPatch) -> None:
    """Row 4: who extends the head counts, whatever his epoch."""
    real = follower_module.judge

    def judge(head: Head, event: Any, ours: Callable[[], bool]) -> Verdict:
        if event.previous == head.seal and event.sequence == head.sequence + 1:
            return Verdict.ACCEPT
        return real(head, event, ours)

    patch.setattr(follower_module, "judge", judge)


def forgets_the_writer(patch: pytest.MonkeyPatch) -> None:
    """Row 4: two sessions of one epoch are taken for one."""
    real = follower_module.judge

    def judge(head: Head, event: Any, ours: Callable[[], bool]) -> Verdict:
        return real(head, replace(event, writer=head.writer) if event.epoch == head.epoch else event, ours)

    patch.setattr(follower_module, "judge", judge)


PLANTS: tuple[Plant, ...] = (
    extends_the_last_record,
    fetches_the_end_apart_from_the_fold,
    halts_at_a_gap_for_ever,
    applies_what_lies_in_a_gap,
    takes_every_stranger_for_a_fence,
    believes_every_acknowledgement,
    never_looks_at_its_own_head,
    overlooks_new_leaders,
    does_not_ask_at_its_first_record,
    remembers_a_truncated_gap,
    watches_without_reading,
    overlooks_the_layout,
    applies_void_events,
    forgets_the_writer,
)

"""The verdict table of DESIGN section 3, exhaustively: every combination against the table's own words."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tidelog.errors import CorruptEvent, Halted, LogDiverged
from tidelog.schemas.chain import Head, Verdict, judge, origin
from tidelog.schemas.codec import group_seal
from tidelog.schemas.events import Event, Heartbeat, WriteBatch, WriterOpened

SEAL, OTHER_SEAL = b"s" * 16, b"x" * 16
WRITER, OTHER_WRITER = b"w" * 16, b"o" * 16
HEAD = Head(sequence=10, seal=SEAL, epoch=5, writer=WRITER, timestamp_us=1000, offset=77)


@dataclass(frozen=True)
class Case:
    """What the table speaks of, in its words."""

    epoch: str  # lower, same, higher
    head_writer: bool
    previous_matches: bool
    first: int  # relative to the head's sequence
    length: int
    opened: bool
    time_above: bool
    ours: bool

    @property
    def last(self) -> int:
        return self.first + self.length - 1

    @property
    def heads_epoch_and_writer(self) -> bool:
        return self.epoch == "same" and self.head_writer

    def event(self) -> Event:
        last_time = 2000 if self.time_above else 1000
        common = {
            "epoch": {"lower": 4, "same": 5, "higher": 6}[self.epoch],
            "writer": WRITER if self.head_writer else OTHER_WRITER,
            "sequence": HEAD.sequence + self.first,
            "previous": SEAL if self.previous_matches else OTHER_SEAL,
            "seal": b"n" * 16,
        }
        if self.opened:
            return WriterOpened(**common, timestamp_us=last_time, opened_by="")  # type: ignore[arg-type]
        if self.length == 1 and self.ours:
            return Heartbeat(**common, timestamp_us=last_time)  # type: ignore[arg-type]
        # Its last time is above the head's in any case: the first one counts.
        times = [last_time + at for at in range(self.length)]
        ones = [1] * self.length
        return WriteBatch(
            **common,  # type: ignore[arg-type]
            timestamp_us=times[-1],
            volumes=ones,
            offsets=ones,
            lengths=ones,
            timestamps_us=times,
            data=bytes(self.length),
        )


def _row_2(c: Case) -> bool:
    return c.heads_epoch_and_writer and c.previous_matches and c.first == 1


def _row_5(c: Case) -> bool:
    return c.opened and c.epoch == "higher" and c.previous_matches and c.first == 1


def _row_6(c: Case) -> bool:
    extends = c.previous_matches and c.first == 1
    return c.opened and c.epoch == "higher" and c.first <= 1 and not extends


APPLY, ACCEPT, REDELIVERED, VOID, GAP = Verdict.APPLY, Verdict.ACCEPT, Verdict.REDELIVERED, Verdict.VOID, Verdict.GAP
# The table, row by row: first that fits.
TABLE: list[tuple[str, Callable[[Case], bool], Verdict | type[Halted]]] = [
    ("1", lambda c: (_row_2(c) or _row_5(c)) and not c.time_above, CorruptEvent),
    ("2", _row_2, APPLY),
    ("3", lambda c: c.heads_epoch_and_writer and c.last <= 0, REDELIVERED),
    ("3 straddling", lambda c: c.heads_epoch_and_writer and c.first <= 0 < c.last, LogDiverged),
    ("4 ours", lambda c: (c.epoch == "lower" or (c.epoch == "same" and not c.head_writer)) and c.ours, VOID),
    ("4 not ours", lambda c: c.epoch == "lower" or (c.epoch == "same" and not c.head_writer), LogDiverged),
    ("5", _row_5, ACCEPT),
    ("6 ours", lambda c: _row_6(c) and c.ours, VOID),
    ("6 not ours", _row_6, LogDiverged),
    ("7 same session", lambda c: c.heads_epoch_and_writer and c.first > 1, GAP),
    ("7 higher epoch", lambda c: c.epoch == "higher" and not _row_5(c) and not _row_6(c), GAP),
    ("8", lambda _: True, LogDiverged),
]


def cases() -> list[Case]:
    """Every combination; a `WriterOpened` takes one sequence."""
    return [
        Case(epoch, head_writer, previous, first, length, opened, above, ours)
        for epoch, head_writer, previous, first, length, opened, above, ours in itertools.product(
            ("lower", "same", "higher"),
            (True, False),
            (True, False),
            range(-2, 4),
            range(1, 5),
            (True, False),
            (True, False),
            (True, False),
        )
        if not (opened and length > 1)
    ]


def test_every_combination_has_the_verdict_of_the_table() -> None:
    """1,440 of them, and each row decides some."""
    decided: Counter[str] = Counter()
    for case in cases():
        row, expected = next((name, verdict) for name, fits, verdict in TABLE if fits(case))
        decided[row] += 1
        event = case.event()
        if isinstance(expected, Verdict):
            assert judge(HEAD, event, lambda case=case: case.ours) is expected, (row, case)  # type: ignore[misc]
        else:
            with pytest.raises(expected) as caught:
                judge(HEAD, event, lambda case=case: case.ours)  # type: ignore[misc]
            assert type(caught.value) is expected, (row, case)
            assert caught.value.sequence == event.sequence
            assert caught.value.hint
    assert set(decided) == {name for name, _, _ in TABLE}
    assert decided.total() == 3 * 2 * 2 * 6 * (4 + 1) * 2 * 2


def test_only_the_rows_that_need_it_ask_for_the_heads_record() -> None:
    """It costs a read, and the fast path is free."""
    for case in cases():
        row = next(name for name, fits, _ in TABLE if fits(case))
        asked = 0

        def ours(case: Case = case) -> bool:
            nonlocal asked
            asked += 1
            return case.ours

        try:
            judge(HEAD, case.event(), ours)
        except (CorruptEvent, LogDiverged):
            pass
        assert asked == (row[0] in "46"), row


def test_the_first_event_of_a_group() -> None:
    """Only a `WriterOpened` of an epoch above 0, at sequence 1, whose ``previous`` is the seal of the group id."""
    head = origin("4f9d")
    first = WriterOpened(
        epoch=1, writer=WRITER, sequence=1, timestamp_us=1, previous=group_seal("4f9d"), seal=SEAL, opened_by=""
    )
    assert judge(head, first, lambda: True) is Verdict.ACCEPT
    assert head.next_offset == 0
    after = head.after(first, 12)
    assert after == Head(sequence=1, seal=SEAL, epoch=1, writer=WRITER, timestamp_us=1, offset=12)
    assert after.next_offset == 13
    foreign = WriterOpened(
        epoch=1, writer=WRITER, sequence=1, timestamp_us=1, previous=group_seal("another"), seal=SEAL, opened_by=""
    )
    with pytest.raises(LogDiverged):
        judge(head, foreign, lambda: False)


def test_a_head_after_a_batch_is_its_last_write() -> None:
    """Each write takes a sequence; the time is the last write's."""
    batch = Case("same", True, True, 1, 4, False, True, True).event()
    after = HEAD.after(batch, 78)
    assert (after.sequence, after.timestamp_us, after.offset, after.seal) == (14, 2003, 78, b"n" * 16)

"""The plan of a trim: how much of a log nobody needs any more, and who holds it back. Pure.

A log is trimmed up to the record of a marker's copy that every site has had for one durability margin: what a site
reported may be undone by a Redis that loses its tail, but not that far. So each site, and whoever takes such a copy as
its base, goes on from a record that is still there. The copy's own record stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tidelog.clock import iso
from tidelog.consumers.catalogue import STUCK, copies_of
from tidelog.consumers.orders import orders_of
from tidelog.producers.control import ControlView
from tidelog.producers.group_state import KnownCopy
from tidelog.producers.log import Bounds
from tidelog.schemas.control import (
    CopyFormed,
    CopyOrdered,
    OrderAnswered,
    OrderProtected,
    SiteStatus,
    answer_key,
    status_key,
)


@dataclass(frozen=True, slots=True)
class Base:
    """A marker's copy that the log may be trimmed to, and its record: ``offset`` of ``epoch``."""

    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Need:
    """Somebody who needs what comes after ``sequence``: the log may be trimmed to no copy behind it. 0: all of it."""

    who: str
    sequence: int
    why: str


@dataclass(frozen=True, slots=True)
class TrimSurvey:
    """What a plan rests on. ``sites`` are those that count; ``copies`` the marker copies that stand at the log's end,
    with their locks; ``bases`` those of them whose record is known. ``head_epoch`` is that of the newest event.
    ``stores`` are the sequences of those stores that can be asked, whatever their workers last reported: 0 while one is
    empty or rebuilt. ``seen`` are needs that only a look at the stores tells of."""

    group: str
    sites: tuple[str, ...]
    view: ControlView
    copies: Sequence[KnownCopy]
    bases: Sequence[Base]
    bounds: Bounds
    head_epoch: int
    now_us: int
    margin_us: int
    stores: Mapping[str, int] = field(default_factory=dict)
    seen: Sequence[Need] = ()


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """What a trim deletes: everything below ``offset``, the record of ``base``; None: nothing. ``needs`` are all there
    are, those that hold it back most first."""

    group: str
    bounds: Bounds
    base: Base | None
    needs: tuple[Need, ...]

    @property
    def offset(self) -> int:
        """The log's first offset afterwards."""
        return self.bounds.start if self.base is None else self.base.offset

    @property
    def records(self) -> int:
        """How many offsets go."""
        return self.offset - self.bounds.start


def plan_trim(found: TrimSurvey) -> TrimPlan:
    """The newest base that no need is before, if it deletes anything."""
    needs = sorted(_needs(found), key=lambda need: need.sequence)
    most = needs[0].sequence if needs else 0
    common = _common(found)
    # The opening of the head's session must stay, so no copy of that session's can be the place.
    everywhere = (base for base in found.bases if (base.sequence, base.seal, base.name) in common)
    usable = [base for base in everywhere if base.epoch < found.head_epoch]
    base = max((base for base in usable if base.sequence <= most), key=lambda base: base.sequence, default=None)
    if base is not None and base.offset <= found.bounds.start:
        base = None
    newest = max((base.sequence for base in found.bases if base.epoch < found.head_epoch), default=0)
    opening = Need("the writer", newest, f"the opening of its session (epoch {found.head_epoch}) stays in the log")
    every = sorted([*needs, opening], key=lambda need: need.sequence)
    return TrimPlan(found.group, found.bounds, base, tuple(every))


def _common(found: TrimSurvey) -> set[tuple[int, bytes, str]]:
    """The copies that every site has had for the margin, alike."""
    common = set()
    for copy in copies_of(found.view, found.group, found.sites):
        receipts = [copy.receipts.get(site) for site in found.sites]
        if not copy.differs and all(receipt is not None and _lasting(found, receipt) for receipt in receipts):
            common.add((copy.sequence, copy.seal, copy.name))
    return common


def _lasting(found: TrimSurvey, receipt: CopyFormed) -> bool:
    return receipt.formed_us <= found.now_us - found.margin_us


def _needs(found: TrimSurvey) -> Iterable[Need]:
    for site in found.sites:
        yield _of_site(found, site)
        for order in orders_of(found.view, found.group):
            if isinstance(order, OrderProtected):
                need = _of_lock(found, site, order)
            else:
                need = None if order.dropped_us else _of_order(found, site, order)
            if need is not None:
                yield need
    for copy in found.copies:
        if copy.locked_until_us > found.now_us - found.margin_us:
            yield Need(f"copy {copy.name}", copy.sequence, f"it is locked until {iso(copy.locked_until_us)}")
    yield from found.seen


def _of_site(found: TrimSurvey, site: str) -> Need:
    who = f"site {site}"
    status = found.view.get(status_key(found.group, site))
    if not isinstance(status, SiteStatus):
        return Need(who, 0, "it has never reported")
    if status.state == "REBUILDING" or status.state in STUCK:
        return Need(who, 0, f"it is {status.state}, and may need all that is there")
    newest = max((receipt.sequence for receipt in _lasting_receipts(found, site)), default=0)
    sequence = min(status.sequence, found.stores.get(site, status.sequence))
    if not sequence:
        return Need(who, 0, "it is being rebuilt, or empty, and may need all that is there")
    if sequence < newest:
        return Need(who, sequence, f"it went back to sequence {sequence}")
    margin = f"{found.margin_us / 1_000_000:g} s"
    if not newest:
        return Need(who, 0, f"it has no copy that is older than {margin}")
    return Need(who, newest, f"the newest copy that it has had for {margin} is at sequence {newest}")


def _of_lock(found: TrimSurvey, site: str, order: OrderProtected) -> Need | None:
    """What a locked copy by time needs, so that a site which loses its store makes it again: the log from the newest
    copy before that time."""
    if order.locked_until_us <= found.now_us - found.margin_us:
        return None
    others = (receipt for receipt in _lasting_receipts(found, site) if receipt.name != order.name)
    elder = max((receipt.sequence for receipt in others if receipt.timestamp_us <= order.at_us), default=0)
    why = f"it is locked until {iso(order.locked_until_us)}, and made from the copy at sequence {elder}"
    return Need(f"copy {order.name}", elder, why)


def _of_order(found: TrimSurvey, site: str, order: CopyOrdered) -> Need | None:
    """What a command for a copy by time may still need at a site: the log from the newest copy before that time."""
    receipts = [receipt for receipt in _receipts(found, site) if receipt.name == order.name]
    if any(_lasting(found, receipt) for receipt in receipts):
        return None
    answer = found.view.get(answer_key(found.group, order.name, site))
    state = answer.state if isinstance(answer, OrderAnswered) and answer.at_us == order.at_us else ""
    status = found.view.get(status_key(found.group, site))
    lasting = _lasting_receipts(found, site)
    if state == "OUT_OF_WINDOW":
        return None
    if state != "FORMING" and not receipts and isinstance(status, SiteStatus):
        heard = status.reported_us - found.margin_us > order.ordered_us
        # It is past that time for good, and makes nothing of the command: its own retention has dropped the copy.
        if heard and any(receipt.timestamp_us > order.at_us for receipt in lasting):
            return None
    elder = max((receipt.sequence for receipt in lasting if receipt.timestamp_us <= order.at_us), default=0)
    return Need(
        f"copy {order.name} by time", elder, f"site {site} has not had it for long enough, or has yet to make it"
    )


def _receipts(found: TrimSurvey, site: str) -> list[CopyFormed]:
    records = (record for record in found.view.values() if isinstance(record, CopyFormed))
    return [record for record in records if record.group == found.group and record.site == site]


def _lasting_receipts(found: TrimSurvey, site: str) -> list[CopyFormed]:
    return [receipt for receipt in _receipts(found, site) if _lasting(found, receipt)]

"""Copies by time over groups, as the control topic shows them: who has answered, and which sets are complete. Pure."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from tidelog.consumers.answers import Answer, began_at, unserved
from tidelog.consumers.catalogue import CatalogueCopy
from tidelog.producers.archived import archives_of
from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyFormed, CopyOrdered, OrderAnswered, SiteStatus, answer_key, status_key
from tidelog.stores.timed import DueCopy


@dataclass(frozen=True, slots=True)
class OrderedSet:
    """A command and what the sites say of it: ``answers`` by site and group, and for those that are out of window
    ``reasons``. A set is complete at a site when every group there has its copy: then it is one consistent time over
    all of them."""

    order: CopyOrdered
    answers: dict[str, dict[str, Answer]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def complete_at(self) -> tuple[str, ...]:
        """The sites that have the whole set, in Redis or archived."""
        there = (Answer.FORMED, Answer.ARCHIVED)
        return tuple(
            site
            for site, groups in self.answers.items()
            if groups and all(answer in there for answer in groups.values())
        )

    @property
    def complete(self) -> bool:
        """Whether every site has the whole set."""
        return len(self.complete_at) == len(self.answers)

    @property
    def began_later_at(self) -> tuple[str, ...]:
        """The sites whose store of a group began behind the time, from a newer copy: they do not get the whole set."""
        return tuple(site for site, groups in self.answers.items() if Answer.BEGINS_LATER in groups.values())

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come: every site has the whole set, has dropped of it what it lacks, or began
        behind its time. No alarm, and not complete unless every site has it."""
        over = (Answer.FORMED, Answer.ARCHIVED, Answer.DROPPED, Answer.BEGINS_LATER)
        return all(answer in over for groups in self.answers.values() for answer in groups.values())

    @property
    def pending(self) -> dict[str, list[str]]:
        """The groups whose copies are still to come, by site."""
        waits = (Answer.PENDING, Answer.FORMING, Answer.REBUILDING, Answer.EMPTIED)
        found = {
            site: [group for group, answer in groups.items() if answer in waits]
            for site, groups in self.answers.items()
        }
        return {site: groups for site, groups in found.items() if groups}

    @property
    def impossible(self) -> bool:
        """Whether a site has said that it cannot make its copy."""
        return any(Answer.OUT_OF_WINDOW in groups.values() for groups in self.answers.values())


def ordered_sets(view: ControlView, sites: Iterable[str]) -> list[OrderedSet]:
    """Every command that stands, by time. ``sites`` are the configured ones."""
    orders = [record for record in view.values() if isinstance(record, CopyOrdered) and not record.dropped_us]
    sites = list(sites)
    return [
        OrderedSet(
            order,
            {site: _answers(view, order, site) for site in sites},
            {site: _reasons(view, order, site) for site in sites},
        )
        for order in sorted(orders, key=lambda order: (order.at_us, order.name))
    ]


def with_dropped(found: OrderedSet, forgotten: Callable[[str, str], Collection[DueCopy]]) -> OrderedSet:
    """The set with those answers `Answer.DROPPED` in place of pending or forming that a site has dropped on its own:
    ``forgotten`` tells of a site and a group which commands those are, and is asked only where a copy is not there."""
    order = DueCopy(found.order.name, found.order.at_us)

    def answer(site: str, group: str, said: Answer) -> Answer:
        waits = said in (Answer.PENDING, Answer.FORMING)
        return Answer.DROPPED if waits and order in forgotten(site, group) else said

    answers = {
        site: {group: answer(site, group, said) for group, said in groups.items()}
        for site, groups in found.answers.items()
    }
    return replace(found, answers=answers)


def copy_with_dropped(copy: CatalogueCopy, forgotten: Callable[[str, str], Collection[DueCopy]]) -> CatalogueCopy:
    """The same of a copy in the catalogue."""
    order = DueCopy(copy.name, copy.timestamp_us)
    answers = {
        site: Answer.DROPPED if said is Answer.MISSING and order in forgotten(site, copy.group) else said
        for site, said in copy.answers.items()
    }
    return replace(copy, answers=answers)


def recoverable_us(view: ControlView, groups: Iterable[str], site: str) -> int:
    """The newest time up to which a site has applied all of these groups: the minimum over them (G19); 0 if one has
    applied nothing."""
    statuses = (view.get(status_key(group, site)) for group in groups)
    return min((status.timestamp_us if isinstance(status, SiteStatus) else 0 for status in statuses), default=0)


def _answers(view: ControlView, order: CopyOrdered, site: str) -> dict[str, Answer]:
    formed = {
        record.group: unserved(view, record.group, site, record.sequence) or Answer.FORMED
        for record in view.values()
        if isinstance(record, CopyFormed)
        and (record.site, record.name, record.timestamp_us) == (site, order.name, order.at_us)
    }
    names = order.group_names
    return {group: formed.get(group) or _not_formed(view, order, group, site) for group in names}


def _not_formed(view: ControlView, order: CopyOrdered, group: str, site: str) -> Answer:
    told = ((archive.site, archive.name, archive.timestamp_us) for archive in archives_of(view, group))
    if (site, order.name, order.at_us) in told:
        return Answer.ARCHIVED
    if order.at_us < began_at(view, group, site).timestamp_us:
        return Answer.BEGINS_LATER
    answer = _answered(view, order, group, site)
    return Answer(answer.state.lower()) if answer is not None else Answer.PENDING


def _reasons(view: ControlView, order: CopyOrdered, site: str) -> dict[str, str]:
    told = (group for group in order.group_names if order.at_us >= began_at(view, group, site).timestamp_us)
    found = ((group, _answered(view, order, group, site)) for group in told)
    return {group: answer.reason for group, answer in found if answer is not None and answer.reason}


def _answered(view: ControlView, order: CopyOrdered, group: str, site: str) -> OrderAnswered | None:
    answer = view.get(answer_key(group, order.name, site))
    states = (Answer.FORMING.name, Answer.OUT_OF_WINDOW.name)
    known = isinstance(answer, OrderAnswered) and answer.at_us == order.at_us and answer.state in states
    return answer if known else None  # type: ignore[return-value]

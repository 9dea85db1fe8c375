"""The catalogue: what the control topic says, put together (DESIGN section 7). Pure: a view in, facts out.

A digest that differs between sites under one identity is an alarm, and so are two histories under one sequence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tidelog.consumers.answers import Answer as Answer
from tidelog.consumers.answers import began_at, unserved
from tidelog.consumers.site_standing import STUCK as STUCK
from tidelog.consumers.site_standing import Newest as Newest
from tidelog.consumers.site_standing import SiteStanding as SiteStanding
from tidelog.consumers.site_standing import standing_of as standing_of
from tidelog.producers.archived import archives_of
from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived, CopyFormed, CopyOrdered, GroupCreated, SiteStatus, status_key


@dataclass(frozen=True, slots=True)
class CatalogueCopy:
    """One copy, by identity, and the receipts for it. ``differs`` is the alarm."""

    group: str
    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    receipts: dict[str, CopyFormed]
    answers: dict[str, Answer]  # of every site, configured or heard of
    archives: dict[str, CopyArchived] = field(default_factory=dict)  # by the site that has made each
    retired: frozenset[str] = frozenset()  # sites in ``answers`` that are not configured: nothing is to come from them

    @property
    def digests(self) -> set[bytes]:
        """The different ones, archives' among them; one if all is well."""
        receipts = {receipt.digest for receipt in self.receipts.values()}
        return receipts | {archive.digest for archive in self.archives.values()}

    @property
    def differs(self) -> bool:
        """Whether two sites have different bytes under this identity."""
        return len(self.digests) > 1

    @property
    def missing(self) -> tuple[str, ...]:
        """Sites that are to have it and do not show it: those still to come, those that have passed it without, those
        that have lost it with their store, and unknown ones. Not those that began behind it, or are not configured."""
        silent = (Answer.PENDING, Answer.MISSING, Answer.UNKNOWN, Answer.REBUILDING, Answer.EMPTIED)
        return tuple(site for site, answer in self.answers.items() if answer in silent and site not in self.retired)

    @property
    def equal(self) -> bool | None:
        """True if every site that is to have it answered alike; None while some do not; False for an alarm."""
        if self.differs:
            return False
        return None if self.missing else True


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """A group: its sites, its copies (oldest first) and its alarms, as sentences."""

    record: GroupCreated
    sites: tuple[SiteStanding, ...]
    copies: tuple[CatalogueCopy, ...]
    alarms: tuple[str, ...]


def catalogue(
    view: ControlView,
    sites: Iterable[str],
    *,
    now_us: int,
    status_interval: float,
    groups: Iterable[str] | None = None,
    newest: dict[str, Newest] | None = None,
    parted: Mapping[str, Mapping[str, str]] | None = None,
) -> list[GroupStanding]:
    """Every group of ``view`` (or those in ``groups``), by name. ``sites`` are the configured ones; ``parted`` says by
    group of which sites the log, that a caller has looked at, does not have the last event, and why."""
    only = None if groups is None else frozenset(groups)
    records = (record for record in view.values() if isinstance(record, GroupCreated))
    return [
        _group(
            view,
            record,
            tuple(sites),
            now_us,
            status_interval,
            (newest or {}).get(record.group),
            (parted or {}).get(record.group, {}),
        )
        for record in sorted(records, key=lambda record: record.group)
        if only is None or record.group in only
    ]


def copies_of(view: ControlView, group: str, sites: Iterable[str]) -> list[CatalogueCopy]:
    """The group's copies for which there is at least one receipt or archive, oldest first. ``sites`` are the configured
    ones."""
    sites = tuple(sites)
    by_identity: dict[tuple[int, bytes, str], tuple[dict[str, CopyFormed], dict[str, CopyArchived]]] = {}
    for receipt in _receipts(view, group):
        by_identity.setdefault((receipt.sequence, receipt.seal, receipt.name), ({}, {}))[0][receipt.site] = receipt
    for archive in archives_of(view, group):
        by_identity.setdefault((archive.sequence, archive.seal, archive.name), ({}, {}))[1][archive.site] = archive
    known = _all_sites(view, group, sites)
    orders = (record for record in view.values() if isinstance(record, CopyOrdered))
    ordered_names = {order.name for order in orders if group in order.group_names}
    found = []
    for (sequence, seal, name), (receipts, archives) in sorted(by_identity.items()):
        times = [receipt.timestamp_us for receipt in receipts.values()]
        times += [archive.timestamp_us for archive in archives.values()]
        by_time = name in ordered_names
        answers = {site: _answer(view, group, site, sequence, receipts, archives, by_time) for site in known}
        ordered = {site: receipts[site] for site in known if site in receipts}
        retired = frozenset(known).difference(sites)
        found.append(CatalogueCopy(group, sequence, seal, name, times[0], ordered, answers, archives, retired))
    return found


def alarms_of(copies: Iterable[CatalogueCopy]) -> list[str]:
    """What must not be passed over, one sentence each."""
    alarms: list[str] = []
    seals: dict[int, bytes] = {}
    for copy in copies:
        if copy.differs:
            said = [f"{site} {receipt.digest.hex()}" for site, receipt in copy.receipts.items()]
            said += [f"the archive of {site} {archive.digest.hex()}" for site, archive in copy.archives.items()]
            alarms.append(
                f"copy {copy.name} of group {copy.group} (sequence {copy.sequence}) differs: {', '.join(said)};"
                f" see where with: {_comparison(copy)}"
            )
        # An archive may be all that is left of a history that has ended.
        if copy.receipts and seals.setdefault(copy.sequence, copy.seal) != copy.seal:
            where = ", ".join(copy.receipts)
            alarms.append(f"group {copy.group} has another history at {where}: sequence {copy.sequence} has two seals")
    return alarms


def _comparison(copy: CatalogueCopy) -> str:
    """The command that finds the first difference between two sites; between a site and an archive, that tells which
    of them is wrong."""
    command = f"tidelog pitc verify {copy.name} -g {copy.group}"
    receipts = list(copy.receipts.values())
    other = next((receipt for receipt in receipts[1:] if receipt.digest != receipts[0].digest), None)
    return f"{command} --full" if other is None else f"{command} --site {receipts[0].site} --against {other.site}"


def _group(
    view: ControlView,
    record: GroupCreated,
    sites: tuple[str, ...],
    now_us: int,
    status_interval: float,
    newest: Newest | None,
    parted: Mapping[str, str],
) -> GroupStanding:
    for status in _statuses(view, record.group):
        if status.site in parted:
            continue
        if newest is None or status.sequence > newest.sequence:
            newest = Newest(status.sequence, status.timestamp_us)
    standings = tuple(
        standing_of(
            view,
            record.group,
            site,
            configured=site in sites,
            now_us=now_us,
            status_interval=status_interval,
            newest=newest,
            parted=parted.get(site, ""),
        )
        for site in _all_sites(view, record.group, sites)
    )
    copies = tuple(copies_of(view, record.group, sites))
    return GroupStanding(record, standings, copies, tuple(alarms_of(copies)))


def _answer(
    view: ControlView,
    group: str,
    site: str,
    sequence: int,
    receipts: dict[str, CopyFormed],
    archives: dict[str, CopyArchived],
    by_time: bool,
) -> Answer:
    if site in receipts:
        return unserved(view, group, site, sequence) or Answer.FORMED
    if site in archives:
        return Answer.ARCHIVED
    status = view.get(status_key(group, site))
    if not isinstance(status, SiteStatus) or status.sequence < sequence:
        return Answer.PENDING
    if sequence < began_at(view, group, site).sequence:
        return Answer.BEGINS_LATER
    # A copy by marker goes everywhere when it is archived, one by time at the site that has archived it.
    return Answer.DROPPED if archives and not receipts and not by_time else Answer.MISSING


def _all_sites(view: ControlView, group: str, configured: Iterable[str]) -> list[str]:
    """The configured sites in their order, then those that were only heard of."""
    heard = {status.site for status in _statuses(view, group)} | {receipt.site for receipt in _receipts(view, group)}
    configured = list(configured)
    return configured + sorted(heard.difference(configured))


def _statuses(view: ControlView, group: str) -> Iterator[SiteStatus]:
    return (record for record in view.values() if isinstance(record, SiteStatus) and record.group == group)


def _receipts(view: ControlView, group: str) -> Iterator[CopyFormed]:
    return (record for record in view.values() if isinstance(record, CopyFormed) and record.group == group)

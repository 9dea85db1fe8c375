"""What a site's worker says of a group beside its status: when it has changed, and at first."""

from tidelog.clock import wall_us
from tidelog.consumers.counts import Counts
from tidelog.consumers.rates import RateWindow, same_rates
from tidelog.consumers.replica import Replica
from tidelog.consumers.site_standing import STUCK
from tidelog.consumers.site_store import told_began
from tidelog.producers.control import Control
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.reports import SiteRates, UncopiedSince
from tidelog.stores.began import Began


class SiteReports:
    """One worker's. ``counts`` has what it has done for each group since it has had it, by whichever replica."""

    def __init__(self, control: Control, site: str, timeout: float) -> None:
        self._control, self._site, self._timeout = control, site, timeout
        self._uncopied: dict[str, int] = {}
        self._began: dict[str, Began] = {}
        self._rates: dict[str, SiteRates] = {}
        self._windows: dict[str, RateWindow] = {}
        self._stuck: dict[str, str] = {}
        self.counts: dict[str, Counts] = {}

    def counts_of(self, name: str) -> Counts:
        """A group's, begun at 0 when first asked for."""
        return self.counts.setdefault(name, Counts())

    def tell_rates(self, status: SiteStatus) -> None:
        """For each status, before it is published: so whoever reads that finds rates of the same worker. Raises
        `LogUnavailable`."""
        name, counts = status.group, self.counts_of(status.group)
        kind = status.reason.partition(":")[0] if status.state in STUCK else ""
        if kind and self._stuck.get(name) != kind:
            counts.halted(kind)
        self._stuck[name] = kind
        rates = self._windows.setdefault(name, RateWindow()).rates(status, counts)
        if not same_rates(self._rates.get(name), rates):
            self._control.publish(rates, self._timeout)
            self._rates[name] = rates

    def tell_uncopied(self, name: str, replica: Replica) -> None:
        """A copy, or the first change after one. Raises `LogUnavailable`."""
        if replica.uncopied is None or self._uncopied.get(name) == replica.uncopied.since_us:
            return
        since_us = replica.uncopied.since_us
        told = UncopiedSince(site=self._site, group=name, since_us=since_us, reported_us=wall_us())
        self._control.publish(told, self._timeout)
        self._uncopied[name] = since_us

    def tell_began(self, name: str, replica: Replica) -> None:
        """Not of a store that holds nothing yet, since what was told says that there was one. Raises
        `LogUnavailable`."""
        began = replica.began
        if began is None or self._began.get(name) == began or not replica.progress(0).head.sequence:
            return
        self._control.publish(told_began(self._site, name, began), self._timeout)
        self._began[name] = began

    def forget(self, name: str) -> None:
        """The group's replica has ended: all is told anew of the next one. What was counted stays, until `lose`."""
        for told in (self._uncopied, self._began, self._rates, self._windows):
            told.pop(name, None)

    def lose(self, name: str) -> None:
        """The group is another worker's now, which counts from 0. If it comes back, so does this one: a count that went
        on here would look, behind the other's, like events that were applied."""
        self.forget(name)
        for told in (self._stuck, self.counts):
            told.pop(name, None)

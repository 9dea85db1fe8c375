"""Finding the bases of a rebuild, and judging them: at other sites, in archives, where an operator says.

A copy can be a base if its marker is in the log with its seal, so that all that follows is there too; if the site that
holds it has told its digest; and if nobody but the site that is rebuilt, whose store may be damaged, has told another.
"""

from collections.abc import Callable
from functools import partial

from tidelog.consumers.catalogue import CatalogueCopy, copies_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.errors import NotFound, TidelogError, UsageError
from tidelog.producers.archived import archives_of
from tidelog.producers.control import ControlView
from tidelog.producers.follower import carries_head
from tidelog.producers.log import Log
from tidelog.recovery.rebuild_bases import Base, BaseKind, BaseSurvey, ExportFound, Exports, NotTaken, Wanted
from tidelog.schemas.control import GroupCreated
from tidelog.stores.image import Store
from tidelog.stores.loading import Loading
from tidelog.stores.store import Copy, CopyOrigin

# So many copies of one site, or archives, are told of that cannot be a base.
REFUSED_MOST = 3


class BaseSearch:
    """One look at everything that a site could be rebuilt from, but for the log's beginning."""

    def __init__(
        self,
        deployment: Deployment,
        record: GroupCreated,
        site: str,
        log: Log,
        view: ControlView,
        exports: Exports | None,
        unfinished: Loading | None,
        locked: int | None,
    ) -> None:
        """``locked`` is the sequence of the eldest copy that is locked at the site: a base of that or before is looked
        for as well."""
        self._deployment, self._record, self._site = deployment, record, site
        self._log, self._view, self._exports = log, view, exports
        self._unfinished, self._locked = unfinished, locked
        self._told = {
            (copy.sequence, copy.seal, copy.name): copy
            for copy in copies_of(view, record.group, deployment.config.sites)
        }
        self.found = BaseSurvey()

    def look(self, wanted: Wanted) -> BaseSurvey:
        """Raises `UsageError`, or `NotFound`, for what was asked for by name and cannot be; and what its store or place
        raises. With nothing asked for, what cannot be had is among those refused."""
        sites = self._deployment.config.sites
        kind = wanted.kind(sites)
        if wanted.copy and kind in (None, BaseKind.LOG):
            raise UsageError("--copy names a copy of a site or an export", hint="say which with --from")
        if kind is BaseKind.SITE:
            if wanted.source == self._site:
                raise UsageError(f"site {self._site} cannot be rebuilt from itself", hint="name another site")
            self._at_site(wanted.source, wanted.copy)
        elif kind is BaseKind.EXPORT:
            self._in_export(wanted)
        elif kind is None:
            for other in sites:
                if other != self._site:
                    self._try(f"site {other}", partial(self._at_site, other, ""))
            self._in_archives()
            self._unfinished_export()
        return self.found

    def _try(self, what: str, look: Callable[[], None]) -> None:
        try:
            look()
        except (TidelogError, OSError) as error:
            self.found.refused.append(NotTaken(what, str(error)))

    def _at_site(self, other: str, name: str) -> None:
        find_site(self._deployment.config, other)
        store = open_store(self._deployment, other, self._record.group)
        try:
            if store.rebuilding() is not None:
                raise UsageError(f"site {other} is being rebuilt itself")
            copies = [store.copy(name)] if name else store.copies()[::-1]
            if not copies:
                raise NotFound(f"site {other} has no copy of group {self._record.group}")
            self._newest(store, copies)
            if not name:
                self._as_before(store, copies)
                if self._locked is not None:
                    self._newest(store, [copy for copy in copies if copy.sequence <= self._locked])
        finally:
            store.close()

    def _newest(self, store: Store, copies: list[Copy]) -> None:
        other = store.identity.site
        for older, copy in enumerate(copies):
            why = self._refusal(copy, self._told.get(_key(copy)), other)
            if not why:
                self._add(store, copy)
                return
            if older < REFUSED_MOST:
                self.found.refused.append(NotTaken(f"copy {copy.name} at site {other}", why))

    def _as_before(self, store: Store, copies: list[Copy]) -> None:
        """The copy whose load was cut short, if it is not the newest."""
        before = self._unfinished
        if before is None or before.kind != BaseKind.SITE:
            return
        for copy in copies:
            if (copy.sequence, copy.seal.hex()) == (before.sequence, before.seal):
                if not self._refusal(copy, self._told.get(_key(copy)), store.identity.site):
                    self._add(store, copy)
                return

    def _add(self, store: Store, copy: Copy) -> None:
        contents, other = store.contents(copy), store.identity.site
        size = sum(contents.named(volume).count * volume.block_size for volume in copy.volumes)
        base = Base(BaseKind.SITE, other, copy, self._told[_key(copy)].receipts[other].digest, size)
        if base not in self.found.usable:
            self.found.usable.append(base)

    def _in_export(self, wanted: Wanted) -> None:
        if self._exports is None:
            raise UsageError(f"{wanted.source!r} is no configured site, and exports cannot be read here")
        try:
            base = self._exports.find(wanted.source)
        except UsageError as error:
            if "/" not in wanted.source and "://" not in wanted.source:
                there = ", ".join(self._deployment.config.sites)
                raise NotFound(
                    f"{wanted.source!r} is no configured site (there are: {there}), and no export: {error.message}"
                ) from error
            raise
        copy = base.base.copy
        assert copy is not None
        if wanted.copy not in ("", copy.name, f"#{copy.sequence}"):
            raise NotFound(f"the export at {wanted.source} is of copy {copy.name}, not {wanted.copy}")
        self._take(base)

    def _take_export(self, exports: Exports, place: str) -> None:
        self._take(exports.find(place))

    def _take(self, export: ExportFound) -> None:
        copy, base = export.base.copy, export.base
        assert copy is not None
        if export.group_id != self._record.group_id:
            why = "it is of another group"
        else:
            why = self._refusal(copy, self._told.get(_key(copy)), None, base.digest)
        if why:
            self.found.refused.append(NotTaken(str(base), why))
        elif base not in self.found.usable:
            self.found.usable.append(base)

    def _in_archives(self) -> None:
        """The newest that is newer than every site's."""
        exports = self._exports
        if exports is None:
            return
        newest = max((base.sequence for base in self.found.usable), default=0)
        for record in archives_of(self._view, self._record.group)[: -REFUSED_MOST - 1 : -1]:
            before = len(self.found.usable)
            if record.sequence <= newest:
                return
            what = f"the archive of copy {record.name} at {record.place}"
            self._try(what, partial(self._take_export, exports, record.place))
            if len(self.found.usable) > before:
                return

    def _unfinished_export(self) -> None:
        before, exports = self._unfinished, self._exports
        if before is not None and before.kind == BaseKind.EXPORT and exports is not None:
            place = before.source
            self._try(f"the export at {place}", partial(self._take_export, exports, place))

    def _refusal(self, copy: Copy, told: CatalogueCopy | None, at: str | None, digest: bytes = b"") -> str:
        """Why a copy cannot be a base; empty if it can. ``at`` is the site that holds it, None: an export does."""
        log = self._log
        if copy.origin is CopyOrigin.LOST:
            return "it is of a lost history, which is not in the log"
        if copy.origin is not CopyOrigin.MARKER:
            return "it is a copy by time, which may end inside a write batch"
        if copy.cluster_id != log.id:
            return f"it was cut from the log on cluster {copy.cluster_id}"
        start = log.bounds().start
        if copy.offset < start:
            return f"the log begins at offset {start}, behind it"
        if not carries_head(log, copy.head):
            return "its marker is not in the log: it is of another history"
        receipts = {} if told is None else told.receipts
        if at is not None:
            if at not in receipts:
                return f"site {at} has not told its digest yet"
            digest = receipts[at].digest
        said = {site: receipt.digest for site, receipt in receipts.items() if site != self._site}
        if told is not None:
            said.update((f"the archive of {site}", archive.digest) for site, archive in told.archives.items())
        against = sorted(who for who, other in said.items() if other != digest)
        return f"its digest is contradicted by {', '.join(against)}" if against else ""


def _key(copy: Copy) -> tuple[int, bytes, str]:
    return copy.sequence, copy.seal, copy.name

"""The policy of archives at a site: what retention is about to drop is archived first, by the site's worker.

Of copies by time the site itself drops what is archived. A group's scheduled copies are archived by the primary's site;
the writer's schedule drops each once the control topic says that it is. So neither waits for the other, and a crash
anywhere leaves a copy in the store that is looked at again.
"""

import threading
from collections.abc import Callable, Iterable

from tidelog.config import Config
from tidelog.config_tables import KeepRules
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.local_retention import apply_local, known
from tidelog.errors import CopiesDiffer, NotFound, TidelogError, Unavailable, UsageError
from tidelog.producers.archived import archived_copies
from tidelog.producers.lock_time import lock_time_us
from tidelog.producers.retention import Decision, plan_retention
from tidelog.schemas.control import CopyArchived
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyOrigin

# Status intervals between two looks.
LOOK_INTERVALS = 10.0
STOP_TIMEOUT = 30.0

# Archives a copy of a store under a place, telling of bytes done; see `tidelog.gateways.exports.archiving`.
Archive = Callable[[Store, Copy, str, Callable[[int], None]], CopyArchived]


class _Stopping(Exception):
    """The worker ends: what was under way is begun anew by the next one."""


def archive_place(config: Config, site: str, group: str, origin: CopyOrigin) -> str | None:
    """Where copies of a group at a site are archived; a site's own place is for its copies by time."""
    table = config.groups.get(group)
    own = find_site(config, site).archive if origin is CopyOrigin.TIME else None
    return own or (table.archive if table is not None else None)


def archive_local(
    store: Store, keep: KeepRules, place: str, archive: Archive, advance: Callable[[int], None]
) -> list[Decision]:
    """As `apply_local`, each copy archived before it is dropped. Raises what ``archive`` does, too."""
    return apply_local(store, keep, lambda copy: archive(store, copy, place, advance))


class ArchivePolicy:
    """Looks at the groups of a site again and again, on a thread of its own, until `stop`.

    ``groups`` gives those that the worker serves at the moment. What is in the way of a group's archive is in
    ``problems``, until a look at it succeeds.
    """

    def __init__(
        self, deployment: Deployment, site: str, groups: Callable[[], Iterable[str]], archive: Archive
    ) -> None:
        self.problems: dict[str, TidelogError] = {}
        self._deployment, self._site, self._groups, self._archive = deployment, site, groups, archive
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-archive-{site}", daemon=True)

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begins what `stop` waits for; an export under way is given up at its next part."""
        self._stopping.set()

    def stop(self) -> None:
        """Ends, within a part of an export as a rule."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        pause = LOOK_INTERVALS * self._deployment.config.worker.status_interval
        while not self._stopping.wait(pause):
            for group in list(self._groups()):
                try:
                    self.look(group)
                    self.problems.pop(group, None)
                except _Stopping:
                    return
                except (NotFound, Unavailable):
                    continue  # the replica meets the same, and says so
                except TidelogError as error:
                    self.problems[group] = error
                except Exception as error:  # a full disk, a place out of reach, whatever a file system raises
                    self.problems[group] = TidelogError(
                        f"copies of group {group} cannot be archived: {error}", hint="they stay until they can"
                    )

    def look(self, group: str) -> None:
        """Archives what is due of a group now. Raises what the archive, the store and the control topic do."""
        config = self._deployment.config
        keep, table = find_site(config, self._site).keep, config.groups.get(group)
        own = archive_place(config, self._site, group, CopyOrigin.TIME) if keep is not None else None
        shared = (
            table.archive if table is not None and table.keep is not None and self._site == config.primary else None
        )
        if own is None and shared is None:
            return
        store = open_store(self._deployment, self._site, group)
        try:
            if store.rebuilding() is not None:
                return
            if keep is not None and own is not None:
                archive_local(store, keep, own, self._archive, self._advance)
            if shared is not None:
                self._scheduled(store, group, shared)
        finally:
            store.close()

    def _scheduled(self, store: Store, group: str, place: str) -> None:
        """Those of the group's copies that its retention would drop, and that nobody has archived. One that the sites
        do not agree on stays, and is told of when all others are done."""
        control, keep = self._deployment.cluster.control, self._deployment.config.groups[group].keep
        assert keep is not None  # `look` has asked
        done = archived_copies(control.snapshot(), group)
        marked = {known(copy): copy for copy in store.copies() if copy.origin is CopyOrigin.MARKER}
        judged_at_us = lock_time_us(store.position().head.timestamp_us, group, control)
        refused: TidelogError | None = None
        for decision in plan_retention(list(marked), keep, judged_at_us):
            copy = decision.copy
            if not decision.dropped or (copy.sequence, copy.seal, copy.name) in done:
                continue
            try:
                self._archive(store, marked[copy], place, self._advance)
            except (CopiesDiffer, UsageError) as error:  # about this copy: the others go on
                refused = refused or error
        if refused is not None:
            raise refused

    def _advance(self, _: int) -> None:
        if self._stopping.is_set():
            raise _Stopping

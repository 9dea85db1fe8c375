"""A deployment with workers running in this process: what the fixtures give, usable without pytest too."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment
from tidelog.consumers.membership import Membership, SoleWorker
from tidelog.consumers.site_view import Site
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import AlreadyExists
from tidelog.gateways.exports.archiving import archiving
from tidelog.gateways.library import open_site
from tidelog.producers.group import Group
from tidelog.testing.servers import ServerError

STOP_TIMEOUT = 30.0


class RunningDeployment:
    """Sites whose workers run on threads of this process, and groups open for writing; all ended on leaving."""

    def __init__(self, deployment: Deployment, membership: Callable[[], Membership] = SoleWorker) -> None:
        self.deployment = deployment
        self._membership = membership
        self._workers: dict[str, tuple[SiteWorker, threading.Thread]] = {}
        self._sites: list[Site] = []
        self._groups: list[Group] = []

    def site(self, name: str) -> Site:
        """The site for reading, its worker running (started by the first call)."""
        if name not in self._workers:
            archive = archiving(self.deployment.cluster.control, self.deployment.config.sites)
            worker = SiteWorker(self.deployment, name, self._membership, archive=archive)
            thread = threading.Thread(target=worker.run, name=f"tidelog-worker-{name}", daemon=True)
            self._workers[name] = (worker, thread)
            thread.start()
        site = open_site(name, deployment=self.deployment)
        self._sites.append(site)
        return site

    def stop_site(self, name: str) -> None:
        """Ends a site's worker; its store stays as it is, and `site` starts a worker again. Raises `ServerError` if it
        does not end."""
        worker, thread = self._workers.pop(name)
        worker.stop()
        thread.join(STOP_TIMEOUT)
        if thread.is_alive():
            raise ServerError(f"the worker of {name} did not end within {STOP_TIMEOUT:.0f} s")

    def group(self, name: str) -> Group:
        """The group, made if it is not there, open for writing: a new writer session each time."""
        try:
            self.deployment.cluster.create_group(name)
        except AlreadyExists:
            pass  # opened again, which fences the session before
        group = open_group(name, deployment=self.deployment)
        self._groups.append(group)
        return group

    def wait_for_store(self, site: str, group: str, timeout: float = 30.0) -> None:
        """Waits until the site's worker has made its store for the group. Raises `TimeoutError`."""
        opened = self.site(site)
        deadline = time.monotonic() + timeout
        while True:
            try:
                opened.group(group)
                return
            except LookupError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"site {site} has no store of group {group} after {timeout:g} s") from None
                time.sleep(0.02)

    def close(self) -> None:
        """Ends everything that it started, writers first, whatever of it fails to end; that is raised behind all."""
        with ExitStack() as ending:  # from the last to the first
            ending.callback(self.deployment.close)
            for site in self._sites:
                ending.callback(site.close)
            for name in tuple(self._workers):
                ending.callback(self.stop_site, name)
            for worker, _ in self._workers.values():
                ending.callback(worker.stop)  # all at once: each ends what it has begun
            for group in self._groups:
                ending.callback(group.abandon)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

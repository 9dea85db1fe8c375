"""What happens to sites and their stores in the simulated world."""

from contextlib import suppress

from tests.simulation.actors import SITES, WORKERS, Site, nobody
from tests.simulation.stepped import SiteWorker
from tidelog.errors import Locked, TidelogError


class SiteOperations:
    """The operations of a schedule that concern sites; ``a`` chooses the site, ``b`` mostly the worker."""

    sites: list[Site]
    sources: set[bytes]  # seals of copies that volumes were copied from

    def sync(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).sync()

    def connect(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).connect()

    def poll(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).poll()

    def apply(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).apply()

    def settle(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).settle()

    def idle(self, a: int, b: int, _c: int) -> None:
        self._worker(a, b).idle()

    def restart(self, a: int, b: int, _c: int) -> None:
        """A worker's process ends, and another begins."""
        self._worker(a, b).crash()

    def between(self, a: int, b: int, c: int) -> None:
        """The next time that a worker's transaction reaches a point (``c``), the other one does all it can or, by
        ``b``, a copy is dropped by another process, or Redis goes back without a new connection."""
        site = self.sites[a % SITES]
        keyspace = site.keyspace
        wanted = ("exec", "watch", "get")[c % 3]

        def come_in(point: str) -> None:
            idle = [worker for worker in site.workers if not worker.busy]
            if point != wanted or not idle:
                return
            keyspace.between = nobody
            if b % 6 == 4:
                self.drop(a, c, 0)
            elif b % 6 == 5:
                self.rewind(a, c, 1)
            else:
                idle[0].sync()
                idle[0].idle()

        keyspace.between = come_in

    def race(self, a: int, b: int, c: int) -> None:
        """Both workers of a site apply all there is, one in the midst of the other."""
        self.between(a, b // 2, c)
        self._worker(a, b).sync()

    def snapshot(self, a: int, _b: int, _c: int) -> None:
        site = self.sites[a % SITES]
        site.snapshots.append(site.keyspace.snapshot())

    def rewind(self, a: int, b: int, c: int) -> None:
        """A Redis loses its tail, and comes back as it was earlier."""
        site = self.sites[a % SITES]
        site.keyspace.restore(site.snapshots[b % len(site.snapshots)], lose_connections=c % 2 == 0)

    def fail(self, a: int, b: int, c: int) -> None:
        """A connection to Redis breaks around one of the next transactions."""
        self.sites[a % SITES].keyspace.fail(b % 3 + 1, applied=c % 2 == 0)

    def drop(self, a: int, b: int, _c: int) -> None:
        """Another process drops a copy at one site; not one that a copy onto a volume may still need there."""
        site = self.sites[a % SITES]
        copies = [copy for copy in site.store.copies() if copy.seal not in self.sources]
        if copies:
            copy = copies[b % len(copies)]
            with suppress(TidelogError):
                try:
                    site.store.mark_dropping(copy)
                except Locked:
                    return
                except TidelogError:  # `fail`: then it may be dropped or not
                    site.dropped.add(copy.seal)
                    raise
                site.dropped.add(copy.seal)

    def _worker(self, a: int, b: int) -> SiteWorker:
        return self.sites[a % SITES].workers[b % WORKERS]

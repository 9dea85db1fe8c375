"""Copies onto volumes in the simulated world."""

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from tests.simulation.actors import SITES, WRITERS, Site, Writer
from tests.simulation.site_operations import SiteOperations
from tidelog.errors import TidelogError
from tidelog.producers.group import Group
from tidelog.producers.memory_control import MemoryControl
from tidelog.producers.session import WriterSession
from tidelog.producers.volume_copy import try_copy
from tidelog.schemas.events import VolumeCreated

BLOCK = 512


class VolumeCopying(SiteOperations):
    """The operation of a schedule that copies a volume."""

    writers: list[Writer]
    deliver: Callable[[int, int, int], None]
    _count: int

    def copy(self, a: int, b: int, c: int) -> None:
        """From a live volume or a copy, if a site (``b``), whatever it has applied, knows enough of what differs."""
        session = self.writers[a % WRITERS].live
        if session is None:
            return
        with suppress(TidelogError):
            while len(session.state.volumes) < 2:
                self._count += 1
                session.emit(VolumeCreated, name=f"w{self._count}", size=3 * BLOCK + 100, block_size=BLOCK)
            if c % 3:  # else the site is wherever it is
                self.deliver(a, 3, 0)
                self.sync(b, 0, 0)
            self._copy(session, self.sites[b % SITES], b, c)

    def _copy(self, session: WriterSession, site: Site, b: int, c: int) -> None:
        table = list(session.state.volumes)
        dropped = set().union(*(site.dropped for site in self.sites))
        copies = [copy for copy in session.state._copies.values() if copy.seal not in dropped]
        copy = copies[c % len(copies)] if copies and c % 4 else None
        source = table[c % len(table)]
        fitting = [volume for volume in table if volume.size >= source.size and (copy or volume is not source)]
        if not fitting:
            return
        if copy is not None:
            self.sources.add(copy.seal)
        side: Any = SimpleNamespace(site=site.store.identity.site, changes=site.store.changes)
        group = Group("bank", session, side, MemoryControl(), 4096, (), ())
        try_copy(group, source.name, fitting[b // SITES % len(fitting)].name, copy.name if copy else None)

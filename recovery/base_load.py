"""Loading the base of a rebuild: held where it is read, put into the store block by block, and proved there.

The log is not followed meanwhile. Nothing of it can go: the store is marked as being rebuilt before the base's record
is looked for, and a trim takes nothing while a store is (`tidelog.recovery.trim_plan`). It is looked for again and
again all the same, since others can delete records.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Self

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import CopiesDiffer, ExportDamaged, NeedsRebuild, NotFound, TidelogError
from tidelog.producers.follower import carries_head
from tidelog.recovery.rebuild_bases import Base, BaseKind, BaseSource, Exports
from tidelog.recovery.rebuild_plan import RebuildPlan
from tidelog.recovery.rebuild_report import Phase, RebuildProgress, RebuildReport
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.ahead import ahead
from tidelog.stores.base import BaseLoad
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import Block
from tidelog.stores.digest import copy_digest, digest_bytes
from tidelog.stores.holds import this_process
from tidelog.stores.image import Store
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy, HoldKind

# The log is asked so often, in seconds, whether it still goes on from the base.
LOOK_EVERY = 5.0


class SiteSource:
    """A copy at another site, held there until it is closed: dropped meanwhile, it is read all the same."""

    def __init__(self, deployment: Deployment, plan: RebuildPlan) -> None:
        """Raises `NotFound` if that copy is not there any more, `SiteBehind`, `StoreUnavailable`."""
        base = plan.base
        self._store = open_store(deployment, base.source, plan.group)
        try:
            copy = _the_same(self._store, base)
            self._lease = self._store.hold(copy, HoldKind.REBUILD, f"site {plan.site}, {this_process()}")
        except BaseException:
            self._store.close()
            raise
        self._contents = self._store.contents(self._lease.copy)

    def blocks(self, volume: VolumeInfo, after: int) -> Iterator[list[Block]]:
        """See `BaseSource`: every block that events have named, whatever is in it, so that bitmaps are the same."""
        named = self._contents.named(volume)
        named.discard_range(0, after + 1)
        return self._contents.blocks(volume, named)

    def zeros(self, volume: VolumeInfo) -> ChangeBitmap:  # noqa: ARG002
        """None: `blocks` gives all."""
        return ChangeBitmap()

    def pairs(self) -> dict[Pair, ChangeBitmap]:
        """See `BaseSource`."""
        return self._store.pairs(self._lease.copy)

    def close(self) -> None:
        """Lets the copy go."""
        self._store.close()  # and its leases


class BaseLoading:
    """One load of a plan's base. A context manager; the base is had, and held, from the beginning.

    Raises `NotFound` if it is not there any more, `NeedsRebuild` if the log no longer goes on from it, `CopiesDiffer`
    or `ExportDamaged` if its bytes are not what they must be: then nothing of it is served. `StoreUnavailable`.
    """

    def __init__(
        self, deployment: Deployment, plan: RebuildPlan, report: RebuildReport, exports: Exports | None
    ) -> None:
        assert plan.base.copy is not None
        self._plan, self._report = plan, report
        self._base, self._copy = plan.base, plan.base.copy
        self._load: BaseLoad | None = None
        self._closing = ExitStack()
        try:
            self._source = self._opened(deployment, exports)
            self._closing.callback(self._source.close)
            record = deployment.cluster.find_group(plan.group)
            self._log = deployment.cluster.log(record)
            self._closing.callback(self._log.close)
        except BaseException:
            self._closing.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _opened(self, deployment: Deployment, exports: Exports | None) -> BaseSource:
        if self._base.kind is BaseKind.SITE:
            return SiteSource(deployment, self._plan)
        assert exports is not None, "whoever plans with exports has them"
        return exports.open(self._base)

    def check_log(self) -> None:
        """Raises `NeedsRebuild` unless the log still goes on from the base."""
        if self._log.bounds().start > self._copy.offset or not carries_head(self._log, self._copy.head):
            error = NeedsRebuild(
                f"the log no longer holds the record of {self._base}, and what follows it",
                group=self._plan.group,
                offset=self._copy.offset,
                hint="choose a newer base: tidelog site rebuild SITE --group GROUP",
            )
            error.at_site(self._plan.site, self._plan.group)
            raise error

    def begin(self, store: Store) -> Iterator[int]:
        """Takes the store and empties it, yielding the number of keys deleted so far."""
        self._load = self._closing.enter_context(store.load_base(self._base.loading, over=True))
        yield from self._load.erase()

    def resume(self, store: Store) -> None:
        """Goes on with a load of this base that was cut short."""
        self.check_log()
        self._load = self._closing.enter_context(store.resume_load(self._base.loading, self._copy.volumes))

    def load(self) -> Iterator[RebuildProgress]:
        """Loads what is not there yet, proves all of it, and sets the store to it: the replay goes on from there."""
        load, started = self._load, time.monotonic()
        assert load is not None, "neither begun nor resumed"
        yield from self._put(load, started)
        for volume in self._copy.volumes:
            load.name(volume, self._source.zeros(volume))
        proved: list[tuple[VolumeInfo, bytes]] = []
        size = 0
        began = time.monotonic()
        for volume in self._copy.volumes:
            sums = []
            for count, part in load.proving(volume):
                sums.append(part)
                size += count
                yield self._progress(Phase.PROVING, size, time.monotonic() - began)
            proved.append((volume, digest_bytes(sums)))
        if copy_digest(proved) != self._base.digest:
            load.withdraw()
            raise _damaged(self._base, copy_digest(proved), self._plan)
        self.check_log()
        load.finish(self._copy, proved, self._source.pairs(), self._plan.until_sequence)
        self._report.load_seconds = time.monotonic() - started

    def _put(self, load: BaseLoad, started: float) -> Iterator[RebuildProgress]:
        done = sum(load.named(volume) * volume.block_size for volume in self._copy.volumes)
        looked = time.monotonic()
        for volume in self._copy.volumes:  # by id
            reached = load.loading
            if volume.id < reached.volume:
                continue
            after = reached.block if volume.id == reached.volume else -1
            with closing(ahead(self._source.blocks(volume, after))) as parts:
                for blocks in parts:
                    load.put(volume, blocks)
                    count = len(blocks) * volume.block_size
                    done += count
                    self._report.bytes_loaded += count
                    now = time.monotonic()
                    if now - looked > LOOK_EVERY:
                        looked = now
                        self.check_log()
                    yield self._progress(Phase.LOADING, done, now - started)

    def _progress(self, phase: Phase, done: int, seconds: float) -> RebuildProgress:
        total = max(done, self._base.content_bytes)
        return RebuildProgress(phase, done, total, done, total, seconds, "this process")


def _the_same(store: Store, base: Base) -> Copy:
    """The base's copy as its site has it now."""
    wanted = base.copy
    assert wanted is not None
    for copy in store.copies():
        if (copy.sequence, copy.seal, copy.name) == (wanted.sequence, wanted.seal, wanted.name):
            return copy
    raise NotFound(f"site {base.source} has no copy {wanted.name} (sequence {wanted.sequence}) any more")


def _damaged(base: Base, digest: bytes, plan: RebuildPlan) -> TidelogError:
    what = (
        f"what was loaded of {base} has digest {digest.hex()}, and must have {base.digest.hex()}: the blocks there are"
        " damaged; nothing of it is served"
    )
    error: TidelogError
    if base.kind is BaseKind.EXPORT:
        hint = (
            "check it with: tidelog export verify PLACE; begin with another base:"
            " tidelog site rebuild SITE --group GROUP --from SOURCE"
        )
        error = ExportDamaged(what, group=plan.group, hint=hint)
    else:
        hint = (
            f"see where: tidelog site verify {base.source} --group GROUP; begin with another base:"
            " tidelog site rebuild SITE --group GROUP --from SOURCE"
        )
        error = CopiesDiffer(what, group=plan.group, hint=hint)
    error.at_site(plan.site, plan.group)
    return error

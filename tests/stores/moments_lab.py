"""A log made by small numbers, put into a deployment in memory; a site that has applied some of it; and the group after
every single sequence, by the reference interpreter of the raw records."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from late_lab import LateAuthor
from store_lab import all_keys

from tests.consumers.conftest import Lab, configuration
from tests.reference import Reference
from tests.reference_image import Cut, Frozen
from tidelog.consumers.materialise import materialise
from tidelog.schemas.chain import origin
from tidelog.schemas.events import Event, VolumeCopied
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Clone, Copy, HoldKind, Moment
from tidelog.stores.transaction import Limits

# What the twelve kinds of `LateAuthor.grow` do, by how often each comes.
KINDS = ["write"] * 6 + ["discard", "resize", "create", "delete", "copy", "copy", "mark", "mark", "drop", "beat"]


class EveryImage(Reference):
    """Keeps the group after every sequence, writes inside batches included; ``times`` are their timestamps."""

    def __init__(self, group_id: str) -> None:
        super().__init__(group_id)
        self.images: dict[int, Frozen] = {}
        self.times: dict[int, int] = {}

    def _apply(self, event: dict[str, Any]) -> None:
        if event["kind"] != "WriteBatch":
            super()._apply(event)
            self.images[event["sequence"]] = self.image()
            self.times[event["sequence"]] = event["timestamp_us"]
            return
        at = 0
        for index, length in enumerate(event["lengths"]):
            number, offset = event["volumes"][index], event["offsets"][index]
            sequence = event["sequence"] + index
            self._known(number).put(offset, event["data"][at : at + length], sequence)
            self.images[sequence], self.times[sequence] = self.image(), event["timestamps_us"][index]
            at += length

    def digest(self, sequence: int) -> bytes:
        """The digest of a copy at that sequence."""
        return Cut(sequence, b"", "", 0, self.images[sequence], 0).digest


class Scene:
    """The group `bank` in memory with an author's log, and its site osaka."""

    def __init__(self, author: LateAuthor) -> None:
        config = configuration()
        worker = config.worker.model_copy(update={"poll_timeout": 0.001})
        self.lab = Lab(config.model_copy(update={"worker": worker}))
        self.store = self.lab.store("osaka", create=True)
        self.events = list(self._put(author))
        self.every = EveryImage(self.lab.record.group_id)
        self.every.fold((record.offset, record.value) for record in self.lab.log._records)

    @property
    def keyspace(self) -> MemoryKeyspace:
        return self.lab.keyspace("osaka")

    def apply(self, count: int | None = None, limits: Limits | None = None) -> None:
        """The first ``count`` events, and all drops that are due."""
        with self.store.applier(self.lab.log.cluster_id, limits) as applier:
            at = applier.position.head.sequence
            applier.submit([found for found in self.events[:count] if found[0].sequence > at])
            applier.settle()
            while applier.maintain():
                pass

    def materialise(self, moment: Moment, name: str = "was") -> Clone:
        return materialise(self.lab.deployment, self.store, name, moment)

    def base(self, sequence: int) -> Copy | None:
        """The newest copy that the site holds of that sequence or before."""
        copies = [copy for copy in self.store.copies() if copy.sequence <= sequence]
        return copies[-1] if copies else None

    def lacks_a_source(self, sequence: int) -> bool:
        """Whether the way from that copy to there copies a volume from a copy that the site does not hold."""
        base, held = self.base(sequence), {copy.sequence for copy in self.store.copies()}
        first = base.sequence if base else 0
        sources = [
            event.source_copy_sequence
            for event, _ in self.events
            if isinstance(event, VolumeCopied) and first < event.sequence <= sequence
        ]
        return any(source and source not in held for source in sources)

    def check(self, clone: Clone, sequence: int) -> None:
        """A clone is the group at that sequence: identity, volume table, every byte, digest."""
        image = CloneImage(self.keyspace, self.store.identity, clone)
        assert not clone.forming and image.untouched
        at = clone.image
        assert (at.sequence, at.timestamp_us) == (sequence, self.every.times[sequence])
        found = {info.id: (info.name, info.block_size, image.read(info, 0, info.size)) for info in at.volumes}
        assert found == self.every.images[sequence]
        assert image.contents().digest() == self.every.digest(sequence)
        image.close()

    def keys(self) -> list[bytes]:
        """Every key of the site, but for the digests, and leases, which end by themselves; no clone holds a copy."""
        assert [hold for hold in self.store.holds() if hold.kind is HoldKind.CLONE] == []
        return sorted(key for key in all_keys(self.keyspace) if key not in (b"digests", b"holds"))

    def end(self) -> None:
        self.store.close()
        self.lab.end()

    def _put(self, author: LateAuthor) -> Iterator[tuple[Event, int]]:
        """The author's events, chained anew for this group's id."""
        head, seals = origin(self.lab.record.group_id), {bytes(16): bytes(16)}
        for event, _ in author.log:
            changes: dict[str, Any] = {"previous": head.seal}
            for field in ("copy_seal", "source_copy_seal"):
                if hasattr(event, field):
                    changes[field] = seals[getattr(event, field)]
            message, seal = self.lab.codec.encode(replace(event, **changes, seal=b""))
            seals[event.seal] = seal
            again = replace(event, **changes, seal=seal)
            offset = self.lab.log.put(message)
            head = head.after(again, offset)
            yield again, offset

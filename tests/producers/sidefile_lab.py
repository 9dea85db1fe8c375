"""A group with a sidefile on a log in memory that goes away and comes back, and a model of what it has accepted."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.reference import Reference, decode
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import TidelogError
from tidelog.producers.durability import Durability
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.outage import SidefileSettings
from tidelog.producers.sidefile_group import SidefileGroup

DEADLINE = 30.0
AFTER = 0.03
SIZE = 1 << 20

# A write or a discard: (volume, offset, data or length).
Change = tuple[str, int, bytes | int]


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Waits for ``condition``, at most `DEADLINE` seconds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {DEADLINE:g} s"
        time.sleep(0.002)


def with_timeout(scene: "Scene", seconds: float) -> SidefileSettings:
    """The settings of a scene's writer, with another ``write_timeout``."""
    return replace(scene.group._writer._settings, timeout=seconds)


class Changes(Reference):
    """The fold of a log that remembers the changes of volumes that count, in order, and their times."""

    def __init__(self, group_id: str, key: bytes = b"") -> None:
        super().__init__(group_id, key)
        self.changes: list[Change] = []
        self.times_us: list[int] = []
        self.markers: list[str] = []

    def _count(self, event: dict[str, Any], offset: int) -> None:
        super()._count(event, offset)
        if event["kind"] == "WriteBatch":
            at = 0
            for volume, start, length, time_us in zip(
                event["volumes"], event["offsets"], event["lengths"], event["timestamps_us"], strict=True
            ):
                self.changes.append((self.volumes[volume].name, start, event["data"][at : at + length]))
                self.times_us.append(time_us)
                at += length
        elif event["kind"] == "Discard":
            self.changes.append((self.volumes[event["volume"]].name, event["offset"], event["length"]))
            self.times_us.append(event["timestamp_us"])
        elif event["kind"] == "Marker":
            self.markers.append(event["name"])


class Scene:
    """The group `bank` with two volumes, its writer, its log, and the folder of its sidefiles."""

    def __init__(self, folder: Path, *, key: str = "", writer: dict[str, Any] | None = None, **table: Any) -> None:
        self.folder, self.key = folder, bytes.fromhex(key)
        settings = {"sidefile": str(folder), "sidefile_after": AFTER, **({"key": key} if key else {}), **table}
        self.config = Config(
            sites={"tokyo": {"redis": {"url": "redis://memory-tokyo"}}},
            writer={"heartbeat": 3600, "write_timeout": DEADLINE, "linger": 0.001, **(writer or {})},
            worker={"status_interval": 0.02, "poll_timeout": 0.02},
            groups={"bank": settings},
        )
        self.deployment = MemoryDeployment(self.config)
        self.record = self.deployment.cluster.create_group("bank")
        found = self.deployment.cluster.log(self.record)
        assert isinstance(found, MemoryLog)
        self.log = found
        self.group = self.open()
        for name in ("a", "b"):
            self.group.create_volume(name, SIZE)

    def open(self) -> SidefileGroup:
        self.group = opened = open_group("bank", deployment=self.deployment)
        assert isinstance(opened, SidefileGroup)
        return opened

    @property
    def active(self) -> Path:
        return self.folder / "bank.sidefile"

    @property
    def kept(self) -> list[Path]:
        return sorted(self.folder.glob("lost-*"))

    def away(self) -> None:
        """Kafka is gone, and the writer knows."""
        self.log.cut_off()
        self.group.volume("a").write(0, b"the first write that nobody confirms")
        assert self.group.flush() is Durability.IN_SIDEFILE

    def back(self) -> None:
        """Kafka answers, and everything is drained."""
        self.log.restore()
        until(lambda: self.group.sidefile is None, "the drain")

    def folded(self) -> Changes:
        """The log, by the independent reference."""
        records = [(record.offset, record.value) for record in self.log._records]
        return Changes(self.record.group_id, self.key).fold(records)

    def kinds(self) -> list[str]:
        """Of every record, counting or not."""
        return [decode(record.value, self.key)["kind"] for record in self.log._records]

    def worker(self) -> SiteWorker:
        """One that serves tokyo."""
        worker = SiteWorker(self.deployment, "tokyo", SoleWorker, ())
        threading.Thread(target=worker.run, daemon=True).start()
        until(lambda: self.applied() > 0, "the site")
        return worker

    def applied(self) -> int:
        """The sequence that tokyo has applied."""
        try:
            store = open_store(self.deployment, "tokyo", "bank")
        except TidelogError:
            return 0
        return store.position().head.sequence

    def die(self) -> None:
        """As SIGKILL: nothing is flushed, drained or removed, and locks end. Unsent events go with the process."""
        self.group._writer._error = RuntimeError("dead")  # type: ignore[assignment]
        self.group.abandon()

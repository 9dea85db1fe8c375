"""Three Kafka nodes as child processes: for what only a cluster can do, such as losing its leader and going on."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tidelog.testing.kafka_settings import QUICK_JVM
from tidelog.testing.ports import available_port
from tidelog.testing.processes import KafkaServer, new_cluster_id

NODES = 3
# Three are on one machine, with little to hold: half of what a single node is given.
_HEAP = ("-Xms96m", "-Xmx256m")
_INTERNAL_TOPICS = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # A replica that is started again is in sync within a second or so of having caught up.
    "replica.lag.time.max.ms": "5000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
}


class KafkaNodes:
    """Brokers, each of which votes for the controller as well, with ids 1 to 3; topics have three replicas.

    Close it, or use it as a context manager. ``options`` are broker settings of all.
    """

    def __init__(self, data_dir: Path | None = None, options: Mapping[str, str] | None = None) -> None:
        self._controllers = [available_port() for _ in range(NODES)]
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(self._controllers, start=1))
        cluster_id = new_cluster_id()
        self.nodes = {
            node: KafkaServer(
                name=f"kafka-{node}",
                controller_port=port,
                data_dir=None if data_dir is None else data_dir / f"kafka-{node}",
                options=_INTERNAL_TOPICS
                | {"node.id": str(node), "controller.quorum.voters": voters}
                | dict(options or {}),
                cluster_id=cluster_id,
                jvm=(*QUICK_JVM, *_HEAP),
            )
            for node, port in enumerate(self._controllers, start=1)
        }

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(server.bootstrap_servers for server in self.nodes.values())

    def start(self) -> None:
        """All that do not run: together, since one alone has no controller."""
        started = [server for server in self.nodes.values() if not server.running]
        for server in started:
            server.launch()
        for server in started:
            server.wait_ready()

    def heal(self) -> None:
        """All of them run, whatever was done to them."""
        for server in self.nodes.values():
            if server.running:
                server.resume()
        self.start()

    def leader(self, topic: str) -> int:
        """The node that leads the topic's first partition; 0 while nobody says, or nobody does."""
        return self._partition(topic)[0]

    def in_sync(self, topic: str) -> int:
        """How many replicas of the topic's first partition are in sync; 0 while nobody says."""
        return self._partition(topic)[1]

    def _partition(self, topic: str) -> tuple[int, int]:
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        servers = [server.bootstrap_servers for server in self.nodes.values() if server.running]
        try:
            admin = KafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=5_000, bootstrap_timeout_ms=5_000)
        except KafkaError:
            return 0, 0
        try:
            found = admin.describe_topics([topic])[0]["partitions"]
            return (max(0, found[0]["leader_id"]), len(found[0]["isr_nodes"])) if found else (0, 0)
        except (KafkaError, LookupError):
            return 0, 0
        finally:
            admin.close()

    def close(self) -> None:
        for server in self.nodes.values():
            server.kill()  # an orderly end of the last one waits for a controller that is gone
            server.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

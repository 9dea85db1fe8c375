"""The broker settings of a one-node Kafka for tests, however it runs."""

from collections.abc import Mapping

MESSAGE_BYTES_MAX = 8 * 1024 * 1024

QUICK_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
QUICK_HEAP = ("-Xms128m", "-Xmx512m")
PERFORMANCE_JVM = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
PERFORMANCE_HEAP = ("-Xms1g", "-Xmx1g")

# One node: every internal topic has one replica and few partitions; a group's members are not waited for.
KAFKA_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(MESSAGE_BYTES_MAX),
    "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
    "num.partitions": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # A broker killed and started again is let in once its former self is fenced: the default makes that 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def with_listeners(addresses: Mapping[str, str], bound: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """``addresses`` with further listeners: by name, where each is bound and what it tells its clients."""
    protocols = {"listener.security.protocol.map": KAFKA_SETTINGS["listener.security.protocol.map"]}
    settings = protocols | dict(addresses)
    for name, address in bound.items():
        settings["listeners"] += f",{name}://{address}"
        settings["advertised.listeners"] += f",{name}://{told[name]}"
        settings["listener.security.protocol.map"] += f",{name}:PLAINTEXT"
    return settings


def image_environment(settings: dict[str, str]) -> dict[str, str]:
    """Broker settings as the environment of the image apache/kafka: `a.b_c-d` becomes `KAFKA_A_B__C___D`."""
    marks = str.maketrans({"_": "__", "-": "___", ".": "_"})
    return {f"KAFKA_{key.translate(marks).upper()}": value for key, value in settings.items()}

"""`tidelog group mirror`: a group of another region, whose log Kafka's MirrorMaker brings here."""

import uuid
from pathlib import Path

from tidelog.clock import wall_us
from tidelog.config import Config, KafkaConfig
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_facts, emit_json
from tidelog.names import check_name
from tidelog.producers.mirror_properties import read_properties, wrong_properties
from tidelog.producers.mirrors import MirrorSource, may_be_mirrored, mirror_here, mirrors_elsewhere
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.mirrors import LogMirrored


def mirror_group(
    invocation: Invocation,
    name: str,
    from_kafka: str | None,
    from_config: Path | None,
    group_id: str | None,
    properties: Path | None,
    *,
    json: bool,
) -> None:
    """Raises what `Cluster.mirror_group` does, `UsageError` unless exactly one source is given, `ConfigError` for
    properties with which the log would not arrive whole; nothing was changed then."""
    check_name("group", name)
    if sum(given is not None for given in (from_kafka, from_config, group_id)) != 1:
        raise UsageError(
            "the other region is told by exactly one of its Kafka, its configuration, and the group's id there",
            hint="give one of --from-kafka HOST:PORT, --from-config FILE and --id UUID",
        )
    config = invocation.config
    if group_id is not None:
        record = _by_id(config, name, group_id)
        _check(properties, record)
        done = invocation.deployment.cluster.mirror_group(record, MirrorSource())
    else:
        source = invocation.open(_other(config, from_kafka, from_config))
        try:
            record = source.cluster.find_group(name)
            _check(properties, record)
            log = source.cluster.log(record)
            try:
                cluster_id = log.cluster_id
            finally:
                log.close()
            servers = source.config.kafka.bootstrap_servers
            told = MirrorSource(cluster_id, servers, source.cluster.control)
            done = invocation.deployment.cluster.mirror_group(record, told)
        finally:
            source.close()
    _show(invocation, record, done, json=json)


def mirror_facts(invocation: Invocation, record: GroupCreated, cluster_id: str) -> list[tuple[str, str]]:
    """What `group show` says of the regions of a group, for people."""
    view = invocation.deployment.cluster.control.snapshot()
    here = mirror_here(view, record.group, cluster_id)
    facts = [] if here is None else [("mirror of", _source(here))]
    return facts + [("mirrored to", _target(mirror)) for mirror in mirrors_elsewhere(view, record.group, cluster_id)]


def mirrors_json(invocation: Invocation, record: GroupCreated, cluster_id: str) -> dict[str, object]:
    """The same for programs."""
    view = invocation.deployment.cluster.control.snapshot()
    here = mirror_here(view, record.group, cluster_id)
    return {
        "mirror_of": None if here is None else here.source_cluster,
        "mirrored_to": [mirror.target_cluster for mirror in mirrors_elsewhere(view, record.group, cluster_id)],
    }


def unheard(invocation: Invocation, group: str) -> list[str]:
    """Which regions do not hear of what is put on this control topic, a sentence each."""
    cluster = invocation.deployment.cluster
    view = cluster.control.snapshot()
    if not may_be_mirrored(view, group):
        return []
    log = cluster.log(cluster.find_group(group))
    try:
        cluster_id = log.cluster_id
    finally:
        log.close()
    here = mirror_here(view, group, cluster_id)
    where = [] if here is None else [_source(here)]
    where += [_target(mirror) for mirror in mirrors_elsewhere(view, group, cluster_id)]
    return [f"sites of {one} do not hear of this" for one in where]


def _other(config: Config, from_kafka: str | None, from_config: Path | None) -> Config:
    """The other region's configuration: its own file, without this environment's settings; or this one's with another
    Kafka."""
    if from_config is not None:
        return Config.load(from_config, {})
    try:
        servers = KafkaConfig(bootstrap_servers=from_kafka or "").bootstrap_servers
    except ValueError as error:
        raise UsageError(f"--from-kafka {from_kafka!r} names no Kafka", hint="such as kafka-a:9092") from error
    return config.model_copy(update={"kafka": config.kafka.model_copy(update={"bootstrap_servers": servers})})


def _by_id(config: Config, name: str, group_id: str) -> GroupCreated:
    try:
        uuid.UUID(group_id)
    except ValueError:
        raise UsageError(f"--id {group_id!r} is no UUID", hint="`tidelog group show` says it there") from None
    keyed = config.group_key(name) is not None
    topic = f"{config.prefix}.{name}"
    return GroupCreated(group=name, group_id=group_id, topic=topic, keyed=keyed, created_us=wall_us())


def _check(properties: Path | None, record: GroupCreated) -> None:
    if properties is None:
        return
    try:
        text = properties.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{properties} cannot be read: {error}") from None
    wrong = wrong_properties(read_properties(text), record.topic)
    if wrong:
        raise ConfigError(
            f"with {properties} the log would not arrive whole and in order: {'; '.join(wrong)}",
            hint="begin from infra/mirror-maker.properties; nothing was changed",
        )


def _show(invocation: Invocation, record: GroupCreated, done: LogMirrored, *, json: bool) -> None:
    if json:
        fields = ("group", "group_id", "topic", "source_cluster", "source_servers", "target_cluster", "target_servers")
        emit_json(invocation, {name: getattr(done, name) for name in fields} | {"keyed": record.keyed})
        return
    facts = [("group", done.group), ("id", done.group_id), ("topic", done.topic), ("mirror of", _source(done))]
    emit_facts(invocation, [*facts, ("mirrored to", _target(done))])
    invocation.say(
        f"now let MirrorMaker send {done.topic} here (docs/runbooks/regions.md), and run this region's sites"
    )


def _source(mirror: LogMirrored) -> str:
    return f"cluster {mirror.source_cluster} ({mirror.source_servers})" if mirror.source_cluster else "another cluster"


def _target(mirror: LogMirrored) -> str:
    return f"cluster {mirror.target_cluster} ({mirror.target_servers})"

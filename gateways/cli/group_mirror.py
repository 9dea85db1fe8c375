"""`tidelog group mirror`: a group of another region, whose log Kafka's MirrorMaker brings here."""

import uuid
from pathlib import Path

from tidelog.clock import wall_us
from tidelog.config import Config, KafkaConfig
from tidelog.consumers.deployment import Deployment
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.lost_tail import tail_json, tail_text
from tidelog.gateways.cli.output import emit_facts, emit_json
from tidelog.gateways.cli.primary_text import source_text
from tidelog.names import check_name
from tidelog.producers.mirror_properties import read_properties, renaming, wrong_properties
from tidelog.producers.mirrors import (
    MirrorSource,
    has_regions,
    mirror_here,
    mirrors_elsewhere,
    record_here,
    sealed_log,
    seals_of,
)
from tidelog.recovery.lost_tail import LostTail
from tidelog.recovery.region_return import find_seal, seal_own
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
        record, lost = _by_id(config, name, group_id), None
        _check(properties, record.topic, record.topic)
        done = invocation.deployment.cluster.mirror_group(record, MirrorSource())
    else:
        source = invocation.open(_other(config, from_kafka, from_config))
        try:
            record, done, lost = _from(invocation, source, name, properties)
        finally:
            source.close()
    _show(invocation, record, done, lost, json=json)


def _from(
    invocation: Invocation, source: Deployment, name: str, properties: Path | None
) -> tuple[GroupCreated, LogMirrored, LostTail | None]:
    """Takes up a group of a region that answers; what is lost of the log that is here, if one is sealed for that."""
    cluster, control = invocation.deployment.cluster, source.cluster.control
    record, view = source.cluster.find_group(name), cluster.control.snapshot()
    log = source.cluster.log(record)
    try:
        log_id = log.id
    finally:
        log.close()
    sealed = find_seal(cluster, name, control.snapshot())
    here = record_here(dict(view) | ({} if sealed is None else {sealed.key: sealed}), record, cluster.log_id)
    _check(properties, record.topic, here.topic)
    lost = None if sealed is None else seal_own(cluster, sealed)
    told = MirrorSource(log_id, source.config.kafka.bootstrap_servers, control)
    return record, cluster.mirror_group(record, told), lost


def mirror_facts(invocation: Invocation, record: GroupCreated, log_id: str) -> list[tuple[str, str]]:
    """What `group show` says of the regions of a group, for people."""
    view = invocation.deployment.cluster.control.snapshot()
    here = mirror_here(view, record.group, log_id)
    facts = [] if here is None else [("mirror of", source_text(here))]
    sealed = sealed_log(view, record.group, log_id)
    if sealed is not None:
        facts.append(("sealed", f"at sequence {sealed.sequence}: it goes on in {sealed.goes_on} ({sealed.servers})"))
    others = (one for one in seals_of(view, record.group) if one.log != log_id)
    facts += [("sealed elsewhere", f"{one.log} at sequence {one.sequence}") for one in others]
    return facts + [("mirrored to", target_text(mirror)) for mirror in mirrors_elsewhere(view, record.group, log_id)]


def mirrors_json(invocation: Invocation, record: GroupCreated, log_id: str) -> dict[str, object]:
    """The same for programs."""
    view = invocation.deployment.cluster.control.snapshot()
    here = mirror_here(view, record.group, log_id)
    sealed = sealed_log(view, record.group, log_id)
    return {
        "sealed_at": None if sealed is None else sealed.sequence,
        "mirror_of": None if here is None else here.source_cluster,
        "mirrored_to": [mirror.target_cluster for mirror in mirrors_elsewhere(view, record.group, log_id)],
    }


def unheard(invocation: Invocation, group: str) -> list[str]:
    """Which regions do not hear of what is put on this control topic, a sentence each."""
    cluster = invocation.deployment.cluster
    view = cluster.control.snapshot()
    if not has_regions(view, group):
        return []
    log = cluster.log(cluster.find_group(group))
    try:
        log_id = log.id
    finally:
        log.close()
    here = mirror_here(view, group, log_id)
    where = [] if here is None else [source_text(here)]
    where += [target_text(mirror) for mirror in mirrors_elsewhere(view, group, log_id)]
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


def _check(properties: Path | None, topic: str, target: str) -> None:
    if properties is None:
        return
    try:
        text = properties.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{properties} cannot be read: {error}") from None
    wrong = wrong_properties(read_properties(text), topic, target)
    if wrong:
        raise ConfigError(
            f"with {properties} the log would not arrive whole and in order: {'; '.join(wrong)}",
            hint="begin from infra/mirror-maker.properties; nothing was changed",
        )


def _show(
    invocation: Invocation, record: GroupCreated, done: LogMirrored, lost: LostTail | None, *, json: bool
) -> None:
    if json:
        fields = ("group", "group_id", "topic", "source_cluster", "source_servers", "target_cluster", "target_servers")
        told = {name: getattr(done, name) for name in fields} | {"source_topic": record.topic, "keyed": record.keyed}
        emit_json(invocation, told | {"lost": tail_json(lost)})
        return
    facts = [("group", done.group), ("id", done.group_id), ("topic", done.topic), ("mirror of", source_text(done))]
    facts.append(("mirrored to", target_text(done)))
    if lost is not None:
        facts += [("sealed", f"the log that was here, at sequence {lost.since.sequence}"), ("lost", tail_text(lost))]
    emit_facts(invocation, facts)
    if lost is not None and lost.until.sequence > lost.since.sequence:  # heartbeats, too, were applied
        invocation.say(
            f"see all that is lost with `tidelog log show {done.group} --lost`; sites that have applied it halt: once"
            f" the mirror has caught up, roll each back with `tidelog site rollback SITE --group {done.group}`"
        )
    invocation.say(
        f"now let MirrorMaker send {record.topic} here (docs/runbooks/regions.md), and run this region's sites"
    )
    if done.topic != record.topic:
        settings = ", ".join(f"{name} = {value}" for name, value in renaming(record.topic, done.topic).items())
        invocation.say(f"its flow has to rename it to {done.topic}: {settings}")


def target_text(mirror: LogMirrored) -> str:
    """Where they go to."""
    return f"cluster {mirror.target_cluster} ({mirror.target_servers})"

"""What a configuration of Kafka's MirrorMaker 2 must say so that a log arrives whole and in order. Pure.

Duplicates do no harm, since sites apply by sequence and seal. A record that is left out, or comes before the one in
front of it, halts every site that reads the mirror.
"""

import re
from collections.abc import Iterator, Mapping

from tidelog.producers.kafka_clients import REQUEST_SIZE

IDENTITY = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
KAFKAS_REQUEST_SIZE = 1024 * 1024  # of a producer of which nothing is said
# The names of the cluster that a flow comes from, and of the one that it goes to.
Flow = tuple[str, str]
_PRODUCER = re.compile(r"^(?:(?P<of>[^.]+)\.)?producer\.(?:override\.)?(?P<setting>.+)$")
_CONSUMER_RESET = re.compile(r"(?:^|\.)consumer\.(?:override\.)?auto\.offset\.reset$")
_FLOW = re.compile(r"^(?P<source>[^.]+?)->(?P<target>[^.]+?)\.(?P<setting>.+)$")


def read_properties(text: str) -> dict[str, str]:
    """A Java properties file, without its escapes."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = (
        re.split(r"\s*[=:]\s*", line.strip(), maxsplit=1) for line in lines if line.strip()[:1] not in ("", "#", "!")
    )
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def wrong_properties(given: Mapping[str, str], topic: str, target: str | None = None) -> list[str]:
    """What is wrong with a configuration that is to mirror ``topic``, one sentence each; under the name ``target`` if
    that is another."""
    takes = _takes(given, topic)
    producers = [wrong for flow in takes or [None] for wrong in _producer(given, flow)]
    return [*_policy(given), *_flows(takes, topic, target or topic), *producers, *_left_out(given)]


def renaming(topic: str, target: str) -> dict[str, str]:
    """What a flow must say so that ``topic`` becomes ``target`` on the other side, and nothing else is changed."""
    return {
        "transforms": "incarnation",
        "transforms.incarnation.type": ROUTER,
        "transforms.incarnation.regex": topic.replace(".", "[.]"),
        "transforms.incarnation.replacement": target,
    }


def _policy(given: Mapping[str, str]) -> Iterator[str]:
    policy = given.get("replication.policy.class", "")
    if policy != IDENTITY:
        yield f"replication.policy.class must be {IDENTITY}: the topic keeps its name"


def _takes(given: Mapping[str, str], topic: str) -> dict[Flow, dict[str, str]]:
    """The flows that are enabled and take the topic, each with what is said of it alone."""
    flows: dict[Flow, dict[str, str]] = {}
    for key, value in given.items():
        found = _FLOW.match(key)
        if found is not None:
            flows.setdefault((found["source"], found["target"]), {})[found["setting"]] = value
    return {
        flow: settings
        for flow, settings in flows.items()
        if settings.get("enabled", "false") == "true" and _matches(settings.get("topics", ".*"), topic)
    }


def _flows(takes: Mapping[Flow, Mapping[str, str]], topic: str, target_topic: str) -> Iterator[str]:
    if not takes:
        yield f"no flow that is enabled takes the topic {topic}: a->b.enabled = true, a->b.topics = {topic}"
    for (source, target), settings in takes.items():
        if (target, source) in takes and source < target:
            yield f"{topic} is mirrored both ways between {source} and {target}: each record would go round for ever"
        yield from _renames(f"{source}->{target}", settings, topic, target_topic)


def _renames(flow: str, settings: Mapping[str, str], topic: str, target: str) -> Iterator[str]:
    said = {key: value for key, value in settings.items() if key.partition(".")[0] in ("transforms", "predicates")}
    if target == topic:
        if said:
            yield f"{flow}.{min(said)}: a record must arrive as it is"
        return
    wanted = renaming(topic, target)
    if said != wanted:
        lines = ", ".join(f"{flow}.{key} = {value}" for key, value in wanted.items())
        yield f"{topic} must become {target}, and no record change else: {lines}"


def _matches(topics: str, topic: str) -> bool:
    return any(re.fullmatch(part.strip(), topic) for part in topics.split(","))


def _producer(given: Mapping[str, str], flow: Flow | None) -> Iterator[str]:
    """Of a flow the producer is that of the cluster that it goes to; without one, whatever is said of any."""
    settings: dict[str, str] = {}
    of_flow = [] if flow is None else [None, flow[1], "->".join(flow)]
    for key, value in given.items():
        found = _PRODUCER.match(key)
        if found is not None and (flow is None or found["of"] in of_flow):
            settings[found["setting"]] = value
    producer = "producer" if flow is None else f"{flow[1]}.producer"
    if settings.get("acks", "all") not in ("all", "-1"):
        yield f"{producer}.acks must be all: a record that a leader loses is a hole"
    idempotent = settings.get("enable.idempotence", "false") == "true"  # Connect's own default is false
    in_flight = settings.get("max.in.flight.requests.per.connection", "1")
    if not in_flight.isdigit() or int(in_flight) > (5 if idempotent else 1):
        yield (
            f"{producer}.max.in.flight.requests.per.connection must be 1, or at most 5 with"
            f" {producer}.enable.idempotence = true: a record that is sent again could come behind a later one"
        )
    size = settings.get("max.request.size", str(KAFKAS_REQUEST_SIZE))
    if not size.isdigit() or int(size) < REQUEST_SIZE:
        yield f"{producer}.max.request.size must be at least {REQUEST_SIZE}: a large event would end the mirror"
    if "retries" in settings or "delivery.timeout.ms" in settings:
        yield f"{producer}.retries and {producer}.delivery.timeout.ms must be left alone: Kafka Connect tries for ever"


def _left_out(given: Mapping[str, str]) -> Iterator[str]:
    for key, value in given.items():
        last = key.rpartition("->")[2].partition(".")[2] if "->" in key else key
        if last == "errors.tolerance" and value != "none":
            yield "errors.tolerance must be none: what cannot be sent would be left out"
        if _CONSUMER_RESET.search(key) and value != "earliest":
            yield f"{key} must be earliest: a mirror that begins anew begins at the beginning"
        if last in ("transforms", "predicates") and not _FLOW.match(key):
            yield f"{key}: a record must arrive as it is"

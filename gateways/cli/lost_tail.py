"""What a region wrote that the others never got, for people and for programs."""

from contextlib import closing
from pathlib import Path
from typing import Any

from tidelog.clock import iso
from tidelog.config import Config
from tidelog.consumers.deployment import Deployment
from tidelog.errors import LogUnavailable, UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import size_text
from tidelog.recovery.lost_tail import LostTail, sum_up
from tidelog.recovery.region_seal import head_of
from tidelog.schemas.mirrors import LogMirrored


def answers(invocation: Invocation, other: Path, mirror: LogMirrored) -> bool:
    """Whether the region with that configuration does; if not that is said. Raises `UsageError` unless it is the one
    that the mirror comes from, and what reading that does; a Kafka that does not answer may be."""
    try:
        with _region(invocation, other) as deployment:
            cluster = deployment.cluster
            log_id = cluster.log_id(cluster.find_group(mirror.group))
    except LogUnavailable as error:
        _say_silent(invocation, other, error)
        return False
    if mirror.source_cluster not in ("", log_id):
        raise UsageError(
            f"{other} is the configuration of {log_id}, and the log is a mirror of {mirror.source_cluster}",
            group=mirror.group,
        )
    return True


def tail_of(invocation: Invocation, other: Path, group: str, sequence: int, seal: bytes) -> LostTail | None:
    """What the log of the region with that configuration holds behind this event; None, which is said, if its Kafka
    does not answer. Raises as `sum_up` and `head_of`."""
    try:
        with _region(invocation, other) as deployment:
            cluster = deployment.cluster
            record = cluster.find_group(group)
            with closing(cluster.log(record)) as log:
                codec = cluster.codec(record)
                return sum_up(log, codec, head_of(log, codec, record.group_id, sequence, seal))
    except LogUnavailable as error:
        _say_silent(invocation, other, error)
        return None


def _say_silent(invocation: Invocation, other: Path, error: LogUnavailable) -> None:
    invocation.say(f"the Kafka of {other} does not answer: {error.message}")


def _region(invocation: Invocation, other: Path) -> "closing[Deployment]":
    return closing(invocation.open(Config.load(other, {})))


def tail_text(tail: LostTail) -> str:
    """In a sentence."""
    first, last = tail.sequences
    if not tail.events:
        return "nothing" if first > last else f"nothing but heartbeats, sequences {first} to {last}"
    copies = f"; copies {', '.join(tail.copies)}" if tail.copies else ""
    writes = "1 write" if tail.writes == 1 else f"{tail.writes} writes"
    return (
        f"sequences {first} to {last}, written after {iso(tail.since.timestamp_us)} and until"
        f" {iso(tail.until.timestamp_us)}: {writes} of {size_text(tail.bytes)}{copies}"
    )


def tail_json(tail: LostTail | None) -> dict[str, Any] | None:
    """The same for programs; None where it is not known."""
    if tail is None:
        return None
    first, last = tail.sequences
    return {
        "first_sequence": first if first <= last else None,
        "last_sequence": last if first <= last else None,
        "since": iso(tail.since.timestamp_us) if tail.since.sequence else None,
        "until": iso(tail.until.timestamp_us) if tail.until.sequence else None,
        "events": tail.events,
        "writes": tail.writes,
        "bytes": tail.bytes,
        "copies": tail.copies,
    }


def missing_text(sequence: int, timestamp_us: int, missing: LostTail | None) -> str:
    """What of the other region's writes behind that event is not here, as far as is known."""
    if missing is not None:
        return tail_text(missing)
    return (
        f"what was written there behind sequence {sequence}, after {iso(timestamp_us)}; how much"
        " that is only its own Kafka knows (--with FILE asks it, and so does `group mirror` there once it is back)"
    )

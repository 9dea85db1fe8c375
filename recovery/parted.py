"""Sites whose last event a log does not have: it was cut back below what they have applied, or is another one."""

from collections.abc import Iterable

from tidelog.producers.log import Log
from tidelog.schemas.codec import SEAL_SIZE
from tidelog.schemas.control import SiteStatus


def parted_sites(log: Log, statuses: Iterable[SiteStatus]) -> dict[str, str]:
    """By site, why; empty if the log has them all. ``statuses`` were read before; a look-up for each offset that sites
    stand at. What was trimmed away is not asked for. Raises `LogUnavailable`."""
    bounds = log.bounds()
    seals: dict[int, bytes | None] = {}
    found = {}
    for status in statuses:
        offset = status.offset
        if not status.sequence or offset < bounds.start:
            continue
        where = f"it has applied sequence {status.sequence}, of the record at offset {offset}"
        if offset >= bounds.end:
            found[status.site] = f"{where}, and the log ends in front of offset {bounds.end}"
            continue
        if offset not in seals:
            record = log.record_at(offset)
            seals[offset] = None if record is None else record.value[-SEAL_SIZE:]
        if seals[offset] != status.seal:
            found[status.site] = f"{where}, and the log has another one there"
    return found

"""Which site is a group's primary, for people and for programs."""

from typing import Any

from tidelog.clock import iso
from tidelog.schemas.mirrors import LogMirrored
from tidelog.schemas.promotions import PrimaryChosen


def source_text(mirror: LogMirrored) -> str:
    """Where a mirror's records come from."""
    return f"cluster {mirror.source_cluster} ({mirror.source_servers})" if mirror.source_cluster else "another cluster"


def primary_text(chosen: PrimaryChosen | None, configured: str | None, mirror: LogMirrored | None = None) -> str:
    """``osaka since ...``; where no promotion has chosen one, that of this configuration: another may say otherwise. Of
    a log that is a mirror, where it comes from."""
    if mirror is not None:
        return f"in another region: the log is a mirror of {source_text(mirror)}"
    return f"{configured or '-'} (configured)" if chosen is None else f"{chosen.site} since {iso(chosen.chosen_us)}"


def primary_json(
    chosen: PrimaryChosen | None, configured: str | None, mirror: LogMirrored | None = None
) -> dict[str, Any] | None:
    """For programs; what only a promotion tells is null where there was none, all of it in the region of a mirror."""
    if mirror is not None:
        return None
    return {
        "site": configured if chosen is None else chosen.site,
        "chosen": chosen is not None,
        "since": None if chosen is None else iso(chosen.chosen_us),
        "epoch": None if chosen is None else chosen.epoch,
        "sequence": None if chosen is None else chosen.sequence,
        "before": None if chosen is None else chosen.before or None,
        "forced": None if chosen is None else chosen.forced,
        "by": None if chosen is None else chosen.chosen_by,
    }

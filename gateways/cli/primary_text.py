"""Which site is a group's primary, for people."""

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

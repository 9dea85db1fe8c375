"""Which site is a group's primary, for people and for programs."""

from typing import Any

from tidelog.clock import iso
from tidelog.schemas.promotions import PrimaryChosen


def primary_text(chosen: PrimaryChosen | None, configured: str | None) -> str:
    """``osaka since ...``; where no promotion has chosen one, that of this configuration: another may say otherwise."""
    return f"{configured or '-'} (configured)" if chosen is None else f"{chosen.site} since {iso(chosen.chosen_us)}"


def primary_json(chosen: PrimaryChosen | None, configured: str | None) -> dict[str, Any]:
    """For programs; what only a promotion tells is null where there was none."""
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

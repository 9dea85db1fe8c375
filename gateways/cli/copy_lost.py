"""Copies of a lost history, left by a roll back: shown by `pitc list`, dropped by `pitc drop --site`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from tidelog.clock import iso, time_or_none
from tidelog.errors import TidelogError, UsageError
from tidelog.gateways.cli.asking import asked
from tidelog.gateways.cli.copy_holds import HeldCopy, refuse_clones_of
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json
from tidelog.gateways.cli.reading import opened_store
from tidelog.stores.store import Copy, CopyOrigin


@dataclass(frozen=True, slots=True)
class LostCopy:
    """One, and the site that has it."""

    site: str
    copy: Copy


def lost_copies(invocation: Invocation, group: str, sites: Iterable[str]) -> list[LostCopy]:
    """Those at these sites, oldest first at each, leaving out sites that do not answer."""
    found = []
    for site, copies in asked(invocation, group, sites, lambda store: store.copies(lost=True)).items():
        if not isinstance(copies, TidelogError):
            found += [LostCopy(site, copy) for copy in copies if copy.origin is CopyOrigin.LOST]
    return found


def lost_rows(lost: list[LostCopy], sites: int, holds: list[HeldCopy]) -> list[tuple[str | Text, ...]]:
    """As rows of `pitc list`, whose table has a column for each of so many sites."""
    rows: list[tuple[str | Text, ...]] = []
    for one in lost:
        copy, what = one.copy, Text(f"lost history at {one.site}", style="yellow")
        of_it = [str(held) for held in holds if held.site == one.site and held.hold.of(copy)]
        parts = [f"locked until {iso(copy.locked_until_us)}"] if copy.locked_until_us else []
        protected = ", ".join(parts + ([f"held by {', '.join(of_it)}"] if of_it else []))
        dashes = ["-"] * sites
        rows.append((copy.name, str(copy.sequence), iso(copy.timestamp_us), "-", *dashes, what, protected))
    return rows


def lost_json(lost: list[LostCopy]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "site": one.site,
            "name": one.copy.name,
            "sequence": one.copy.sequence,
            "seal": one.copy.seal.hex(),
            "time": iso(one.copy.timestamp_us),
            "locked_until": time_or_none(one.copy.locked_until_us),
        }
        for one in lost
    ]


def drop_lost(invocation: Invocation, name: str, group: str, site: str, *, json: bool) -> None:
    """Drops a copy of a lost history. Raises `NotFound`, `Locked`, `UsageError` for another, or one with a clone."""
    with opened_store(invocation, group, site) as store:
        copy = store.copy(name)
        if copy.origin is not CopyOrigin.LOST:
            raise UsageError(
                f"copy {name} is not of a lost history, and --site is for those",
                group=group,
                hint=f"at every site: tidelog pitc drop {name} --group {group}",
            )
        refuse_clones_of(invocation, copy, group, [site])
        store.mark_dropping(copy)
    if json:
        emit_json(invocation, {"group": group, "name": name, "site": site, "dropped": True})
    else:
        invocation.say(f"copy {name} of group {group} is dropped at {site}")

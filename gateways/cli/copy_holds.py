"""Who holds copies, at every site that answers: shown by `pitc list` and `show`, and asked before a drop."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidelog.clock import iso, time_or_none
from tidelog.errors import TidelogError, UsageError
from tidelog.gateways.cli.asking import PATIENCE_SECONDS, asked
from tidelog.gateways.cli.invocation import Invocation
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyState, Hold, HoldKind


@dataclass(frozen=True, slots=True)
class HeldCopy:
    """One hold, and the copy that it is of, at one site."""

    site: str
    copy: Copy
    hold: Hold

    @property
    def identity(self) -> tuple[int, bytes, str]:
        """Of the copy: sequence, seal and name, equal at every site."""
        return self.copy.sequence, self.copy.seal, self.copy.name

    def __str__(self) -> str:
        return f"{self.hold} at {self.site}"


def held_copies(
    invocation: Invocation, group: str, sites: Iterable[str], patience: float | None = PATIENCE_SECONDS
) -> list[HeldCopy]:
    """Every hold at these sites, leaving out those that do not answer, as `asked` does."""
    found = []
    for site, answer in asked(invocation, group, sites, _copies_and_holds, patience).items():
        if isinstance(answer, TidelogError):
            continue
        copies, holds = answer
        found += [HeldCopy(site, copy, hold) for copy in copies for hold in holds if hold.of(copy)]
    return found


def _copies_and_holds(store: Store) -> tuple[list[Copy], list[Hold]]:
    return list(store.copies(dropping=True, lost=True)), list(store.holds())


def refuse_cloned(invocation: Invocation, name: str, group: str) -> None:
    """Raises `UsageError` if a site that answers has a clone of the copy of that name."""
    for held in _clones(invocation, group, invocation.config.sites):
        if name in (held.copy.name, f"#{held.copy.sequence}"):
            raise _cloned(name, held, group)


def refuse_clones_of(invocation: Invocation, copy: Copy, group: str, sites: Iterable[str]) -> None:
    """The same of this very copy, at these sites."""
    for held in _clones(invocation, group, sites):
        if held.identity == (copy.sequence, copy.seal, copy.name):
            raise _cloned(copy.name, held, group)


def _clones(invocation: Invocation, group: str, sites: Iterable[str]) -> list[HeldCopy]:
    """Of copies that are there. A site that is slow to answer is waited for: a clone there is not to be passed over."""
    return [
        held
        for held in held_copies(invocation, group, sites, patience=None)
        if held.copy.state is CopyState.FORMED and held.hold.kind is HoldKind.CLONE
    ]


def _cloned(name: str, held: HeldCopy, group: str) -> UsageError:
    return UsageError(
        f"copy {name} is held by {held}; nothing was dropped",
        group=group,
        hint=f"drop the clone first: tidelog clone drop {held.hold.holder} --group {group} --site {held.site}",
    )


def holds_json(holds: Iterable[HeldCopy]) -> list[dict[str, Any]]:
    """For programs; a clone's ``expires`` is null."""
    return [
        {
            "site": held.site,
            "kind": held.hold.kind.value,
            "holder": held.hold.holder,
            "expires": time_or_none(held.hold.expires_us),
        }
        for held in holds
    ]


def holds_text(holds: Iterable[HeldCopy]) -> str:
    """For people; empty if there are none."""
    names = ", ".join(map(str, holds))
    return f"held by {names}" if names else ""


def dropped_json(holds: list[HeldCopy]) -> list[dict[str, Any]]:
    """The copies that were dropped and are held all the same, for programs."""
    return [
        {
            "name": copy.name,
            "sequence": copy.sequence,
            "seal": copy.seal.hex(),
            "time": iso(copy.timestamp_us),
            "held_by": holds_json(of_it),
        }
        for copy, of_it in dropped(holds)
    ]


def dropped(holds: list[HeldCopy]) -> list[tuple[Copy, list[HeldCopy]]]:
    """The copies that some site has dropped and holds all the same, oldest first, each with who holds it there."""
    found: dict[tuple[int, bytes, str], list[HeldCopy]] = {}
    for held in holds:
        if held.copy.state is CopyState.DROPPING:
            found.setdefault(held.identity, []).append(held)
    return [(of_it[0].copy, of_it) for _, of_it in sorted(found.items())]

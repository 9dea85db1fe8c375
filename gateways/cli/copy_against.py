"""`tidelog pitc verify --against`: the same copy at two sites, and where it differs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from tidelog.consumers.deployment import find_site
from tidelog.errors import ConfigError, CopiesDiffer, UsageError
from tidelog.gateways.cli.copy_archive import stored_copy
from tidelog.gateways.cli.exit_codes import OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table, short, size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.diff import VolumeDiff
from tidelog.stores.image import Store
from tidelog.stores.ranges import differing_blocks, looked_at
from tidelog.stores.store import Copy


@dataclass(frozen=True, slots=True)
class Side:
    """A site that holds the copy."""

    store: Store
    copy: Copy

    @property
    def site(self) -> str:
        """Its name."""
        return self.store.identity.site


@dataclass(frozen=True, slots=True)
class Compared:
    """A volume at both sites. ``differing`` is None where the digests are equal, so that no block was looked at."""

    volume: VolumeInfo
    digests: tuple[bytes, bytes]
    differing: VolumeDiff | None

    @property
    def equal(self) -> bool:
        """Whether both the digests and the blocks are."""
        return self.differing is None

    @property
    def blocks(self) -> int:
        """How many differ."""
        return 0 if self.differing is None else self.differing.blocks.count

    @property
    def first(self) -> tuple[int, int] | None:
        """Offset and length of the first differing extent, in bytes."""
        return None if self.differing is None else next(self.differing.extents(), None)


def verify_against(
    invocation: Invocation, name: str, group: str, site: str | None, against: str, *, full: bool, json: bool
) -> int:
    """Compares volume by volume: by digests (``full``: of all blocks as they are now, else as each site keeps them),
    and by ranges of blocks down to the blocks where those differ.

    Raises `NotFound` for a site that is not configured or has not got the copy, `UsageError`, `StoreUnavailable`;
    `CopiesDiffer`, with the first differing extent.
    """
    with _sides(invocation, name, group, site, against) as (mine, theirs):
        if full:
            for side in (mine, theirs):
                _recompute(invocation, side)
        compared = [_compare(invocation, mine, theirs, volume) for volume in mine.copy.volumes]
    _show(invocation, group, (mine, theirs), compared, full=full, json=json)
    wrong = [one for one in compared if not one.equal]
    if wrong:
        raise _differs(group, mine, theirs, wrong)
    if not full:
        invocation.say("by the digests that both sites keep; --full reads every block")
    return OK


@contextmanager
def _sides(
    invocation: Invocation, name: str, group: str, site: str | None, against: str
) -> Iterator[tuple[Side, Side]]:
    config = invocation.config
    chosen = site or config.primary
    if chosen is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    for one in (chosen, against):
        find_site(config, one)
    if chosen == against:
        raise UsageError(f"site {against} would be compared with itself", hint="name another one with --site")
    with opened_store(invocation, group, chosen) as first, opened_store(invocation, group, against) as second:
        mine, theirs = (Side(store, stored_copy(invocation, store, name)) for store in (first, second))
        if (mine.copy.sequence, mine.copy.seal) != (theirs.copy.sequence, theirs.copy.seal):
            raise CopiesDiffer(
                f"{name} names different copies at {chosen} (sequence {mine.copy.sequence}) and {against} (sequence"
                f" {theirs.copy.sequence})",
                group=group,
                hint="name one by #SEQUENCE",
            )
        if mine.copy.volumes != theirs.copy.volumes:
            raise CopiesDiffer(
                f"copy {name} has other volumes, or others of their sizes, at {chosen} than at {against}",
                group=group,
                hint=f"a site applied the log differently; rebuild the wrong one: tidelog site rebuild NAME -g {group}",
            )
        yield mine, theirs


def _recompute(invocation: Invocation, side: Side) -> None:
    size = sum(volume.size for volume in side.copy.volumes)
    with byte_bar(invocation, f"reading copy {side.copy.name} at {side.site}", size) as advance:
        side.store.verify(side.copy, advance)


def _compare(invocation: Invocation, mine: Side, theirs: Side, volume: VolumeInfo) -> Compared:
    first = mine.store.volume_digest(volume, mine.copy)
    second = theirs.store.volume_digest(volume, theirs.copy)
    if first == second:
        return Compared(volume, (first, second), None)
    contents = mine.store.contents(mine.copy), theirs.store.contents(theirs.copy)
    what = f"comparing {volume.name} at {mine.site} and {theirs.site}"
    with byte_bar(invocation, what, 2 * looked_at(*contents, volume)) as advance:
        blocks = differing_blocks(*contents, volume, advance)
    return Compared(volume, (first, second), VolumeDiff(volume, volume, blocks))


def _differs(group: str, mine: Side, theirs: Side, wrong: list[Compared]) -> CopiesDiffer:
    where = f"{mine.site} and {theirs.site}"
    blocks = sum(one.blocks for one in wrong)
    found = next(((one, one.first) for one in wrong if one.first is not None), None)
    if found is None:
        return CopiesDiffer(
            f"copy {mine.copy.name} holds the same bytes at {where}, and the digests that they keep differ",
            group=group,
            hint="a kept digest, or a change bitmap, is wrong at one of them; compute the digests anew with --full",
        )
    one, (offset, length) = found
    named = "1 block" if blocks == 1 else f"{blocks} blocks"
    return CopiesDiffer(
        f"copy {mine.copy.name} differs between {where} in {named}, the first in volume {one.volume.name}: {length}"
        f" bytes at offset {offset}",
        group=group,
        hint=f"tidelog pitc verify {mine.copy.name} -g {group} --full tells which of them is not what its receipt says;"
        f" mend that one by the other: tidelog site resync NAME --from OTHER --group {group}",
    )


def _show(
    invocation: Invocation, group: str, sides: tuple[Side, Side], compared: list[Compared], *, full: bool, json: bool
) -> None:
    copy, sites = sides[0].copy, [side.site for side in sides]
    if json:
        document: dict[str, Any] = {
            "group": group,
            "name": copy.name,
            "sequence": copy.sequence,
            "seal": copy.seal.hex(),
            "sites": sites,
            "full": full,
            "equal": all(one.equal for one in compared),
            "differing_blocks": sum(one.blocks for one in compared),
            "volumes": [_volume_json(one, sites) for one in compared],
        }
        emit_json(invocation, document)
        return
    rows: list[tuple[str | Text, ...]] = []
    for one in compared:
        first = "-" if one.first is None else f"{size_text(one.first[1])} at {one.first[0]}"
        said = Text("equal", style="green") if one.equal else Text("DIFFERS", style="bold white on red")
        rows.append((one.volume.name, *map(short, one.digests), said, str(one.blocks), first))
    columns = ("volume", *sites, "", "differing blocks", "first extent")
    emit_table(invocation, columns, rows, ("differing blocks",))


def _volume_json(one: Compared, sites: list[str]) -> dict[str, Any]:
    first = one.first
    return {
        "id": one.volume.id,
        "name": one.volume.name,
        "equal": one.equal,
        "digests": {site: digest.hex() for site, digest in zip(sites, one.digests, strict=True)},
        "differing_blocks": one.blocks,
        "first": None if first is None else {"offset": first[0], "length": first[1]},
    }

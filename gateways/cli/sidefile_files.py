"""The sidefiles on this machine, as the configuration names their folders. Nothing here asks Kafka."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidelog.clock import iso
from tidelog.config import Config
from tidelog.errors import NotFound, SidefileDamaged
from tidelog.gateways.cli.exit_codes import WriterAlive
from tidelog.gateways.cli.output import time_or_none
from tidelog.producers.sidefile_folder import SUFFIX, Summary, active_path, paths, summary
from tidelog.schemas.codec import Codec


def folder_of(config: Config, group: str) -> Path:
    """Where a group's sidefiles are. Raises `NotFound` if none is configured."""
    table = config.groups.get(group)
    if table is None or table.sidefile is None:
        raise NotFound(f"group {group} has no sidefile in this configuration", hint="set groups.NAME.sidefile")
    return table.sidefile


def codec_of(config: Config, group: str) -> Codec:
    """How the group's sidefiles are sealed, by the configured key."""
    return Codec(config.group_key(group))


def configured(config: Config) -> list[str]:
    """The groups that have one."""
    return sorted(name for name, table in config.groups.items() if table.sidefile is not None)


def summaries(config: Config, group: str) -> Iterator[Summary]:
    """Every sidefile of a group, the one that is not kept first."""
    codec = codec_of(config, group)
    for path in paths(folder_of(config, group), group):
        try:
            found = summary(path, codec)
        except SidefileDamaged as error:
            found = Summary(path, group, 0, 0, 0, path.stat().st_size, 0, 0, "", 0, error.message)
        if found is not None and found.group == group:
            yield found


def find(config: Config, group: str, name: str | None) -> Path:
    """The sidefile of that name, as `tidelog sidefile list` shows it; by default the one that is not kept. Raises
    `NotFound`."""
    folder = folder_of(config, group)
    path = active_path(folder, group) if name is None else folder / f"{Path(name).name.removesuffix(SUFFIX)}{SUFFIX}"
    if path not in paths(folder, group):
        raise NotFound(f"there is no sidefile {path}", group=group, hint="see: tidelog sidefile list")
    return path


def state_word(found: Summary) -> str:
    """``lost``: kept, with writes that are in no log; ``kept``; ``damaged``; else ``undrained``: the writer fills it,
    or has left it for whoever opens the group next."""
    if found.kept:
        return "lost" if found.writes > found.in_log else "kept"
    return "damaged" if found.problem else "undrained"


def sidefile_json(found: Summary) -> dict[str, Any]:
    """For programs."""
    return {
        "group": found.group,
        "name": found.path.name.removesuffix(SUFFIX),
        "path": str(found.path),
        "state": state_word(found),
        "epoch": found.epoch,
        "behind_sequence": found.base_sequence,
        "writes": found.writes,
        "writes_in_log": found.in_log,
        "bytes": found.bytes,
        "since": time_or_none(found.since_us),
        "until": time_or_none(found.until_us),
        "kept_because": found.kept_because,
        "problem": found.problem,
    }


def sentence(found: Summary) -> str:
    """For `tidelog status`."""
    name, outside = found.path.name.removesuffix(SUFFIX), found.writes - found.in_log
    span = f" from {iso(found.since_us)} to {iso(found.until_us)}" if found.since_us else ""
    if found.problem:
        return f"sidefile {name} of group {found.group} on this machine: {found.problem}"
    if found.kept:
        return (
            f"sidefile {name} of group {found.group} on this machine holds writes{span} of which {outside} are not in"
            f" the log: {found.kept_because}"
        )
    return f"sidefile {name} of group {found.group} on this machine holds {outside} writes{span}, not yet drained"


def undrained(config: Config, group: str) -> Summary | None:
    """The sidefile of a group on this machine that is not drained yet, if anything stands in it."""
    if group not in configured(config):
        return None
    found = next((found for found in summaries(config, group) if not found.kept), None)
    return found if found is not None and (found.writes or found.problem) else None


def refuse_undrained(config: Config, group: str) -> None:
    """Raises `WriterAlive` before a command's session would make a sidefile's writes lost ones."""
    found = undrained(config, group)
    if found is not None:
        raise WriterAlive(
            f"{sentence(found)}; another session would keep them out of the log for ever",
            group=group,
            hint=f"let the application drain it, or say: tidelog sidefile drain {group}. To do without those writes,"
            f" say: tidelog sidefile keep {group}",
        )

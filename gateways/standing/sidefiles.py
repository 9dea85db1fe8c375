"""The sidefiles on this machine, as the configuration names their folders. Nothing here asks Kafka."""

from collections.abc import Iterator
from pathlib import Path

from tidelog.clock import iso
from tidelog.config import Config
from tidelog.errors import NotFound, SidefileDamaged
from tidelog.producers.sidefile_folder import SUFFIX, Summary, paths, summary
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


def state_word(found: Summary) -> str:
    """``lost``: kept, with writes that are in no log; ``kept``; ``damaged``; else ``undrained``: the writer fills it,
    or has left it for whoever opens the group next."""
    if found.kept:
        return "lost" if found.writes > found.in_log else "kept"
    return "damaged" if found.problem else "undrained"


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

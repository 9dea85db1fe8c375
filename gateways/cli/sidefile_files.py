"""Which of the sidefiles on this machine a command means, and what it must not do while one holds writes."""

from pathlib import Path

from tidelog.config import Config
from tidelog.errors import NotFound
from tidelog.gateways.cli.exit_codes import WriterAlive
from tidelog.gateways.standing.sidefiles import configured, folder_of, sentence, summaries
from tidelog.producers.sidefile_folder import SUFFIX, Summary, active_path, paths


def find(config: Config, group: str, name: str | None) -> Path:
    """The sidefile of that name, as `tidelog sidefile list` shows it; by default the one that is not kept. Raises
    `NotFound`."""
    folder = folder_of(config, group)
    path = active_path(folder, group) if name is None else folder / f"{Path(name).name.removesuffix(SUFFIX)}{SUFFIX}"
    if path not in paths(folder, group):
        raise NotFound(f"there is no sidefile {path}", group=group, hint="see: tidelog sidefile list")
    return path


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

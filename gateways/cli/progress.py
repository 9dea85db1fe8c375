"""Progress bars with rate and time to go: on a terminal only, and on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.files import Advance

# Below this a transfer is over before a bar could be read.
LARGE_BYTES = 8 * 1024 * 1024


class _Bytes(DownloadColumn):
    """Nothing for a task that counts something else, and has no total."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None else Text()


@contextmanager
def byte_bar(invocation: Invocation, what: str, total: int | None, *, least: int = 0) -> Iterator[Advance]:
    """A bar over ``total`` bytes; call what it gives with the bytes done since the last call.

    It shows from ``least`` bytes on: at once where the total is known, else when so many are done.
    """
    with progress_bar(invocation) as progress:
        task = progress.add_task(what, total=total, visible=(total or 0) >= least)
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.update(task, advance=count, visible=max(done, total or 0) >= least)

        yield advance


def progress_bar(invocation: Invocation) -> Progress:
    """Empty, for tasks that count bytes; shows nothing where stderr is no terminal."""
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Bytes(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns, console=invocation.err, disable=not invocation.err.is_terminal, transient=True, refresh_per_second=8
    )

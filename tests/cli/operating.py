"""An operator with real servers: one configuration, commands in processes of their own, workers, Ctrl-C, a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.clean_stores import group_of_its_own
from tests.cli.screen import Screen
from tidelog.testing.child import ChildProcess
from tidelog.testing.identity import process_identity
from tidelog.testing.readiness import wait_until

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 60.0


def interruptible() -> None:
    """In a new process: Ctrl-C works. A shell that runs the tests in the background has it ignored in all of them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def family(pid: int) -> dict[int, str]:
    """The process and all that it has started, and they in turn: number and identity, since numbers are used again."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile
    found, waiting = {}, [pid]
    while waiting:
        one = waiting.pop()
        identity = process_identity(one)
        if identity is not None:
            found[one] = identity
            waiting += [child for child, parent in parents.items() if parent == one]
    return found


def alive(processes: dict[int, str]) -> list[int]:
    """Those that still run."""
    return [pid for pid, identity in processes.items() if process_identity(pid) == identity]


class Command:
    """A command on pipes, its output gathered as it comes; in a session of its own, as one in a terminal is."""

    def __init__(self, command: Sequence[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=interruptible,
            cwd=cwd,
            env=env,
        )
        streams = ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        self._threads = [threading.Thread(target=self._gather, args=pair, daemon=True) for pair in streams]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _gather(stream: "object", to: bytearray) -> None:
        while part := os.read(stream.fileno(), 65536):  # type: ignore[attr-defined]
            to += part

    def reaches(self, condition: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
        """Waits until it is at work on ``what``; fails if it ends before."""
        held = wait_until(lambda: self.popen.poll() is not None or condition(), timeout_s)
        said = f"{self.out[-2000:].decode(errors='replace')}\n{self.err.decode(errors='replace')}"
        assert held, f"it never came to {what}: {said}"
        assert self.popen.poll() is None, f"it ended with {self.popen.returncode} before {what}: {said}"

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> str:
        """Ctrl-C, as a terminal sends it, or another signal: to the command and what it has started in the foreground.
        What it said on stderr; fails unless a shell would say 130, without a traceback, and leaves no process."""
        assert self.popen.poll() is None, "it has ended by itself: the interrupt is not inside"
        started = family(self.popen.pid)
        os.killpg(self.popen.pid, number)
        try:
            code = self.popen.wait(ENDS_WITHIN_S)
        finally:
            self.kill()
        self.gathered()
        said = self.err.decode()
        assert "Traceback" not in said + self.out.decode(errors="replace"), said
        assert "Exception ignored" not in said, said
        # To a shell both are 130. Python ends by the signal itself if it struck inside `exec` of a text (as dataclasses
        # do while modules are imported), though it was caught outside.
        assert code in (130, -signal.SIGINT), (code, said)
        assert wait_until(lambda: not alive(started), timeout_s=20), alive(started)
        return said

    def gathered(self) -> None:
        """Waits, once it has ended, until all that it said is here."""
        for thread in self._threads:
            thread.join(10)

    def kill(self) -> None:
        """For whatever is left when a test fails."""
        if self.popen.poll() is None:
            for process in alive(family(self.popen.pid)):
                os.kill(process, signal.SIGKILL)
        self.popen.wait()


class OnTerminal:
    """A command on a terminal of its own, with a size; all that it draws, and the screen that results."""

    def __init__(self, command: Sequence[str], rows: int = 40, columns: int = 140) -> None:
        self.drawn = bytearray()
        self._screen = (rows, columns)
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

        def prepare() -> None:
            interruptible()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that a typed Ctrl-C is a signal to it

        environment = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self.popen = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=prepare,
        )
        os.close(terminal)
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self) -> None:
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                return
            if not part:
                return
            self.drawn += part

    def resize(self, rows: int, columns: int) -> None:
        """Another size, of which the command is told; what was drawn before is forgotten."""
        self.drawn.clear()
        self._screen = (rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        """As if typed at the keyboard."""
        os.write(self._master, text)

    def screen(self) -> str:
        """What is to be seen now."""
        shown = Screen(*self._screen)
        shown.feed(bytes(self.drawn).decode(errors="replace"))
        return shown.text

    def ends(self, timeout_s: float = ENDS_WITHIN_S) -> int:
        """Waits for the end; the exit code."""
        try:
            code = self.popen.wait(timeout_s)
        finally:
            self.popen.kill()
            self.popen.wait()
        self._thread.join(10)
        os.close(self._master)
        return code


class Operator:
    """One configuration, and commands in processes of their own."""

    def __init__(self, folder: Path, kafka: str, urls: dict[str, str]) -> None:
        self.folder, self.kafka, self.urls = folder, kafka, urls
        self.prefix = f"cli-{uuid.uuid4().hex[:8]}"
        self.config = folder / "tidelog.toml"
        tables = "".join(f'[sites.{site}.redis]\nurl = "{url}"\n' for site, url in urls.items())
        self.config.write_text(f'prefix = "{self.prefix}"\n[kafka]\nbootstrap_servers = "{kafka}"\n{tables}')
        self.workers: dict[str, ChildProcess] = {}

    def line(self, *arguments: str) -> list[str]:
        """The command line of `tidelog` with these arguments."""
        return [sys.executable, "-m", "tidelog", "-c", str(self.config), *arguments]

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(self.line(*arguments), input=stdin, capture_output=True, timeout=90, check=False)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def ok(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """stdout of a command that must succeed."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def work(self, site: str) -> None:
        """Starts a worker of the site."""
        self.workers[site] = ChildProcess(
            f"worker of {site}", self.line("site", "run", site), self.folder / f"{site}.log"
        )

    def said(self, site: str) -> str:
        """What the site's workers have said."""
        return (self.folder / f"{site}.log").read_text()


@contextmanager
def operating(folder: Path, kafka: str, urls: dict[str, str]) -> Iterator[Operator]:
    """An operator whose group is ``bank``, of which nothing is there before or after, nor a worker, however it ends."""
    made = Operator(folder, kafka, urls)
    with group_of_its_own(urls.values(), "bank"):
        try:
            yield made
        finally:
            for worker in made.workers.values():
                worker.kill()

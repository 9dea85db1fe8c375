"""One child process: started, signalled and awaited by its pid only, with its output in a file."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tidelog.testing.readiness import wait_until
from tidelog.testing.servers import ServerError

DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
LOG_TAIL_LINES = 20


class _Launcher:
    """A thread that starts processes and never ends: PR_SET_PDEATHSIG means the death of the *thread* that forked, so a
    server started by a short-lived thread would be killed when that thread is done."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # A daemon, and no thread pool: pools end their threads before the exit hooks that stop servers gracefully.
        threading.Thread(target=self._run, name="tidelog-launcher", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._jobs.get()()

    def popen(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        answer: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

        def job() -> None:
            try:
                answer.put(_popen(command, log))
            except OSError as error:
                answer.put(error)

        self._jobs.put(job)
        outcome = answer.get()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


_launcher: _Launcher | None = None
_launcher_lock = threading.Lock()


def _launch(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    global _launcher
    with _launcher_lock:
        if _launcher is None or _launcher.pid != os.getpid():  # threads do not survive a fork
            _launcher = _Launcher()
        launcher = _launcher
    return launcher.popen([sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid()), *command], log)


def _popen(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then stops its servers in order
        )


class ChildProcess:
    """A running child; it dies with this process, however that ends, unless `outlives_parent`.

    `OSError` if it cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, outlives_parent: bool = False) -> None:
        self.name = name
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._popen = _popen(command, log) if outlives_parent else _launch(command, log)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def terminate(self, timeout_s: float) -> None:
        """SIGTERM, and SIGKILL if it still runs after the timeout; a stopped process is continued first."""
        if self.running:
            self._popen.send_signal(signal.SIGTERM)
            self._popen.send_signal(signal.SIGCONT)
            try:
                self._popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone and so are its ports."""
        if self.running:
            self._popen.kill()
        self._popen.wait()

    def pause(self) -> None:
        """SIGSTOP; returns when every thread stands still."""
        self._require_running()
        self._popen.send_signal(signal.SIGSTOP)
        if not wait_until(lambda: not self.running or self._state() == "T", timeout_s=10):
            raise ServerError(f"{self.name} (pid {self.pid}) does not stop on SIGSTOP")
        self._require_running()

    def resume(self) -> None:
        """SIGCONT."""
        self._require_running()
        self._popen.send_signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines that this process, not an earlier one with the same log, has written."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def exit_text(self) -> str:
        code = self._popen.poll()
        if code is None:
            return "runs"
        return f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"

    def _require_running(self) -> None:
        if not self.running:
            raise ServerError(f"{self.name} does not run")

    def _state(self) -> str:
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return ""
        return stat.rpartition(")")[2].split()[0]

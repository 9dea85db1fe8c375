"""The life of one server that runs as a child process; what Kafka and Redis have in common."""

import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from tidelog.testing.child import ChildProcess
from tidelog.testing.ports import require_free
from tidelog.testing.readiness import wait_until
from tidelog.testing.servers import ServerError, ServerKind

# A unix socket's path holds 107 bytes; "/tidelog-kafka-12345678/redis.sock" and a name of some length must still fit.
TEMPORARY_FOLDER_BYTES_MAX = 60


class LocalServer(ABC):
    """Ends when closed, when collected, and with this process however that ends.

    With `outlives_parent` it survives a SIGKILL of this process; after `release` nothing here ends it any more.

    Its run-time folder (configuration, log, socket, and the data if no `data_dir` is given) is removed by `close` and
    at this process's normal exit; a SIGKILL of this process leaves it, and so does a `runtime_dir` that was given. Not
    for use by several threads at once.
    """

    kind: ClassVar[ServerKind] = "process"
    start_timeout_s: ClassVar[float]
    stop_timeout_s: ClassVar[float]

    def __init__(
        self,
        name: str,
        ports: tuple[int, ...],
        *,
        data_dir: Path | None,
        runtime_dir: Path | None,
        outlives_parent: bool,
    ) -> None:
        self.name = name
        self.runtime_dir = runtime_dir.absolute() if runtime_dir is not None else _runtime_dir(name)
        self.data_dir = data_dir.absolute() if data_dir is not None else self.runtime_dir / "data"
        self._ports = ports
        self._outlives_parent = outlives_parent
        self._children: list[ChildProcess] = []  # none or one; a list, so that the finalizer sees the present one
        self._close = weakref.finalize(
            self, _end, os.getpid(), self._children, self.stop_timeout_s, None if runtime_dir else self.runtime_dir
        )

    @property
    @abstractmethod
    def description(self) -> str: ...

    @abstractmethod
    def _command(self) -> list[str]:
        """Prepares the data folder and the configuration; the command line to run."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer now."""

    @property
    def pid(self) -> int | None:
        """None unless it runs."""
        return self._children[0].pid if self.running else None

    @property
    def log_file(self) -> Path:
        return self.runtime_dir / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return bool(self._children) and self._children[0].running

    def start(self) -> None:
        if self.running:
            return
        self.launch()
        self.wait_ready()

    def require_ports(self) -> None:
        """`PortTaken` unless all its ports are free now."""
        for port in self._ports:
            require_free(port, self.name)

    def launch(self) -> None:
        """The first half of `start`: the process runs, but may not answer yet."""
        if not self._close.alive:
            raise ServerError(f"{self.name} was closed; make a new one")
        self.require_ports()
        self.runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = self._command()
        try:
            child = ChildProcess(self.name, command, self.log_file, outlives_parent=self._outlives_parent)
        except OSError as error:
            raise ServerError(f"{self.name} cannot be run: {command[0]}: {error.strerror}") from error
        self._children[:] = [child]

    def wait_ready(self) -> None:
        """The second half of `start`; a server that dies or is late is ended, and the error shows its log's end."""
        child = self._children[0]
        try:
            ready = wait_until(lambda: not child.running or self._answers(), self.start_timeout_s)
        except BaseException:
            child.kill()
            raise
        if child.running and ready:
            return
        how = child.exit_text() if not child.running else f"gave no answer within {self.start_timeout_s:.0f} s"
        child.kill()
        self.require_ports()  # somebody may have taken one since; that says more than a log
        raise ServerError(f"{self.name} {how} while starting; the end of its log:\n{child.log_tail()}")

    def stop(self) -> None:
        if self._children:
            self._children[0].terminate(self.stop_timeout_s)

    def kill(self) -> None:
        if self._children:
            self._children[0].kill()

    def pause(self) -> None:
        self._running_child().pause()

    def resume(self) -> None:
        self._running_child().resume()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self._close()

    def release(self) -> None:
        """Lets the server go on by itself; only for one with `outlives_parent`. It is then ended by its pid."""
        if not self._outlives_parent:
            raise ServerError(f"{self.name} dies with its parent; it cannot be released")
        self._close.detach()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _running_child(self) -> ChildProcess:
        if not self.running:
            raise ServerError(f"{self.name} does not run")
        return self._children[0]


def _runtime_dir(name: str) -> Path:
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > TEMPORARY_FOLDER_BYTES_MAX:
        parent = "/tmp"
    return Path(tempfile.mkdtemp(prefix=f"tidelog-{name[:20]}-", dir=parent))


def _end(owner_pid: int, children: list[ChildProcess], timeout_s: float, folder: Path | None) -> None:
    if os.getpid() != owner_pid:
        return  # a fork of the owner exits, and the owner goes on
    for child in children:
        child.terminate(timeout_s)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)

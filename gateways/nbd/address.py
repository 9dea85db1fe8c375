"""Where a server listens: a unix socket, or an address of this machine."""

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tidelog.errors import UsageError

PORT = 10809  # registered for NBD
_PATH_BYTES_MAX = 107
_BACKLOG = 128


class Listening:
    """A socket that listens, and where. `leave` before the socket is closed: once it is, another server may have the
    name."""

    def __init__(self, address: "Address", listening: socket.socket) -> None:
        self.address, self.socket = address, listening
        self._left = False

    def leave(self) -> None:
        """Takes the name away; not again."""
        if not self._left and isinstance(self.address, UnixAddress):
            self.address.path.unlink(missing_ok=True)
        self._left = True

    def close(self) -> None:
        """Both."""
        self.leave()
        self.socket.close()


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket, for this machine's user alone."""

    path: Path
    is_local = True

    def uri(self, export: str, *, tls: bool = False) -> str:
        """How a client names an export here."""
        return f"nbd{'s' if tls else ''}+unix:///{_quoted(export)}?socket={quote(str(self.path))}"

    def listen(self) -> Listening:
        """Raises `UsageError` if a server listens there, or something else is there. What a server that was killed has
        left is taken away."""
        if len(os.fsencode(self.path)) > _PATH_BYTES_MAX:
            raise UsageError(f"{self.path} is too long for a unix socket", hint="name a shorter one with --socket")
        if not self.path.parent.is_dir():
            raise UsageError(f"there is no folder {self.path.parent}", hint="make it first")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listening.fileno(), 0o600)  # before it has a name
            with self._alone():
                self._take_away()
                listening.bind(str(self.path))
                listening.listen(_BACKLOG)
        except UsageError:
            listening.close()
            raise
        except OSError as error:
            listening.close()
            raise UsageError(f"{self.path}: {error.strerror}") from None
        return Listening(self, listening)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else who listens here does so meanwhile: of two that find a dead socket the second one must not take
        away what the first one has put in its place. The lock's file stays, since a name that is taken away and made
        again is two locks."""
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _take_away(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise UsageError(f"{self.path} exists, and is no socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                asking.setblocking(False)  # a server that stands still has a full queue, which would be waited for
                found = asking.connect_ex(str(self.path))
            if found in (0, errno.EAGAIN):
                raise UsageError(f"a server listens at {self.path}", hint="end it, or name another --socket")
            if found not in (errno.ECONNREFUSED, errno.ENOENT):
                raise UsageError(f"{self.path}: {os.strerror(found)}", hint="name another --socket")
            self.path.unlink()


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host, as a name or a number, and a port; port 0 is any that is free."""

    host: str
    port: int = PORT

    @property
    def is_local(self) -> bool:
        """Whether nobody outside of this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def uri(self, export: str, *, tls: bool = False) -> str:
        """How a client names an export here."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nbd{'s' if tls else ''}://{host}:{self.port}/{_quoted(export)}"

    def listen(self) -> Listening:
        """With the port that it is. Raises `UsageError` if that cannot be."""
        try:
            family, _, _, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            raise UsageError(f"{self.host}:{self.port}: {error.strerror or error}") from None
        return Listening(TcpAddress(self.host, listening.getsockname()[1]), listening)


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> TcpAddress:
    """``HOST:PORT``, ``HOST`` or ``[::1]:PORT``. Raises `UsageError`."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is no HOST:PORT")
    return TcpAddress(host, int(port))


def default_socket(group: str, site: str) -> UnixAddress:
    """In the user's own folder of the session, or one like it under the folder for temporary files. Raises `UsageError`
    if somebody else can get at that."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "tidelog" if runtime else Path(tempfile.gettempdir()) / f"tidelog-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", hint="name another place with --socket") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder} is not this user's alone", hint="name another place with --socket")
    return UnixAddress(folder / f"{group}-{site}.nbd")


def _quoted(export: str) -> str:
    return quote(export, safe="@:")

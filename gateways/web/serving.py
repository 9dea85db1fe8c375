"""Where the status page may listen: on loopback, or with a token and TLS."""

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from tidelog.config import HttpConfig
from tidelog.config_sources import as_config_error
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.web.access import LOCAL_NAMES, Access

# What the kernel may keep for a client that does not read; by itself it goes to megabytes.
UNREAD_BYTES = 128 * 1024
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Serving:
    """Where, and what protects it."""

    http: HttpConfig
    host: str
    port: int
    family: socket.AddressFamily
    bound: tuple[Any, ...] = field(repr=False)  # as `socket.bind` takes it

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.bound[0].partition("%")[0]).is_loopback

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.http.tls_certfile is not None

    def access(self) -> Access:
        """Who may ask."""
        names = {name.lower() for name in self.http.names}
        known = frozenset(LOCAL_NAMES | names) if self.loopback else frozenset(names)
        token = self.http.token.get_secret_value() if self.http.token is not None else None
        return Access(token, known or None, tls=self.tls)

    def url(self, port: int) -> str:
        """For people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}/"


def serving(
    http: HttpConfig,
    address: str | None = None,
    token_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> Serving:
    """What is configured, with what the command line says over it. Raises `ConfigError`, and `UsageError` for an
    address that other machines reach without a token and TLS."""
    http = _with_options(http, address, token_file, tls_cert, tls_key)
    host, port = _parted(http.address)
    family, bound = _resolved(host, port)
    found = Serving(http, host, port, family, bound)
    lacks = [what for what, there in (("token", http.token is not None), ("TLS", found.tls)) if not there]
    if not found.loopback and lacks:
        raise UsageError(
            f"other machines reach {http.address}, and there is no {' and no '.join(lacks)}",
            hint="give it both: tidelog serve http --address HOST:PORT --token-file FILE --tls-cert FILE"
            " --tls-key FILE; or stay on loopback: tidelog serve http --address 127.0.0.1:8080",
        )
    return found


def bind(found: Serving) -> socket.socket:
    """A socket that listens; who comes waits until somebody accepts. Raises `UsageError`."""
    made = socket.socket(found.family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)  # its connections take it over
        made.bind(found.bound)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise UsageError(
            f"cannot listen at {found.http.address}: {error.strerror}",
            hint="choose another port: tidelog serve http --address 127.0.0.1:PORT",
        ) from None
    return made


def check_tls(found: Serving) -> None:
    """Raises `ConfigError` for a certificate and key that cannot be used."""
    http = found.http
    if http.tls_certfile is None or http.tls_keyfile is None:
        return
    password = http.tls_password.get_secret_value() if http.tls_password is not None else ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a password given it is never asked for on the terminal.
        context.load_cert_chain(http.tls_certfile, http.tls_keyfile, lambda: password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate {http.tls_certfile} with the key {http.tls_keyfile} cannot be used:"
            f" {error.strerror or error}",
            hint="both are PEM files, and belong together; tls_password_file names the key's password",
        ) from None


def _with_options(
    http: HttpConfig, address: str | None, token_file: Path | None, tls_cert: Path | None, tls_key: Path | None
) -> HttpConfig:
    given = {"address": address, "token_file": token_file, "tls_certfile": tls_cert, "tls_keyfile": tls_key}
    over = {name: value for name, value in given.items() if value is not None}
    # What came from a file is here already, and would be given twice.
    read = {"token_file", "tls_password_file"} | ({"token"} if token_file is not None else set())
    values = {name: value for name, value in http if name not in read and value is not None} | over
    values["token"] = _text(values.get("token"))
    values["tls_password"] = _text(values.get("tls_password"))
    try:
        return HttpConfig(**values)
    except ValidationError as error:
        raise as_config_error(error, HttpConfig, (), values) from None


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _parted(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"http.address is host:port, such as 127.0.0.1:8080 or [::1]:8080 (got {address!r})")
    return host, int(port)


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"http.address names {host}, which is no address of this machine: {error}") from None
    family, _, _, _, bound = found[0]
    return family, bound

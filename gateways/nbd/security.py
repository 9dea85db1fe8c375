"""TLS of a server: its certificate and the clients' authority, or keys that both sides know.

Names of files are those that nbdkit, qemu and libnbd use: a folder with ``ca-cert.pem``, ``server-cert.pem`` and
``server-key.pem``; a file of lines ``name:hexadecimal key``, as GnuTLS's ``psktool`` writes it.
"""

import ssl
from pathlib import Path

from tidelog.errors import ConfigError, UsageError

HAS_PSK = hasattr(ssl.SSLContext, "set_psk_server_callback")
_AUTHORITY, _CERTIFICATE, _KEY = "ca-cert.pem", "server-cert.pem", "server-key.pem"


def certified(folder: Path) -> ssl.SSLContext:
    """A context that shows the server's certificate and wants one of the same authority of each client. Raises
    `ConfigError`."""
    context = _context()
    for name in (_AUTHORITY, _CERTIFICATE, _KEY):
        if not (folder / name).is_file():
            raise ConfigError(f"there is no file {folder / name}")
    try:
        context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        context.load_verify_locations(folder / _AUTHORITY)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificates in {folder} cannot be used: {error}") from None
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def keyed(file: Path) -> ssl.SSLContext:
    """A context in which a client proves that it knows a key of ``file``, and the server that it does. Raises
    `UsageError` where Python cannot do that, `ConfigError`."""
    if not HAS_PSK:
        raise UsageError(
            "pre-shared keys need Python 3.13 or newer",
            hint="use client certificates: --tls-certificates FOLDER",
        )
    keys = _keys(file)
    context = _context()
    context.set_ciphers("PSK")
    # Python's callback is OpenSSL's for versions before 1.3.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_psk_server_callback(  # type: ignore[attr-defined, unused-ignore]
        lambda name: keys.get(name or "", b""), "tidelog"
    )
    return context


def _keys(file: Path) -> dict[str, bytes]:
    keys = {}
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    for number, line in enumerate(lines, 1):
        name, _, text = line.partition(":")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if not name or not key:
            raise ConfigError(f"{file}: entry {number} is not name:hexadecimal key")
        keys[name] = key
    if not keys:
        raise ConfigError(f"{file} has no keys")
    return keys


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

"""An authority, and certificates of it for a server and a client, named as nbdkit, qemu and libnbd look for them."""

import subprocess
from pathlib import Path

from tests.tools import tool


def authority(folder: Path, name: str = "test authority") -> Path:
    """A folder with the authority's own key and certificate."""
    folder.mkdir()
    _openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca-key.pem", "-out", "ca-cert.pem"),
    )
    return folder


def certified(issuer: Path, folder: Path, who: str) -> Path:
    """A folder with ``who``'s key and certificate, ``server`` or ``client``, and the authority's certificate."""
    folder.mkdir()
    (folder / "ca-cert.pem").write_bytes((issuer / "ca-cert.pem").read_bytes())
    request = ("-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={who}", "-keyout", f"{who}-key.pem")
    _openssl(folder, "req", *request, "-out", "request.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signed = ("-CA", issuer / "ca-cert.pem", "-CAkey", issuer / "ca-key.pem", "-CAcreateserial", "-days", "2")
    _openssl(folder, "x509", "-req", "-in", "request.pem", *signed, "-extfile", "names", "-out", f"{who}-cert.pem")
    return folder


def _openssl(folder: Path, *arguments: "str | Path") -> None:
    command = [tool("openssl"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

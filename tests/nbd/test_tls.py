"""TLS: nothing is told, and nothing done, before it; who is let in; and that it carries what it must."""

import random
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nbd.certificates import authority, certified
from tests.nbd.client import (
    ABORT,
    ACK,
    EXPORT_NAME,
    GO,
    INFO,
    INVALID,
    LIST,
    OPTION_MAGIC,
    SET_CONTEXTS,
    STARTTLS,
    STRUCTURED,
    TLS_REQD,
    Client,
    chosen_data,
    contexts_data,
)
from tests.nbd.conftest import SIZE, Bank
from tests.tools import tool
from tidelog.gateways.nbd import security
from tidelog.gateways.nbd.address import TcpAddress
from tidelog.testing.nbd import RunningNbd


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``server`` and ``client`` of one authority, ``stranger`` of another."""
    folder = tmp_path_factory.mktemp("keys")
    ours, theirs = authority(folder / "ours"), authority(folder / "theirs")
    certified(ours, folder / "server", "server")
    certified(ours, folder / "client", "client")
    certified(theirs, folder / "stranger", "client")
    return folder


@pytest.fixture
def secured(bank: Bank, keys: Path) -> Iterator[RunningNbd]:
    """A server with a certificate, which wants one of each client."""
    tls = security.certified(keys / "server")
    address = TcpAddress("127.0.0.1", 0)
    deployment = bank.running.deployment
    with RunningNbd(deployment, "bank", "tokyo", bank.group, address=address, tls=tls, say=bank.said.append) as running:
        yield running


def context(keys: Path, who: str = "client") -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=keys / "client" / "ca-cert.pem")
    found.load_cert_chain(keys / who / "client-cert.pem", keys / who / "client-key.pem")
    return found


def encrypted(client: Client, tls: ssl.SSLContext) -> Client:
    assert client.option(STARTTLS) == [(ACK, b"")]
    client.socket = tls.wrap_socket(client.socket, server_hostname="localhost")
    return client


def test_before_tls_nothing_is_told(secured: RunningNbd) -> None:
    """Every option but two is refused, also unknown ones; what cannot be refused ends the connection."""
    with Client(secured.uri("ledger")) as client:
        for option, data in (
            (LIST, b""),
            (INFO, chosen_data("ledger")),
            (GO, chosen_data("ledger")),
            (STRUCTURED, b""),
            (SET_CONTEXTS, contexts_data("ledger", "base:allocation")),
            (77, b"x"),
        ):
            ((kind, _),) = client.option(option, data)
            assert kind == TLS_REQD
        assert client.option(ABORT) == [(ACK, b"")]
    with Client(secured.uri("ledger")) as client:
        client.send_option(EXPORT_NAME, b"ledger")
        assert client.left()
    with Client(secured.uri("ledger"), flags=2) as client:  # a client that could not be told
        assert client.left()


def test_behind_tls_all_goes_on(secured: RunningNbd, keys: Path) -> None:
    """A write larger than any buffer, and back; TLS cannot begin twice."""
    data = random.Random(1).randbytes(SIZE)
    with encrypted(Client(secured.uri("ledger")), context(keys)) as client:
        assert client.option(STARTTLS)[0][0] == INVALID
        client.go()
        for _ in range(5):
            client.write(0, data)
            assert client.read(0, SIZE) == data
        client.flush()


@pytest.mark.parametrize("who", ["stranger", None])
def test_who_has_no_certificate_is_not_let_in(secured: RunningNbd, keys: Path, who: str | None) -> None:
    """None at all, or one of another authority."""
    tls = ssl.create_default_context(cafile=keys / "client" / "ca-cert.pem")
    if who is not None:
        tls = context(keys, who)
    with Client(secured.uri("ledger")) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        encrypted(client, tls).option(LIST)  # TLS 1.3 tells it at the first reading
    with encrypted(Client(secured.uri("ledger")), context(keys)) as client:
        assert client.go().read(0, 1) == b"\0"


def test_what_was_agreed_on_before_is_forgotten_and_nothing_is_smuggled_in(secured: RunningNbd, keys: Path) -> None:
    """Plain text behind STARTTLS is not read as if it had come over TLS."""
    with Client(secured.uri("ledger")) as client:
        smuggled = OPTION_MAGIC + STRUCTURED.to_bytes(4) + bytes(4)
        client.socket.sendall(OPTION_MAGIC + STARTTLS.to_bytes(4) + bytes(4) + smuggled)
        client.receive(20)
        client.socket = context(keys).wrap_socket(client.socket, server_hostname="localhost")
        ((kind, why),) = client.option(SET_CONTEXTS, contexts_data("ledger", "base:allocation"))
        assert kind == INVALID and b"structured" in why


def nbdinfo(uri: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("nbdinfo"), uri], capture_output=True, text=True, timeout=60, check=False)


def test_nbdinfo_over_tls(secured: RunningNbd, keys: Path) -> None:
    """libnbd's own TLS, by certificates in a folder; without them it is not let in."""
    assert isinstance(secured.address, TcpAddress)
    uri = f"nbds://localhost:{secured.address.port}/ledger?tls-certificates="
    found = nbdinfo(uri + str(keys / "client"))
    assert found.returncode == 0 and "with TLS" in found.stdout and f"export-size: {SIZE}" in found.stdout, found
    assert nbdinfo(uri + str(keys / "stranger")).returncode != 0
    assert nbdinfo(f"nbd://localhost:{secured.address.port}/ledger").returncode != 0


@pytest.mark.skipif(not security.HAS_PSK, reason="pre-shared keys need Python 3.13 or newer")
def test_nbdinfo_with_a_key_that_both_know(bank: Bank, tmp_path: Path) -> None:
    good, bad = tmp_path / "keys.psk", tmp_path / "bad.psk"
    good.write_text(f"alice:{'0f' * 32}\nbob:{'aa' * 32}\n")
    bad.write_text(f"alice:{'ee' * 32}\n")
    address = TcpAddress("127.0.0.1", 0)
    tls = security.keyed(good)
    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, address=address, tls=tls) as server:
        assert isinstance(server.address, TcpAddress)
        place = f"localhost:{server.address.port}/ledger?tls-psk-file="
        for name in ("alice", "bob"):
            found = nbdinfo(f"nbds://{name}@{place}{good}")
            assert found.returncode == 0 and "with TLS" in found.stdout, found
        assert nbdinfo(f"nbds://alice@{place}{bad}").returncode != 0
        assert nbdinfo(f"nbds://carol@{place}{good}").returncode != 0

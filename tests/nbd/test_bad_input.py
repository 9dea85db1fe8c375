"""Clients that are none: whatever they do, nothing of it is written, and the server serves the others on."""

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.operating import Command
from tests.nbd.client import EXPORT_NAME, GO, LIST, OPTION_MAGIC, READ, WRITE, Client, chosen_data
from tests.nbd.conftest import SIZE, Bank
from tidelog.gateways.nbd import connection, watch
from tidelog.gateways.nbd.server import CONNECTIONS_MAX
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until

PAYLOAD = 32 << 20


@pytest.fixture
def patient(bank: Bank) -> Iterator[Client]:
    """A client that has nothing to do with it: it must be able to go on."""
    with bank.opened() as client:
        client.write(0, b"before")
        yield client
        assert client.read(0, 6) == b"before"
        client.write(500_000, b"and after", flags=1)
        assert client.read(500_000, 9) == b"and after"


def test_a_write_that_is_left_in_the_middle_never_happens(bank: Bank, patient: Client) -> None:
    """Wherever in the request the client is gone."""
    request = struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 1, 8192, 200_000) + b"x" * 200_000
    for sent in (1, 27, 28, 29, 100_000, len(request) - 1):
        with bank.opened() as client:
            client.socket.sendall(request[:sent])
    told = wait_until(lambda: sum("in the middle" in line for line in bank.said) == 6, 60)
    assert told, bank.said
    before = bank.running.site("tokyo").group("bank").copy("nightly").volume("ledger").read(0, SIZE)
    assert patient.read(6, SIZE - 6) == before[6:]


def test_a_client_that_leaves_before_its_answer(bank: Bank, patient: Client) -> None:
    """What was asked for as a whole is done."""
    for index in range(20):
        with bank.opened() as client:
            client.request(WRITE, 4096 * (index + 10), 2, b"ok")
            client.request(READ, 0, SIZE)
    held = wait_until(lambda: all(patient.read(4096 * (index + 10), 2) == b"ok" for index in range(20)), 60)
    assert held


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("magic", [0, 0x12560953, 0x21E41C71, 0xFFFFFFFF])
def test_a_wrong_magic_ends_the_connection(bank: Bank, magic: int) -> None:
    with bank.opened() as client:
        client.request(WRITE, 0, 4, b"evil", magic=magic)
        assert client.left()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("length", [PAYLOAD + 1, 1 << 31, (1 << 32) - 1])
def test_a_write_of_a_huge_length_ends_the_connection(bank: Bank, length: int) -> None:
    """Nothing is reserved for it."""
    with bank.opened() as client:
        client.request(WRITE, 0, length)
        assert client.left()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0\0\0\4" + OPTION_MAGIC,  # flags that nobody has defined
        b"\0\0\0\3" + b"NBDMAGIC" + struct.pack(">II", LIST, 0),
        b"\0\0\0\3" + OPTION_MAGIC + struct.pack(">II", LIST, 0xFFFFFFFF),
        b"\0\0\0\3" + OPTION_MAGIC + struct.pack(">II", 99, 1 << 20) + b"x" * 1000,
        b"\0\0\0\3" + OPTION_MAGIC + struct.pack(">II", EXPORT_NAME, 7) + b"nothing",
    ],
)
def test_a_greeting_that_is_none(bank: Bank, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(60)
        stranger.connect(str(bank.server.address.path))
        stranger.recv(18)
        stranger.sendall(said)
        with suppress(ConnectionError):
            while stranger.recv(1 << 16):
                pass  # until the server leaves


@pytest.mark.usefixtures("patient")
def test_a_client_that_says_nothing_is_left(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for a negotiation; one that has chosen its export may be as quiet as it likes."""
    monkeypatch.setattr(connection, "NEGOTIATION_TIMEOUT", 0.2)
    with bank.opened() as quiet, bank.connect() as slow:
        assert slow.left()
        time.sleep(0.3)
        assert quiet.read(0, 6) == b"before"


@pytest.mark.usefixtures("patient")
def test_a_payload_that_does_not_come_is_not_waited_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STALL_TIMEOUT", 0.2)
    with bank.opened() as client:
        client.request(WRITE, 0, 1000, b"half")
        assert client.left()
    assert wait_until(lambda: any("nothing to speak of came" in line for line in bank.said), 60)


def test_a_client_that_takes_no_answers_is_left(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it asked for is not kept: more than its share is not even read."""
    monkeypatch.setattr(watch, "STALL_TIMEOUT", 0.5)
    with bank.opened() as greedy, bank.opened() as other:
        greedy.socket.settimeout(10)
        with suppress(ConnectionError, TimeoutError):
            for _ in range(100_000):
                greedy.request(READ, 0, SIZE)
            pytest.fail("all of it was taken")
        assert other.read(8192, 1) == b"\0"
    assert wait_until(lambda: any("took nothing" in line for line in bank.said), 60), bank.said


def test_what_all_connections_hold_is_bounded(bank: Bank) -> None:
    """Payloads beyond the server's total wait, and come through when there is room."""
    bank.group.create_volume("large", "64MiB")
    data = b"y" * (20 << 20)
    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, total_bytes=PAYLOAD) as server:
        clients = [Client(server.uri("large")).go() for _ in range(3)]
        threads = [threading.Thread(target=client.write, args=(0, data)) for client in clients]
        most = 0
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, server.in_flight)
            time.sleep(0.001)
        assert len(data) <= most <= PAYLOAD
        assert clients[0].read(0, len(data)) == data
        assert wait_until(lambda: server.in_flight == 0, 60)
        for client in clients:
            client.socket.close()


def enters(server: RunningNbd, inside: list[Client]) -> bool:
    """Whether there was room for one more, which is then among those inside."""
    try:
        inside.append(Client(server.uri("ledger")).go())
    except (ConnectionError, AssertionError):
        return False
    return True


def test_more_clients_than_there_is_room_for(bank: Bank) -> None:
    """They are left at once, and the places of those who leave are free again."""
    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, connections_max=4) as server:
        inside = [Client(server.uri("ledger")).go() for _ in range(4)]
        assert not any(enters(server, inside) for _ in range(20))
        assert inside[0].read(0, 1) == b"\0"
        inside.pop().socket.close()
        assert wait_until(lambda: enters(server, inside), 60)
        for client in inside:
            client.socket.close()


@pytest.mark.slow
def test_ten_thousand_connections(bank: Bank, patient: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one process, open at once: the server keeps as many as it has room for, leaves the others, answers meanwhile
    who was there before, and has let go of all when that process ends."""
    monkeypatch.setattr(connection, "NEGOTIATION_TIMEOUT", 600.0)
    files, count = Path("/proc/self/fd"), 10_000
    kept, before = CONNECTIONS_MAX - 1, len(list(files.iterdir()))
    crowd = Command([sys.executable, "-m", "tests.nbd.crowd", str(bank.server.address.path), str(count)])

    def told() -> bool:
        assert patient.read(0, 6) == b"before"
        return crowd.out.endswith(b"\n")

    try:
        crowd.reaches(told, "an end of its connecting")
        assert crowd.out.decode() == f"{kept} kept, {count - kept} left\n"
        assert patient.read(0, 6) == b"before"
        assert wait_until(lambda: len(list(files.iterdir())) < before + kept + 20, 60)
        assert not enters(bank.server, [])
    finally:
        crowd.kill()
    inside: list[Client] = []
    assert wait_until(lambda: enters(bank.server, inside), 60)
    assert inside[0].read(0, 6) == b"before"
    inside[0].socket.close()
    assert wait_until(lambda: len(list(files.iterdir())) < before + 20, 60)


def test_negotiations_are_many_and_short(bank: Bank) -> None:
    """Each of a hundred clients opens a copy, is gone without a word, and holds nothing."""
    for index in range(100):
        client = bank.connect("ledger@nightly")
        client.send_option(GO, chosen_data("ledger@nightly"))
        if index % 2:
            client.receive(20)
        client.socket.close()
    site = bank.running.site("tokyo").group("bank")
    assert wait_until(lambda: not [hold for hold in site.copy("nightly").holds() if hold.kind == "volume"], 60)

"""Each command, on each kind of export, with simple and with structured replies."""

import pytest

from tests.nbd.client import (
    DF,
    DISC,
    EINVAL,
    ENOSPC,
    EOVERFLOW,
    EPERM,
    FAST_ZERO,
    FLUSH,
    FUA,
    NO_HOLE,
    READ,
    REQ_ONE,
    STATUS,
    TRIM,
    WRITE,
    ZEROES,
)
from tests.nbd.conftest import COPIED, SIZE, Bank
from tidelog.testing.readiness import wait_until

WRITABLE = ("ledger", "ledger@clone:drill")
HOLE = 3


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_written_is_read(bank: Bank, name: str, structured: bool) -> None:
    """Any place and length, up to the end, also of zeros and trims; by other connections, too."""
    with bank.opened(name, structured=structured) as client, bank.opened(name) as other:
        model = bytearray(SIZE)
        model[8192 : 8192 + len(COPIED)] = COPIED
        assert client.read(0, SIZE) == model
        for offset, data in ((0, b"a"), (4095, b"bc"), (100_000, b"d" * 300_000), (SIZE - 3, b"end")):
            client.write(offset, data)
            model[offset : offset + len(data)] = data
        for command, offset, length in ((ZEROES, 100_001, 50_000), (TRIM, 200_000, 8192), (TRIM, SIZE - 1, 1)):
            client.zero(offset, length, command)
            model[offset : offset + length] = bytes(length)
        client.zero(300_000, 10, flags=NO_HOLE | FAST_ZERO | FUA)
        model[300_000:300_010] = bytes(10)
        client.flush()
        assert client.read(0, SIZE) == other.read(0, SIZE) == model
        assert client.read(4094, 5) == model[4094:4099]


@pytest.mark.parametrize("name", ["ledger", "ledger@nightly", "ledger@clone:drill"])
def test_reading_in_one_piece(bank: Bank, name: str) -> None:
    with bank.opened(name) as client:
        assert client.read(8190, 10, flags=DF) == b"\0\0" + COPIED[:8]


def test_a_copy_stays_what_it_is(bank: Bank) -> None:
    with bank.opened("ledger@nightly") as copy, bank.opened() as live, bank.opened("ledger@clone:drill") as clone:
        live.write(8192, b"live")
        clone.write(8192, b"clone")
        assert (copy.read(8192, 4), live.read(8192, 4), clone.read(8192, 5)) == (COPIED[:4], b"live", b"clone")


@pytest.mark.parametrize("command", [WRITE, TRIM, ZEROES])
def test_no_write_to_what_is_read_only(bank: Bank, command: int) -> None:
    """And the connection goes on behind the data."""
    with bank.opened("ledger@nightly") as client:
        data = b"x" * 5000 if command == WRITE else b""
        answer = client.call(command, 0, 5000, data)
        assert answer.error == EPERM and b"read-only" in answer.data
        assert client.read(8192, 100) == COPIED[:100]


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(
    ("command", "error"), [(READ, EINVAL), (WRITE, ENOSPC), (ZEROES, ENOSPC), (TRIM, EINVAL), (STATUS, EINVAL)]
)
def test_beyond_the_end(bank: Bank, command: int, error: int, structured: bool) -> None:
    """Partly or wholly, by any offset: nothing is done, and the connection goes on."""
    with bank.opened(structured=structured) as client:
        for offset, length in ((SIZE - 1, 2), (SIZE, 1), (SIZE + 4096, 512), (1 << 63, 4096), ((1 << 64) - 1, 1)):
            answer = client.call(command, offset, length, b"x" * length if command == WRITE else b"")
            assert answer.error == error
        assert client.read(SIZE - 1, 1) == b"\0"


def test_what_no_command_is(bank: Bank) -> None:
    """Unknown commands, flags that mean nothing there, a flush of a place: each is refused, and nothing is done."""
    with bank.opened() as client:
        for command, flags in (
            (5, 0),
            (8, 0),
            (0xFFFF, 0),
            (READ, NO_HOLE),
            (READ, 1 << 15),
            (WRITE, DF),
            (TRIM, FAST_ZERO),
            (ZEROES, REQ_ONE),
            (STATUS, DF),
        ):
            data = b"x" * 10 if command == WRITE else b""
            assert client.call(command, 0, 10, data, flags).error == EINVAL, (command, flags)
        assert client.call(FLUSH, 1, 0).error == client.call(FLUSH, 0, 1).error == EINVAL
        assert client.read(0, 10) == bytes(10)
    with bank.opened(structured=False) as client:
        assert client.call(READ, 0, 10, flags=DF).error == EINVAL
        assert client.call(STATUS, 0, 10).error == EINVAL


def test_a_read_that_is_too_long(bank: Bank) -> None:
    """Of more than the payload that is told; the volume is as large."""
    bank.group.create_volume("large", "64MiB")
    for structured, error in ((False, EINVAL), (True, EOVERFLOW)):
        with bank.opened("large", structured=structured) as client:
            assert client.call(READ, 0, (32 << 20) + 1).error == error
            assert client.read(5, 32 << 20) == bytes(32 << 20)


def test_the_largest_payload(bank: Bank) -> None:
    """32 MiB in one write, which is many events, read back in one."""
    bank.group.create_volume("large", "64MiB")
    data = bytes(range(256)) * (128 << 10)
    with bank.opened("large") as client:
        client.write(1, data, flags=FUA)
        assert client.read(1, len(data)) == data
        client.zero(0, 64 << 20)
        assert client.read(0, 32 << 20) == bytes(32 << 20)


@pytest.mark.parametrize("structured", [False, True])
def test_nothing_at_all(bank: Bank, structured: bool) -> None:
    """A length of 0 does nothing, without an error where the protocol leaves it open."""
    with bank.opened(structured=structured) as client:
        for command in (READ, WRITE, TRIM, ZEROES):
            answer = client.call(command, SIZE, 0)
            assert (answer.error, answer.data) == (0, b"")
        assert client.call(STATUS, 0, 0).error == EINVAL


@pytest.mark.parametrize("name", ["ledger@nightly", "ledger@clone:drill"])
def test_holes(bank: Bank, name: str) -> None:
    """What was never written, or discarded, and nothing else; the extents cover what was asked for."""
    with bank.opened(name) as client:
        assert client.status(0, SIZE) == [(8192, HOLE), (8192, 0), (SIZE - 16384, HOLE)]
        assert client.status(0, SIZE, REQ_ONE) == [(8192, HOLE)]
        assert client.status(9000, 10, REQ_ONE) == [(10, 0)]
        assert client.status(8191, 2) == [(1, HOLE), (1, 0)]
        assert client.status(SIZE - 1, 1) == [(1, HOLE)]
        if name != "ledger@nightly":
            client.write(0, b"x")
            client.zero(12288, 4096, TRIM)
            assert client.status(0, SIZE) == [(4096, 0), (4096, HOLE), (4096, 0), (SIZE - 12288, HOLE)]


def test_holes_of_a_live_volume(bank: Bank) -> None:
    """What was written is data at once, applied or not; what was discarded is a hole once the site has applied it."""
    bank.running.stop_site("tokyo")
    with bank.opened() as client:
        assert client.status(0, 16384) == [(8192, HOLE), (8192, 0)]
        client.write(20000, b"x" * 100)
        client.zero(8192, 4096)
        assert client.status(0, 32768) == [(8192, HOLE), (8192, 0), (3616, HOLE), (100, 0), (12668, HOLE)]
        applied = [(12288, HOLE), (8192, 0), (12288, HOLE)]
        bank.running.site("tokyo")
        assert wait_until(lambda: client.status(0, 32768) == applied, 60), client.status(0, 32768)


def test_disconnecting_ends_in_order(bank: Bank) -> None:
    """Every command that was sent before is carried out and answered."""
    with bank.opened() as client:
        cookies = {client.request(WRITE, 512 * index, 512, bytes([index]) * 512) for index in range(1, 60)}
        client.request(DISC)
        assert {client.answer().cookie for _ in cookies} == cookies
        assert client.left()
    with bank.opened() as client:
        assert client.read(512, 59 * 512) == b"".join(bytes([index]) * 512 for index in range(1, 60))


def test_answers_come_as_commands_are_done(bank: Bank) -> None:
    """A read that waits for its site holds up no other command of its connection."""
    bank.group.create_volume("other", SIZE)
    bank.group.flush(applied_at=1, sites=["tokyo"])
    bank.running.stop_site("tokyo")
    bank.group.copy_volume("ledger", "other")  # what that holds now, the site alone will know
    with bank.opened("other") as client:
        first = client.request(READ, 8192, 4)
        second = client.request(WRITE, 0, 3, b"abc")
        assert client.answer().cookie == second
        bank.running.site("tokyo")
        answer = client.answer()
        assert (answer.cookie, answer.data) == (first, COPIED[:4])

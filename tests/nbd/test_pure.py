"""What needs no server: extents, addresses, budgets, names in URIs."""

import asyncio
import os
import stat
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.nbd.address import TcpAddress, UnixAddress, default_socket, parse_address
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.extents import extents, parts
from tidelog.gateways.nbd.security import HAS_PSK, certified, keyed
from tidelog.gateways.nbd.wire import STRING_BYTES_MAX, error_chunk
from tidelog.schemas.chain import origin
from tidelog.stores.presence import Presence

BLOCK, BLOCKS = 8, 20


@given(
    held=st.sets(st.integers(0, BLOCKS - 1)),
    end=st.integers(1, BLOCKS),
    place=st.tuples(st.integers(0, BLOCK * BLOCKS - 1), st.integers(1, BLOCK * BLOCKS)),
    written=st.lists(st.tuples(st.integers(0, BLOCK * BLOCKS - 1), st.integers(0, 30)), max_size=4),
)
def test_extents_tell_of_every_byte(
    held: set[int], end: int, place: tuple[int, int], written: list[tuple[int, int]]
) -> None:
    """From the offset on without a gap, none empty, no two alike side by side, up to where it was looked."""
    offset, length = place[0], min(place[1], BLOCK * BLOCKS - place[0])
    if end * BLOCK <= offset:
        end = offset // BLOCK + 1
    runs = [(block, block + 1) for block in sorted(held) if block < end]
    found = extents(Presence(end, runs, origin("")), BLOCK, offset, length, written)
    told = [extent.hole for extent in found for _ in range(extent.length)]
    assert all(extent.length > 0 for extent in found)
    assert all(first.hole != second.hole for first, second in pairwise(found))
    assert len(told) == min(length, end * BLOCK - offset) > 0
    for index, hole in enumerate(told):
        at = offset + index
        data = at // BLOCK in held or any(start <= at < start + count for start, count in written)
        assert hole is not data


@given(
    spans=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), max_size=12),
    place=st.tuples(st.integers(0, 200), st.integers(1, 100)),
    gap=st.integers(0, 20),
    most=st.integers(1, 5),
)
def test_parts_of_an_extent(spans: list[tuple[int, int]], place: tuple[int, int], gap: int, most: int) -> None:
    """They hold what the spans have of it, are few, apart by a gap, and end with something; where there is room for
    more, no gap is inside, and else none that is wider than one that is not."""
    start, end = place[0], sum(place)
    wanted = {at for low, count in spans for at in range(low, low + count) if start <= at < end}
    found = parts([(low, low + count) for low, count in spans], start, end, gap, most)
    held = {at for low, high in found for at in range(low, high)}
    assert len(found) <= most and wanted <= held
    assert all(low in wanted and high - 1 in wanted for low, high in found)
    outside = [after[0] - before[1] for before, after in pairwise(found)]
    assert all(width >= max(gap, 1) for width in outside)
    inside = [
        after - before - 1 for before, after in pairwise(sorted(wanted)) if after > before + 1 and before + 1 in held
    ]
    assert max(inside, default=0) <= (max(gap - 1, 0) if len(found) < most else min([*outside, 1000]))


@pytest.mark.parametrize(
    ("text", "host", "port", "local"),
    [
        ("127.0.0.1:5", "127.0.0.1", 5, True),
        ("localhost", "localhost", 10809, True),
        ("[::1]:7", "::1", 7, True),
        ("[::1]", "::1", 10809, True),
        ("127.9.9.9", "127.9.9.9", 10809, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("[::]:1", "::", 1, False),
        ("tokyo.example:1", "tokyo.example", 1, False),
        ("192.168.1.1", "192.168.1.1", 10809, False),
    ],
)
def test_addresses(text: str, host: str, port: int, local: bool) -> None:
    found = parse_address(text)
    assert (found.host, found.port, found.is_local) == (host, port, local)


@pytest.mark.parametrize("text", ["", ":1", "host:", "host:x", "host:65536", "host:-1", "[]:1"])
def test_what_no_address_is(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


def test_uris() -> None:
    socket_of = UnixAddress(Path("/run/a b.nbd"))
    assert socket_of.uri("ledger@clone:drill") == "nbd+unix:///ledger@clone:drill?socket=/run/a%20b.nbd"
    assert socket_of.uri("ledger@#7", tls=True) == "nbds+unix:///ledger@%237?socket=/run/a%20b.nbd"
    assert TcpAddress("::1", 5).uri("ledger") == "nbd://[::1]:5/ledger"


def test_a_socket_is_the_users_own(tmp_path: Path) -> None:
    """One that a killed server has left is taken over; one that answers, and what is no socket, is not."""
    address = UnixAddress(tmp_path / "nbd.sock")
    address.listen().socket.close()  # as a killed one: its name stays behind
    listening = address.listen()
    assert stat.S_IMODE(address.path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="a server listens"):
        address.listen()
    listening.close()
    assert not address.path.exists()
    next_one = address.listen()
    listening.close()  # what it had is another one's now
    assert address.path.is_socket()
    next_one.close()
    address.path.write_text("precious")
    with pytest.raises(UsageError, match="no socket"):
        address.listen()
    assert address.path.read_text() == "precious"
    with pytest.raises(UsageError, match="too long"):
        UnixAddress(tmp_path / ("x" * 100)).listen()
    with pytest.raises(UsageError, match="no folder"):
        UnixAddress(tmp_path / "no" / "nbd.sock").listen()


def test_the_default_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the session's own folder, else in one under the temporary folder that must be this user's alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_socket("bank", "tokyo").path == tmp_path / "tidelog" / "bank-tokyo.nbd"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"tidelog-{os.getuid()}"
    assert default_socket("bank", "tokyo").path.parent == folder
    folder.chmod(0o755)
    with pytest.raises(UsageError, match="alone"):
        default_socket("bank", "tokyo")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UsageError):
        default_socket("bank", "tokyo")


def test_a_budget_is_kept_in_turn() -> None:
    """Who comes later does not get in front of who waits for much; who gives up makes way."""

    async def scenario() -> None:
        budget, order = Budget(10), []

        async def want(name: str, count: int) -> None:
            await budget.take(count)
            order.append(name)

        await budget.take(8)
        large, small = (asyncio.ensure_future(want(*one)) for one in (("large", 9), ("small", 1)))
        await asyncio.sleep(0)
        assert order == [] and budget.left == 2
        budget.give(8)
        await asyncio.gather(large, small)
        assert order == ["large", "small"] and budget.left == 0
        waits, behind = (asyncio.ensure_future(want(*one)) for one in (("waits", 5), ("behind", 1)))
        await asyncio.sleep(0)
        budget.give(2)
        waits.cancel()
        await asyncio.wait([waits, behind])
        assert order[2:] == ["behind"] and budget.left == 1

    asyncio.run(scenario())


def test_a_message_that_is_too_long_is_cut_between_characters() -> None:
    chunk = error_chunk(1, 5, "€" * 2000)
    length = int.from_bytes(chunk[24:26])
    assert STRING_BYTES_MAX - 3 < length <= STRING_BYTES_MAX
    assert chunk[26:].decode() == "€" * (length // 3)


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        certified(tmp_path)
    for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(ConfigError, match="cannot be used"):
        certified(tmp_path)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """Where Python cannot do it at all, that is said first, with what to do instead."""
    file = tmp_path / "keys.psk"
    if not HAS_PSK:
        with pytest.raises(UsageError, match=r"Python 3\.13") as refused:
            keyed(file)
        assert "--tls-certificates" in refused.value.hint
        return
    for text in (None, "", "alice", "alice:", "alice:xy", ":00"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(ConfigError):
            keyed(file)

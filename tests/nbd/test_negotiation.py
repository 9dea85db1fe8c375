"""Each option of the negotiation, right and wrong."""

import struct

import pytest

from tests.nbd.client import (
    ABORT,
    ACK,
    CONTEXT,
    EXPORT_NAME,
    GO,
    INFO,
    INFO_REPLY,
    INVALID,
    LIST,
    LIST_CONTEXTS,
    POLICY,
    SERVER,
    SET_CONTEXTS,
    STARTTLS,
    STATUS,
    STRUCTURED,
    UNKNOWN,
    UNSUP,
    Client,
    chosen_data,
    contexts_data,
    string,
)
from tests.nbd.conftest import SIZE, Bank

WRITABLE = 0b1001_0110_1101  # flags, flush, FUA, trim, zeroes, several connections, fast zero
READ_ONLY = 0b0001_0000_0011
DF = 0b1000_0000


def names(client: Client) -> list[str]:
    *servers, last = client.option(LIST)
    assert last == (ACK, b"") and all(kind == SERVER for kind, _ in servers)
    return [data[4 : 4 + int.from_bytes(data[:4])].decode() for _, data in servers]


def test_what_is_listed_is_there_now(bank: Bank) -> None:
    """Copies, clones and volumes that come while a server runs, and while a connection waits, are there at once."""
    with bank.connect() as client:
        assert names(client) == ["ledger", "ledger@nightly", "ledger@clone:drill"]
        bank.group.create_volume("journal", "64KiB")
        bank.group.mark("noon").wait(sites=["tokyo"])
        there = ["ledger", "journal", "ledger@nightly", "ledger@noon", "journal@noon", "ledger@clone:drill"]
        assert names(client) == there
        for name in there:
            with bank.opened(name) as other:
                assert other.size == (65536 if name.startswith("journal") else SIZE)
        site = bank.running.site("tokyo").group("bank")
        site.drop_clone("drill")
        bank.group.drop_copy("nightly")
        assert site.wait_until(bank.group.session.confirmed.sequence)
        assert names(client) == ["ledger", "journal", "ledger@noon", "journal@noon"]


@pytest.mark.parametrize(
    ("name", "flags"), [("ledger", WRITABLE), ("ledger@nightly", READ_ONLY), ("ledger@clone:drill", WRITABLE)]
)
def test_what_is_told_of_an_export(bank: Bank, name: str, flags: int) -> None:
    """By INFO and by GO the same: size, flags, name, description, block sizes as asked for; more than once is no
    matter. DF is told only where replies are structured."""
    with bank.connect() as client:
        for option in (INFO, INFO, GO):
            if option == GO:
                assert client.option(STRUCTURED) == [(ACK, b"")]
                flags |= DF
            *infos, last = client.option(option, chosen_data(name, 1, 2, 3, 77))
            assert last == (ACK, b"") and all(kind == INFO_REPLY for kind, _ in infos)
            export, named, described, sizes = (data for _, data in infos)
            assert export == struct.pack(">HQH", 0, SIZE, flags)
            assert named == b"\0\1" + name.encode()
            assert described.startswith(b"\0\2volume ledger ")
            assert sizes == struct.pack(">HIII", 3, 1, 4096, 32 << 20)


def test_without_wishes_only_the_export_is_told(bank: Bank) -> None:
    with bank.connect() as client:
        assert [data[:2] for _, data in client.option(INFO, chosen_data("ledger"))] == [b"\0\0", b""]


@pytest.mark.parametrize(
    "name", ["", "nothing", "ledger@nothing", "nothing@nightly", "ledger@clone:nothing", "ledger@#99", "@", "ledger@"]
)
def test_what_is_not_there_is_said_and_another_can_be_chosen(bank: Bank, name: str) -> None:
    with bank.connect() as client:
        for option in (INFO, GO):
            ((kind, why),) = client.option(option, chosen_data(name))
            assert kind == UNKNOWN and why
        assert client.go("ledger").size == SIZE


def test_a_copy_by_its_sequence(bank: Bank) -> None:
    (copy,) = bank.running.site("tokyo").group("bank").copies()
    with bank.opened(f"ledger@#{copy.sequence}") as client, bank.opened("ledger@nightly") as same:
        assert client.read(0, SIZE) == same.read(0, SIZE)


@pytest.mark.parametrize(("flags", "padding"), [(1, 124), (3, 0)])
def test_an_export_by_the_old_option(bank: Bank, flags: int, padding: int) -> None:
    with bank.connect(flags=flags) as client:
        client.send_option(EXPORT_NAME, b"ledger")
        assert client.receive(10 + padding) == struct.pack(">QH", SIZE, WRITABLE) + bytes(padding)
        client.write(0, b"old")
        assert client.read(0, 3) == b"old"


@pytest.mark.parametrize("name", [b"", b"nothing", b"\xff", b"a" * 5000])
def test_the_old_option_cannot_be_answered_with_an_error(bank: Bank, name: bytes) -> None:
    with bank.connect() as client:
        client.send_option(EXPORT_NAME, name)
        assert client.left()
    with bank.opened() as client:
        assert client.read(0, 1) == b"\0"


def test_to_abort_is_acknowledged(bank: Bank) -> None:
    with bank.connect() as client:
        assert client.option(ABORT, b"ignored") == [(ACK, b"")]
        assert client.left()


@pytest.mark.parametrize("option", [0, 4, 11, 12345, 0xFFFFFFFF])
def test_an_unknown_option_is_skipped_with_its_data(bank: Bank, option: int) -> None:
    with bank.connect() as client:
        assert client.option(option, b"x" * 60000) == [(UNSUP, b"")]
        assert client.option(option) == [(UNSUP, b"")]
        assert client.go().size == SIZE


def test_contexts(bank: Bank) -> None:
    """One there is; a wildcard lists it and does not select it; unknown ones are ignored."""
    full = [(CONTEXT, b"\0\0\0\0base:allocation"), (ACK, b"")]
    one = [(CONTEXT, b"\0\0\0\1base:allocation"), (ACK, b"")]
    none = [(ACK, b"")]
    with bank.connect() as client:
        for option in (LIST_CONTEXTS, SET_CONTEXTS):
            assert client.option(option, contexts_data("ledger", "base:allocation"))[-1][0] == INVALID
        assert client.option(STRUCTURED) == none
        for queries, listed, selected in (
            ((), full, none),
            (("base:",), full, none),
            (("base:allocation",), full, one),
            (("qemu:dirty-bitmap:x", "base:allocation", "base:allocation"), full, one),
            (("base:nothing", "x-mine:all"), none, none),
        ):
            assert client.option(LIST_CONTEXTS, contexts_data("ledger", *queries)) == listed
            assert client.option(SET_CONTEXTS, contexts_data("ledger", *queries)) == selected


@pytest.mark.parametrize(
    ("first", "second", "holds"),
    [
        (("ledger", "base:allocation"), None, True),
        (("ledger@nightly", "base:allocation"), None, False),  # another export
        (("ledger", "base:allocation"), contexts_data("ledger"), False),  # selected, and then no more
        (("ledger", "base:allocation"), b"nonsense", False),  # a failure selects nothing, too
    ],
)
def test_the_context_is_the_last_one_that_was_selected(
    bank: Bank, first: tuple[str, ...], second: bytes | None, holds: bool
) -> None:
    with bank.connect() as client:
        client.option(STRUCTURED)
        client.option(SET_CONTEXTS, contexts_data(*first))
        if second is not None:
            client.option(SET_CONTEXTS, second)
        client.structured = True
        assert client.option(GO, chosen_data("ledger"))[-1] == (ACK, b"")
        answer = client.call(STATUS, 0, 4096)
        assert (answer.error == 0) is holds and (holds or answer.error == 22)


@pytest.mark.parametrize(
    ("option", "data"),
    [
        (LIST, b"x"),
        (STRUCTURED, b"x"),
        (STARTTLS, b"x"),
        (INFO, b""),
        (INFO, chosen_data("ledger")[:-1]),
        (GO, chosen_data("ledger") + b"x"),
        (GO, string("ledger") + b"\0\5\0\1"),
        (GO, (1 << 31).to_bytes(4) + b"ledger"),
        (GO, string(b"\xff\xfe") + b"\0\0"),
        (GO, string("led\0ger") + b"\0\0"),
        (GO, string("a" * 4097) + b"\0\0"),
        (LIST_CONTEXTS, b"\0"),
        (LIST_CONTEXTS, string("ledger") + b"\xff\xff\xff\xff"),
        (LIST_CONTEXTS, contexts_data("ledger", "nocolon")),
        (SET_CONTEXTS, contexts_data("ledger", "base:allocation") + b"x"),
        (SET_CONTEXTS, contexts_data("ledger", "a:" + "b" * 4096)),
    ],
)
def test_data_that_an_option_cannot_have(bank: Bank, option: int, data: bytes) -> None:
    """Is answered, and the negotiation goes on."""
    with bank.connect() as client:
        if option in (LIST_CONTEXTS, SET_CONTEXTS):
            client.option(STRUCTURED)
        ((kind, why),) = client.option(option, data)
        assert kind == INVALID and why
        assert client.go().size == SIZE


def test_no_tls_without_a_certificate(bank: Bank) -> None:
    with bank.connect() as client:
        assert client.option(STARTTLS)[0][0] == POLICY
        assert client.go().size == SIZE


def test_a_copy_is_held_while_a_client_reads_it(bank: Bank) -> None:
    """Dropped meanwhile it reads on, and is gone once the last client is."""
    site = bank.running.site("tokyo").group("bank")
    site.drop_clone("drill")  # it would hold the copy, too
    with bank.opened("ledger@nightly") as client, bank.opened() as live:
        before = client.read(0, SIZE)
        live.write(0, b"x" * SIZE)
        bank.group.drop_copy("nightly")
        assert site.wait_until(bank.group.session.confirmed.sequence)
        assert client.read(0, SIZE) == before and before != b"x" * SIZE
    with bank.connect() as client, pytest.raises(LookupError):
        client.go("ledger@nightly")

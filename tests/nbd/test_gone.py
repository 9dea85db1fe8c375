"""A live volume that is deleted, or made smaller, under an open export: errors, and never a hole to be copied."""

from collections.abc import Callable

import pytest

from tests.nbd.client import EINVAL, EIO, ENOSPC, READ, STATUS, TRIM, WRITE, ZEROES
from tests.nbd.conftest import SIZE, Bank
from tidelog.gateways.nbd.catalogue import Catalogue
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.clones import Clones
from tidelog.stores.image import Store
from tidelog.stores.presence import Presence
from tidelog.stores.store import Clone, Copy

SMALLER = 65536


def _deleted(bank: Bank) -> None:
    bank.group.delete_volume("ledger")
    bank.group.flush(applied_at=1, sites=["tokyo"])


def _shrunk(bank: Bank) -> None:
    bank.group.volume("ledger").resize(SMALLER)
    bank.group.flush(applied_at=1, sites=["tokyo"])


def test_a_deleted_volume(bank: Bank) -> None:
    """Every command that asks for its bytes, or gives it some, fails with EIO; also a write too large for the loop."""
    with bank.opened() as client:
        _deleted(bank)
        for command in (READ, STATUS, TRIM, ZEROES):
            assert client.call(command, 0, SMALLER).error == EIO, command
        for length in (4096, SMALLER + 1):
            answer = client.call(WRITE, 0, length, b"x" * length)
            assert answer.error == EIO and b"deleted" in answer.data


def test_a_volume_made_smaller(bank: Bank) -> None:
    """What is beyond its end is gone: that is told, and what is within is served."""
    with bank.opened() as client:
        _shrunk(bank)
        assert client.call(STATUS, 0, SIZE).error == client.call(READ, 0, SIZE).error == EINVAL
        assert client.call(WRITE, SMALLER - 1, 2, b"xx").error == ENOSPC
        assert sum(length for length, _ in client.status(0, SMALLER)) == SMALLER
        assert client.status(8192, 8192) == [(8192, 0)]


@pytest.mark.parametrize(("change", "error"), [(_deleted, EIO), (_shrunk, EINVAL)])
def test_during_the_look(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, change: Callable[[Bank], None], error: int
) -> None:
    """The store is asked of a volume that is there, and has let go of it when it answers."""
    asked = Store.presence

    def presence(self: Store, volume: VolumeInfo, first: int, end: int, copy: Copy | None = None) -> Presence:
        change(bank)
        return asked(self, volume, first, end, copy)

    with bank.opened() as client:
        monkeypatch.setattr(Store, "presence", presence)
        assert client.call(STATUS, 0, SIZE).error == error


def test_a_clone_that_is_dropped(bank: Bank) -> None:
    """Nobody is asked who has it open: each command fails from then on, one that is made under its name is another, and
    the server serves on."""
    site = bank.running.site("tokyo").group("bank")
    with bank.opened("ledger@clone:drill") as client:
        client.write(0, b"before")
        site.drop_clone("drill")
        for made_again in (False, True):
            for command in (READ, STATUS, TRIM, ZEROES):
                answer = client.call(command, 0, 4096)
                assert answer.error == EIO and b"drill" in answer.data, command
            assert client.call(WRITE, 0, 5, b"after").error == EIO
            if not made_again:
                with bank.connect() as late, pytest.raises(LookupError):
                    late.go("ledger@clone:drill")
                site.create_clone("nightly", "drill")
        with bank.opened("ledger@clone:drill") as other:
            assert other.read(0, 6) == bytes(6)
        assert client.call(READ, 0, 4096).error == EIO


def test_a_clone_that_is_made_during_a_look_at_all(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not among those that were looked at, and is not taken for one that is gone."""
    catalogue = Catalogue(bank.running.deployment, "bank", "tokyo", None)
    closed: list[CloneImage] = []
    asked, made = Clones.all, list[str]()
    site = bank.running.site("tokyo").group("bank")

    def every(clones: Clones) -> list[Clone]:
        found = asked(clones)
        monkeypatch.setattr(Clones, "all", asked)  # what follows is no part of the look
        made.append(f"new-{len(made)}")
        site.create_clone("nightly", made[-1])
        catalogue.open(f"ledger@clone:{made[-1]}")
        monkeypatch.setattr(Clones, "all", every)
        return found

    monkeypatch.setattr(Clones, "all", every)
    monkeypatch.setattr(CloneImage, "close", closed.append)
    catalogue.open("ledger@clone:drill")
    assert made and not closed
    monkeypatch.undo()
    catalogue.close()

"""A writer's reads through its site, and a site's own reads: which sequence they stand at, and what is missing."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from tests.consumers.conftest import KIB, Lab, until, written
from tidelog.consumers.access import open_site
from tidelog.consumers.read_side import SiteReadSide
from tidelog.errors import LogUnavailable, NotFound, OutOfBounds, SiteBehind, StoreUnavailable
from tidelog.producers import volume as volume_module
from tidelog.producers.follower import Follower
from tidelog.producers.group import Group
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo


@pytest.fixture(autouse=True)
def _wait_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty seconds is long for a test that expects the end of them."""
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.3)


def test_before_the_store_exists(lab: Lab) -> None:
    """No worker has ever run at the site: what this session made and wrote is read all the same."""
    group = lab.group("osaka")
    volume = group.create_volume("v", 20 * KIB)
    volume.write(100, b"unsent")
    assert volume.read(98, 10) == b"\0\0unsent\0\0"
    group.flush()
    volume.discard(101, 2)
    assert volume.read(98, 10) == b"\0\0u\0\0ent\0\0"


def test_what_an_earlier_session_wrote_needs_the_site(lab: Lab) -> None:
    """While the site has not got there, the read says who is behind; then it reads."""
    written(lab.group("osaka")).close()
    group = lab.group("osaka")
    volume = next(group.volumes())
    with pytest.raises(SiteBehind) as told:
        volume.read(0, 10)
    assert "site run" in told.value.hint
    lab.replica("osaka")
    lab.caught_up("osaka")
    reference = lab.reference().volumes[volume.id]
    assert volume.read(0, 20 * KIB) == reference.data


@pytest.mark.parametrize("stopped", [True, False])
def test_own_writes_over_a_site_that_lags(lab: Lab, stopped: bool) -> None:
    """The site has some of it, or keeps applying: every read is what was written."""
    group = lab.group("osaka")
    volume = group.create_volume("v", 20 * KIB, block_size=512)
    model = bytearray(20 * KIB)
    replica = lab.replica("osaka")
    for turn in range(60):
        data = bytes([turn + 1]) * (turn * 37 % 1500 + 1)
        offset = turn * 611 % (20 * KIB - len(data))
        volume.write(offset, data)
        model[offset : offset + len(data)] = data
        if turn % 7 == 0:
            group.flush()
        if turn == 20:
            lab.caught_up("osaka")
            if stopped:
                replica.stop()
        assert volume.read(0, 20 * KIB) == model


def test_after_a_resize_that_the_site_has_not_seen(lab: Lab) -> None:
    """Shrunk, grown, shrunk and grown: the site is at any of these, and each read is right."""
    group = lab.group("osaka")
    volume = group.create_volume("v", 10 * KIB, block_size=512)
    volume.write(0, b"x" * 10 * KIB)
    replica = lab.replica("osaka")
    group.flush()
    lab.caught_up("osaka")
    replica.stop()
    volume.resize(100)
    assert volume.read(0, 100) == b"x" * 100
    with pytest.raises(OutOfBounds):
        volume.read(0, 101)
    volume.resize(30 * KIB)
    assert volume.read(0, 30 * KIB) == b"x" * 100 + bytes(30 * KIB - 100)
    volume.write(20 * KIB, b"new")
    assert volume.read(20 * KIB - 2, 6) == b"\0\0new\0"
    lab.replica("osaka")
    group.flush()
    lab.caught_up("osaka")
    assert volume.read(0, 30 * KIB) == lab.reference().volumes[volume.id].data
    volume.resize(50)
    assert volume.read(0, 50) == b"x" * 50


def test_a_volume_made_anew_under_the_same_name(lab: Lab) -> None:
    """The site still has the old one of that name; the new one is zeros."""
    group = lab.group("osaka")
    old = group.create_volume("v", KIB)
    old.write(0, b"old")
    replica = lab.replica("osaka")
    group.flush()
    lab.caught_up("osaka")
    replica.stop()
    assert old.read(0, 3) == b"old"
    group.delete_volume("v")
    new = group.create_volume("v", KIB)
    assert new.read(0, 3) == bytes(3)
    with pytest.raises(NotFound):
        old.read(0, 3)


class Moving:
    """A store that changes between two questions, as a site that applies does."""

    def __init__(self, store: Any, on_volumes: Callable[[], None]) -> None:
        self._store, self._on_volumes = store, on_volumes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def volumes(self) -> list[VolumeInfo]:
        found = self._store.volumes()
        self._on_volumes()
        return found  # type: ignore[no-any-return]


def lagging(lab: Lab) -> tuple[Group, Any]:
    """A group whose site has a volume of 10 KiB of x and is stopped there."""
    group = lab.group("osaka")
    volume = group.create_volume("v", 10 * KIB, block_size=512)
    volume.write(0, b"x" * 10 * KIB)
    group.flush()
    replica = lab.replica("osaka")
    lab.caught_up("osaka")
    replica.stop()
    return group, volume


def test_the_site_shrinks_the_volume_while_it_is_read(lab: Lab) -> None:
    """Between the volume table and the bytes: asked again, not told to a caller whose own volume is large enough."""
    group, volume = lagging(lab)
    volume.resize(KIB)
    shrunk = group.session.confirmed.offset + 1
    volume.resize(10 * KIB)
    side = SiteReadSide(lab.deployment, "osaka", "bank")
    moved: list[int] = []

    def apply_the_shrink() -> None:
        if not moved:
            moved.append(1)
            store = lab.store("osaka")
            follower = Follower(lab.log, lab.codec, store.position().head)
            with store.applier(lab.log.cluster_id) as applier:
                for record in lab.log._records[follower.head.next_offset : shrunk]:
                    event = follower.take(record)
                    assert event is not None
                    applier.submit([(event, record.offset)])
                applier.settle()
            assert store.volumes()[0].size == KIB

    side._store = Moving(lab.store("osaka"), apply_the_shrink)  # type: ignore[assignment]
    group.read_side = side
    assert volume.read(0, 10 * KIB) == b"x" * KIB + bytes(9 * KIB)
    assert moved


def test_a_volume_that_never_stands_still(lab: Lab) -> None:
    """Bounded tries, then an error that says so."""
    group, volume = lagging(lab)
    side = SiteReadSide(lab.deployment, "osaka", "bank")
    store = Moving(lab.store("osaka"), lambda: None)

    def read_live(info: VolumeInfo, *_: int) -> tuple[bytes, Head]:
        raise OutOfBounds(f"{info.name} is smaller by now")

    store.read_live = read_live
    side._store = store  # type: ignore[assignment]
    group.read_side = side
    with pytest.raises(StoreUnavailable, match="changes its size"):
        volume.read(0, 10)


def test_the_site_goes_back_while_it_is_read(lab: Lab) -> None:
    """Between the position and the bytes Redis loses its tail: the bytes count as old as they are."""
    group = lab.group("osaka")
    volume = group.create_volume("v", KIB)
    replica = lab.replica("osaka")
    lab.caught_up("osaka")
    before = lab.keyspace("osaka").snapshot()
    volume.write(0, b"new")
    group.flush()
    lab.caught_up("osaka")
    replica.stop()
    side = SiteReadSide(lab.deployment, "osaka", "bank")
    side._store = Moving(lab.store("osaka"), lambda: lab.keyspace("osaka").restore(before))  # type: ignore[assignment]
    group.read_side = side
    assert volume.read(0, 3) == b"new"


def test_a_site_that_is_away(lab: Lab) -> None:
    """Redis does not answer: the read says so; writing goes on."""
    group, volume = lagging(lab)
    keyspace = lab.keyspace("osaka")
    real = keyspace.transact

    def away(_commands: object) -> list:
        raise StoreUnavailable("Redis does not answer")

    keyspace.transact = away  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreUnavailable):
        volume.read(0, 1)
    volume.write(0, b"y")
    group.flush()
    keyspace.transact = real  # type: ignore[method-assign]
    assert volume.read(0, 2) == b"yx"


def test_opening_from_what_the_site_vouches_for(lab: Lab) -> None:
    """A log trimmed up to the site's head is opened from there, with its volumes and copies; without the site not."""
    group = written(lab.group("osaka"))
    replica = lab.replica("osaka")
    lab.caught_up("osaka")
    names = [volume.name for volume in group.volumes()]
    copy = next(iter(lab.reference().copies.values()))
    group.close()
    lab.log.trim(group.session.confirmed.offset)
    again = lab.group("osaka")
    assert [volume.name for volume in again.volumes()] == names
    assert again.session.state.copy(copy.name).seal == copy.seal and replica.running
    volume = next(again.volumes())
    until(lambda: lab.store("osaka").position().head == again.session.confirmed, "the opening applied")
    volume.write(0, b"further")
    assert volume.read(0, 7) == b"further"
    with pytest.raises(Exception, match="begins at offset"):
        lab.group("london")


def test_a_site_for_reading(lab: Lab) -> None:
    """Position, RPO, volumes and copies, and nothing of it fences the writer."""
    group = written(lab.group())
    volume = next(group.volumes())
    lab.worker("london")
    lab.caught_up("london")
    with open_site("london", deployment=lab.deployment) as site:
        there = site.group("bank")
        assert there.position.head == group.session.confirmed
        assert 0 <= there.rpo < 60 and not there.rebuilding
        reference = lab.reference()
        assert [copy.sequence for copy in there.copies()] == list(reference.copies)
        copy, cut = there.copies()[-1], list(reference.copies.values())[-1]
        assert there.copy(cut.name).digest() == copy.digest() == cut.digest
        name, _, content = cut.volumes[volume.id]
        assert copy.volume(name).read(0, 20 * KIB) == content == copy.volume(name).open().read()
        assert there.volume(name).read(0, 20 * KIB) == reference.volumes[volume.id].data
        assert there.wait_until(group.session.confirmed.sequence) and not there.wait_until(10_000, timeout=0.05)
        for call in (lambda: there.copy("none"), lambda: there.volume("none"), lambda: copy.volume("none")):
            with pytest.raises(NotFound):
                call()
    with open_site("osaka", deployment=lab.deployment) as site, pytest.raises(NotFound, match="has no store"):
        site.group("bank")
    with pytest.raises(NotFound, match="no site 'paris'"):
        open_site("paris", deployment=lab.deployment)
    group.mark("still-the-writer")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), LogUnavailable("down")])
def test_an_opening_that_is_cut_short_lets_go_of_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    """The log and the read side are closed on Ctrl-C as on an error, which then names the group."""
    closed = []
    monkeypatch.setattr(MemoryLog, "close", lambda _: closed.append("log"))
    monkeypatch.setattr(SiteReadSide, "close", lambda _: closed.append("read side"))
    monkeypatch.setattr("tidelog.consumers.access.open_session", Mock(side_effect=interruption))
    with pytest.raises(type(interruption)) as told:
        lab.group("osaka")
    assert sorted(closed) == ["log", "read side"]
    assert getattr(told.value, "group", "bank") == "bank"

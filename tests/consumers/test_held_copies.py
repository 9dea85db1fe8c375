"""Work volumes and clones through the library: files on them, and what holds a copy for how long."""

import errno
import gc
import io

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tidelog.consumers.access import open_site
from tidelog.consumers.site_view import SiteGroup
from tidelog.errors import AlreadyExists, NotFound, OutOfBounds, UsageError
from tidelog.stores.store import HoldKind


@pytest.fixture
def group(lab: Lab) -> SiteGroup:
    """Copies ``one`` and ``two`` at osaka, whose worker runs; what is live is something else."""
    writer = lab.group("osaka")
    volume = writer.create_volume("v", 20 * KIB)
    volume.write(5000, b"as it was")
    writer.mark("one")
    volume.write(5000, b"later")
    writer.mark("two")
    volume.write(0, b"live" * KIB)
    writer.flush()
    lab.replica("osaka")
    lab.caught_up("osaka")
    return open_site("osaka", deployment=lab.deployment).group("bank")


def there(group: SiteGroup) -> list[str]:
    return [copy.name for copy in group._store.copies(dropping=True)]


def drop(group: SiteGroup, name: str) -> None:
    assert group._store.mark_dropping(group.copy(name).info)


def test_an_open_work_volume_reads_on(group: SiteGroup) -> None:
    """Two files on one copy: it goes when the last is closed, and nobody else sees it meanwhile."""
    copy = group.copy("one")
    first, second = copy.volume("v").open(), copy.volume("v").open()
    assert [hold.kind for hold in copy.holds()] == [HoldKind.VOLUME] * 2
    drop(group, "one")
    for call in (lambda: copy.volume("v").read(0, 1), copy.volume("v").open, lambda: group.copy("one")):
        with pytest.raises(NotFound):
            call()
    for file in (first, second):
        assert there(group) == ["one", "two"]
        file.seek(5000)
        assert file.read(9) == b"as it was"
        file.close()
        file.close()
    until(lambda: there(group) == ["two"], "the copy goes when nobody holds it")
    with pytest.raises(ValueError, match="closed file"):
        first.read(1)


def test_a_file_that_nobody_has_any_more_holds_nothing(group: SiteGroup) -> None:
    """Forgotten, not closed."""
    file = io.BufferedReader(group.copy("one").volume("v").open())
    file.seek(5000)
    assert file.read(9) == b"as it was" and group._store.holds()
    del file
    gc.collect()
    until(lambda: not group._store.holds(), "the lease is released")


def test_a_copy_is_held_for_a_block(group: SiteGroup) -> None:
    """Everything that is read through it, digests and files included."""
    with group.copy("one").held() as copy:
        drop(group, "one")
        volume = copy.volume("v")
        assert volume.read(5000, 9) == volume.open().read()[5000:5009] == b"as it was"
        assert copy.digest() and volume.digest() and group.copy("two").diff(copy)[0].blocks.count == 1
        assert there(group) == ["one", "two"]
    with pytest.raises(NotFound):
        copy.volume("v").read(0, 1)
    until(lambda: there(group) == ["two"], "the copy goes")


def test_closing_the_site_lets_go(lab: Lab, group: SiteGroup) -> None:
    """Of what its files still hold."""
    with open_site("osaka", deployment=lab.deployment) as site:
        files = [site.group("bank").copy(name).volume("v").open() for name in ("one", "two")]
        assert len(group._store.holds()) == 2
    assert group._store.holds() == []
    for file in files:
        file.close()


def test_a_file_on_a_clone(group: SiteGroup) -> None:
    """Read and written as any raw file; it ends where the volume does."""
    clone = group.create_clone("one", "drill")
    volume = clone.volume("v")
    with io.BufferedRandom(volume.open()) as file:
        file.seek(5000)
        assert file.read(9) == b"as it was"
        file.seek(5003)
        file.write(b"written")
        file.flush()
        assert volume.read(5000, 10) == b"as written"
    with volume.open() as raw:
        raw.seek(-2, io.SEEK_END)
        assert raw.write(b"abc") == 2
        with pytest.raises(OSError, match="ends at") as full:
            raw.write(b"d")
        assert full.value.errno == errno.ENOSPC
    assert volume.read(20 * KIB - 2, 2) == b"ab"
    with pytest.raises(OutOfBounds):
        volume.read(20 * KIB, 1)
    assert b"".join(volume.stream()) == volume.read(0, 20 * KIB)
    assert volume.diff().changed_bytes == 8 * KIB
    assert group.copy("one").volume("v").read(5000, 9) == b"as it was"


def test_clones_of_a_site(lab: Lab, group: SiteGroup) -> None:
    """Found by name, equal where they are the same, refused where they cannot be."""
    first, second = group.create_clone("one", "a"), group.create_clone("two", "b")
    assert [(clone.name, clone.copy_name) for clone in group.clones()] == [("a", "one"), ("b", "two")]
    other = open_site("osaka", deployment=lab.deployment).group("bank")
    assert other.clone("a") == first != second and len({first, second, *other.clones()}) == 2
    other.clone("a").volume("v").write(0, b"by another")
    assert first.volume("v").read(0, 10) == b"by another"
    assert first.state() == other.clone("a").state() != second.state()
    with pytest.raises(AlreadyExists):
        other.create_clone("two", "a")
    with pytest.raises(UsageError, match="is a clone"):
        group.create_clone("a", "c")
    with pytest.raises(NotFound, match="no volume 'w'"):
        first.volume("w")
    other.drop_clone("a")
    with pytest.raises(NotFound, match="not here any more"):
        first.volume("v").read(0, 1)
    with pytest.raises(NotFound, match="there are: b"):
        group.clone("a")
    assert "'a' of copy 'one'" in repr(first)

"""`archive` in the configuration: what retention does not keep is archived first, and dropped only then."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exports.conftest import ignore
from tests.producers.test_time import Wall
from tidelog.clock import HybridClock, wall_us
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.archive_policy import archive_place
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.errors import TidelogError
from tidelog.gateways.exports import archiving
from tidelog.gateways.exports.archived import open_archive, verify_archive
from tidelog.producers import schedule as schedule_module
from tidelog.producers.archived import archives_of
from tidelog.producers.group import Group
from tidelog.producers.ordering import lead_seconds, order_copy
from tidelog.schemas.control import CopyFormed, SiteStatus, status_key
from tidelog.stores.image import Store
from tidelog.stores.store import CopyOrigin
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka")
QUARTER = 15 * 60_000_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers and workers look as often as they can."""
    monkeypatch.setattr(schedule_module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(schedule_module, "ASK_ARCHIVES_EVERY", 0.05)
    monkeypatch.setattr("tidelog.consumers.archive_policy.LOOK_INTERVALS", 2.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where archives go; the sites' own is beside the group's."""
    for name in ("group", "osaka"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[RunningDeployment]:
    """Group `bank` keeps its last two scheduled copies, osaka its last copy by time; all others are archived."""
    tables = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES}
    tables["osaka"] |= {"keep": {"last": 1}, "archive": str(folder / "osaka")}  # type: ignore[dict-item]
    config = Config(
        sites=tables,
        groups={"bank": {"every": 900, "keep": {"last": 2}, "archive": str(folder / "group")}},
        worker={"status_interval": 0.05},
        writer={"heartbeat": 0.05},
    )
    deployment = MemoryDeployment(config)
    deployment.cluster.create_group("bank")
    with RunningDeployment(deployment) as made:
        yield made


@pytest.fixture
def wall() -> Wall:
    """The writer's clock, at the beginning of a quarter of an hour."""
    now = wall_us()
    return Wall(now - now % QUARTER)


@pytest.fixture
def group(running: RunningDeployment, wall: Wall) -> Iterator[Group]:
    """Open with its schedule, served by both sites."""
    for site in SITES:
        running.wait_for_store(site, "bank")
    with open_group("bank", deployment=running.deployment, clock=HybridClock(wall)) as opened:
        opened.create_volume("v", 64 * 1024)
        yield opened


def quarters(group: Group, wall: Wall, count: int) -> set[str]:
    """So many scheduled copies, each with a write behind it; the names of all that were there at any time."""
    seen: set[str] = set()
    for index in range(count):
        names = {copy.name for copy in group.session.state.copies()}
        wall.now += QUARTER
        made = lambda names=names: {copy.name for copy in group.session.state.copies()} - names  # noqa: E731
        assert wait_until(made, timeout_s=20)
        seen |= names | made()
        group.volume("v").write(index * 4096, bytes([index + 1]) * 5000)
    group.flush()
    return seen


def scheduled(running: RunningDeployment, site: str) -> list[str]:
    store = open_store(running.deployment, site, "bank")
    return [copy.name for copy in store.copies() if copy.origin is CopyOrigin.MARKER]


def test_scheduled_copies_are_archived_before_they_are_dropped(
    running: RunningDeployment, group: Group, wall: Wall, folder: Path
) -> None:
    """Everywhere the last two; the others whole in the archive, each the copy that it was; each of them once."""
    made = quarters(group, wall, 5)
    control = running.deployment.cluster.control
    assert wait_until(lambda: all(len(scheduled(running, site)) == 2 for site in SITES), timeout_s=30)
    records = archives_of(control.snapshot(), "bank")
    assert {record.site for record in records} == {"tokyo"} and len(records) == len(list((folder / "group").iterdir()))
    kept = scheduled(running, "tokyo")
    assert [record.name for record in records] == sorted(made - set(kept)) and len(made) >= 5
    site = running.site("osaka").group("bank")
    for record in records:
        found = verify_archive(record, ignore)
        assert site.copy(record.name).digest() == record.digest
        assert site.copy(record.name).volume("v").read(0, 64 * 1024) == found.read(found.copy.volumes[0], 0, 64 * 1024)
    assert list((folder / "osaka").iterdir()) == []


def test_what_cannot_be_archived_stays(
    running: RunningDeployment, group: Group, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, an export that does not verify: every copy stays at every site and the site says why; it goes on
    by itself."""
    write = archiving.write_export
    attempts: list[str] = []

    def full(*_: object) -> None:
        attempts.append("tried")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archiving, "write_export", full)
    quarters(group, wall, 4)
    control = running.deployment.cluster.control

    def reason() -> str:
        status = control.snapshot().get(status_key("bank", "tokyo"))
        return status.reason if isinstance(status, SiteStatus) else ""

    assert wait_until(lambda: "No space left" in reason() and len(attempts) > 2, timeout_s=20)
    assert len(scheduled(running, "tokyo")) == len(scheduled(running, "osaka")) >= 4
    assert archives_of(control.snapshot(), "bank") == []
    monkeypatch.setattr(archiving, "write_export", write)
    assert wait_until(lambda: all(len(scheduled(running, site)) == 2 for site in SITES), timeout_s=30)
    assert wait_until(lambda: reason() == "", timeout_s=20)


def test_a_copy_that_differs_between_the_sites_stays_at_both(
    running: RunningDeployment, group: Group, wall: Wall, folder: Path
) -> None:
    """It is not archived, nor dropped anywhere, and the status says so; those behind it, which are alike, go on."""
    control = running.deployment.cluster.control
    quarters(group, wall, 1)
    bad = group.session.state.copies()[-1].name

    def receipt() -> CopyFormed | None:
        records = (record for record in control.snapshot().values() if isinstance(record, CopyFormed))
        return next((record for record in records if (record.name, record.site) == (bad, "osaka")), None)

    assert wait_until(receipt, timeout_s=20)
    told = receipt()
    assert told is not None
    control.publish(told.model_copy(update={"digest": b"x" * 16}))
    quarters(group, wall, 5)
    stays = [bad, *(copy.name for copy in group.session.state.copies()[-2:])]
    assert wait_until(lambda: all(scheduled(running, site) == stays for site in SITES), timeout_s=30)

    def reason() -> str:
        status = control.snapshot().get(status_key("bank", "tokyo"))
        return status.reason if isinstance(status, SiteStatus) else ""

    assert wait_until(lambda: f"copy {bad} (" in reason() and "differs: osaka" in reason(), timeout_s=20)
    archived = [record.name for record in archives_of(control.snapshot(), "bank")]
    assert len(archived) >= 3 and bad not in archived and len(list((folder / "group").iterdir())) == len(archived)


def test_a_copy_that_no_other_site_has_yet_is_tried_again(
    running: RunningDeployment, group: Group, wall: Wall, folder: Path
) -> None:
    """While osaka is down nothing is archived on tokyo's word alone; when it is there again, all of it is."""
    running.stop_site("osaka")
    before = set(scheduled(running, "osaka"))
    made = quarters(group, wall, 4) - before
    control = running.deployment.cluster.control

    def reason() -> str:
        status = control.snapshot().get(status_key("bank", "tokyo"))
        return status.reason if isinstance(status, SiteStatus) else ""

    assert wait_until(lambda: "osaka have not told" in reason(), timeout_s=20)
    assert made <= set(scheduled(running, "tokyo"))
    assert not made & {record.name for record in archives_of(control.snapshot(), "bank")}
    running.site("osaka")
    assert wait_until(lambda: all(len(scheduled(running, site)) == 2 for site in SITES), timeout_s=30)
    assert wait_until(lambda: reason() == "", timeout_s=20) and list((folder / "group").iterdir())


def timed(store: Store) -> list[str]:
    return [copy.name for copy in store.copies() if copy.origin is CopyOrigin.TIME]


def ordered(running: RunningDeployment, names: tuple[str, ...]) -> None:
    """Copies by time, at both sites."""
    cluster = running.deployment.cluster
    stores = [open_store(running.deployment, site, "bank") for site in SITES]
    for name in names:
        order_copy(cluster, name, ["bank"], wall_us() + round((lead_seconds(cluster) + 0.2) * 1e6))

        def seen(name: str = name) -> bool:
            away = {record.name for record in archives_of(cluster.control.snapshot(), "bank")}
            return name in timed(stores[0]) and (name in timed(stores[1]) or name in away)

        assert wait_until(seen, timeout_s=20), name


def test_a_sites_copies_by_time_are_archived_to_its_own_place(running: RunningDeployment, folder: Path) -> None:
    """At osaka the last one stays; tokyo, which has no retention of its own, keeps them all."""
    for site in SITES:
        running.wait_for_store(site, "bank")
    with open_group("bank", deployment=running.deployment, schedule=False) as opened:
        opened.create_volume("v", 64 * 1024).write(0, b"by time")
        ordered(running, ("a", "b", "c"))
        osaka, tokyo = (open_store(running.deployment, site, "bank") for site in ("osaka", "tokyo"))
        assert wait_until(lambda: timed(osaka) == ["c"], timeout_s=20)
        assert timed(tokyo) == ["a", "b", "c"]
        records = archives_of(running.deployment.cluster.control.snapshot(), "bank")
        assert [(record.site, record.name) for record in records] == [("osaka", "a"), ("osaka", "b")]
        assert {order.name for order in osaka.forgotten_orders()} == {"a", "b"}
        for record in records:
            assert record.place.startswith(str(folder / "osaka"))
            assert open_archive(record).digest(open_archive(record).copy) == tokyo.verify(tokyo.copy(record.name))


def test_a_worker_that_ends_in_the_middle_leaves_nothing_half_done(
    running: RunningDeployment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop during an export it gives that up; the next worker archives the copy, and drops it."""
    publish: Callable[..., object] = archiving.write_export

    def slow(store: Store, copy: object, url: str, since: object, advance: Callable[[int], None]) -> object:
        started.append(url)
        wait_until(lambda: stop.is_set() or not started, timeout_s=20)
        return publish(store, copy, url, since, advance)

    started: list[str] = []
    for site in SITES:
        running.wait_for_store(site, "bank")
    stop = running._workers["osaka"][0]._stopping
    with open_group("bank", deployment=running.deployment, schedule=False) as opened:
        opened.create_volume("v", 64 * 1024).write(0, b"by time")
        monkeypatch.setattr(archiving, "write_export", slow)
        ordered(running, ("a", "b"))
        assert wait_until(lambda: started, timeout_s=20)
        running.stop_site("osaka")
        store = open_store(running.deployment, "osaka", "bank")
        assert timed(store) == ["a", "b"] and list((folder / "osaka").iterdir()) == []
        monkeypatch.setattr(archiving, "write_export", publish)
        running.site("osaka")
        assert wait_until(lambda: timed(store) == ["b"], timeout_s=20)
        assert len(list((folder / "osaka").iterdir())) == 1


def test_which_place(running: RunningDeployment, folder: Path) -> None:
    """A site's own is for its copies by time; the group's is for all others, and for sites that have none."""
    config = running.deployment.config
    assert archive_place(config, "osaka", "bank", CopyOrigin.TIME) == str(folder / "osaka")
    assert archive_place(config, "osaka", "bank", CopyOrigin.MARKER) == str(folder / "group")
    assert archive_place(config, "tokyo", "bank", CopyOrigin.TIME) == str(folder / "group")
    assert archive_place(config, "tokyo", "orders", CopyOrigin.TIME) is None
    with pytest.raises(TidelogError):
        archive_place(config, "paris", "bank", CopyOrigin.TIME)

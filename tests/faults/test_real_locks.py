"""Schedule, retention and locks on real Kafka and Redis: three sites, the command line, a site rebuilt."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.folded import all_equal
from tidelog.clock import microseconds
from tidelog.consumers.deployment import open_store
from tidelog.consumers.site_view import SiteGroup
from tidelog.errors import Locked
from tidelog.gateways.cli import main
from tidelog.producers.group import Group
from tidelog.schemas.events import CopyDropped, CopyLocked
from tidelog.testing.fixtures import SITES
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
LAST = 2


@pytest.fixture
def config_file(tidelog_kafka: KafkaServing, tidelog_site_redis: Callable[[str], RedisServing], tmp_path: Path) -> Path:
    """A group `g-...` that makes a copy each second and keeps the last two."""
    group = f"g-{uuid.uuid4().hex[:12]}"
    sites = "".join(f'[sites.{name}.redis]\nurl = "{tidelog_site_redis(name).url}"\n' for name in SITES)
    path = tmp_path / "tidelog.toml"
    path.write_text(
        f'prefix = "test-{uuid.uuid4().hex[:12]}"\n{sites}'
        f'[kafka]\nbootstrap_servers = "{tidelog_kafka.bootstrap_servers}"\n'
        f'[groups.{group}]\nevery = "1s"\nkeep = {{last = {LAST}}}\n[worker]\nstatus_interval = "200ms"\n'
    )
    return path


def held(group: SiteGroup) -> list[tuple[int, str, int, bool]]:
    return [(copy.sequence, copy.name, copy.locked_until_us, copy.kept) for copy in group.copies()]


def protect(group: Group) -> int:
    """A copy that is locked and one that is kept; then two events by hand, which must not undo the lock: its end."""
    group.mark("locked").wait(timeout=60)
    group.mark("kept").wait(timeout=60)
    end = microseconds(group.lock_copy("locked", timedelta(days=30)))
    group.keep_copy("kept")
    copy = group.session.state.copy("locked")
    assert copy is not None
    for kind, more in ((CopyLocked, {"until_us": 1}), (CopyDropped, {})):
        group.session.emit(kind, copy_sequence=copy.sequence, copy_seal=copy.seal, **more)
    group.flush()
    with pytest.raises(Locked):
        group.drop_copy("locked")
    return end


def as_an_administrator(config_file: Path, name: str, capsys: pytest.CaptureFixture[str], rebuilt: str) -> None:
    """The command line refuses to drop the locked copy, explains and lists it; and rebuilds a site."""

    def tidelog(*arguments: str) -> tuple[int, str, str]:
        code = main(["-c", str(config_file), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, _, err = tidelog("pitc", "drop", "locked", "-g", name)
    assert code == 2 and "locked until" in err
    code, out, _ = tidelog("pitc", "retention", "-g", name, "--dry-run", "--json")
    assert code == 0 and {copy["name"] for copy in json.loads(out)["copies"]} >= {"locked", "kept"}
    code, out, _ = tidelog("pitc", "list", "-g", name, "--json")
    assert code == 0 and {copy["name"] for copy in json.loads(out)["copies"] if copy["locked_until"]} == {"locked"}
    code, _, err = tidelog("site", "rebuild", rebuilt, "-g", name, "--yes")
    assert code == 0, err


def test_the_same_copies_everywhere_and_a_lock_that_holds(
    running: RunningDeployment, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schedule makes copies and retention drops all but two of them, the same at each site; the locked one is
    dropped by nobody, and is there again, with its lock, after a rebuild."""
    (name,) = running.deployment.config.groups
    group = running.group(name)
    volume = group.create_volume("v", "1MiB")
    for site in SITES:
        running.wait_for_store(site, name)
    end = protect(group)
    made: set[str] = set()

    def five_made() -> bool:
        volume.write(0, uuid.uuid4().bytes)
        made.update(copy.name for copy in group.session.state.copies() if copy.scheduled)
        return len(made) >= 5

    assert wait_until(five_made, timeout_s=60)
    group.close()
    head = group.session.confirmed.sequence  # as confirmed by the close
    views = [running.site(site).group(name) for site in SITES]
    assert all(view.wait_until(head, 60) for view in views)
    first = held(views[0])
    assert [held(view) for view in views] == [first] * len(SITES)
    assert [(label, until, kept) for _, label, until, kept in first if not label.startswith("auto-")] == [
        ("locked", end, False),
        ("kept", 0, True),
    ]
    # One more where the session was closed between a copy and the drops behind it.
    assert LAST <= sum(label.startswith("auto-") for _, label, _, _ in first) <= LAST + 1
    assert len({tuple(copy.digest() for copy in view.copies()) for view in views}) == 1
    store = open_store(running.deployment, "osaka", name)
    with pytest.raises(Locked):
        store.mark_dropping(store.copy("locked"))
    store.close()
    running.stop_site("london")
    as_an_administrator(config_file, name, capsys, "london")
    rebuilt = running.site("london").group(name)
    assert held(rebuilt) == held(views[0])
    all_equal(running.deployment, name, SITES)

"""A site's real Redis is damaged under its running worker while writers go on: found, mended, nothing disturbed."""

import json
import threading
import time
import uuid
from pathlib import Path

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.consumers.site_view import SiteGroup
from tidelog.gateways.cli import main
from tidelog.producers.group import Group
from tidelog.testing.fixtures import SITES
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
BLOCK = 4096
BLOCKS = 2000


class Traffic:
    """Writes until it is left, a copy now and then; some blocks whole, some in part."""

    def __init__(self, group: Group) -> None:
        self._group, self._ended = group, threading.Event()
        self.written = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        volume, number = self._group.volume("ledger"), 0
        while not self._ended.is_set():
            for _ in range(20):
                number += 1
                offset = number * 37 % BLOCKS * BLOCK + number % 2 * 100
                volume.write(offset, number.to_bytes(8, "big") * (16 if number % 2 else BLOCK // 8))
            self._group.flush()
            self.written = number
            if number % 400 == 0:
                self._group.mark(f"t{number}")
            time.sleep(0.01)


def equal(one: SiteGroup, other: SiteGroup) -> bool:
    """Every copy and the live volumes, by bytes."""
    held = [site.copies() for site in (one, other)]
    if [copy.sequence for copy in held[0]] != [copy.sequence for copy in held[1]]:
        return False
    pairs = [*zip(*held, strict=True), (one, other)]
    return all(len({side.volume("ledger").read(0, BLOCKS * BLOCK) for side in pair}) == 1 for pair in pairs)


def damage(running: RunningDeployment, group: str, generation: int, volume: int) -> None:
    """One bit each of a before-image, of a live block that copies share, of one written since, and of a bitmap."""
    with redis.Redis.from_url(running.deployment.config.sites["osaka"].redis.url) as server:
        for key, bit in (
            (f"g:{generation}:{volume}:{1235:08x}", 777),
            (f"b:{volume}:{100:08x}", 5),
            (f"b:{volume}:{1300:08x}", 33),
            (f"m:{generation}:{volume}", 1234),
        ):
            whole = f"tidelog:{{{group}}}:{key}"
            assert server.exists(whole)
            server.setbit(whole, bit, 1 - server.getbit(whole, bit))


def test_damage_under_a_running_worker_is_mended_while_writers_go_on(
    running: RunningDeployment, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A before-image, a live block that copies share, one written since, a bitmap. The worker never halts."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    group = running.group(name)
    for site in SITES:
        running.wait_for_store(site, name)
    volume = group.create_volume("ledger", BLOCKS * BLOCK)
    volume.write(0, bytes(range(1, 256)) * (BLOCK * 1900 // 255))
    group.mark("one").wait(timeout=60)
    volume.write(1234 * BLOCK, b"over what the copy holds" * 200)
    group.mark("two").wait(timeout=60)
    volume.write(1300 * BLOCK, b"in no copy yet" * 200)
    group.flush()
    osaka = running.site("osaka").group(name)
    assert osaka.wait_until(group.session.confirmed.sequence, 60)
    copies = {copy.name: copy.info for copy in osaka.copies()}

    def tidelog(*arguments: str) -> tuple[int, dict, str]:
        code = main(["-c", str(config_file), *arguments, "--group", name, "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    assert tidelog("site", "verify", "osaka")[0] == 0
    damage(running, name, copies["one"].generation, volume.info.id)
    code, document, err = tidelog("site", "verify", "osaka", "--against", "london")
    (found,) = document["groups"]
    assert code == 3 and "site resync osaka --from london" in " ".join(err.split())
    named = {one["block"]: (one["copies"], one["live"]) for one in found["blocks"]}
    assert named[1235] == (["one"], False) and named[1234] == (["one"], False)
    assert named[100] == (["one", "two"], True) and named[1300] == ([], True)
    assert set(named) == {100, 1234, 1235, 1300} and found["bits_differing"] == 1

    with Traffic(group) as traffic:
        assert wait_until(lambda: traffic.written > 400, timeout_s=60)
        code, document, _ = tidelog("site", "resync", "osaka", "--from", "london")
        (done,) = document["groups"]
        assert code == 0 and done["report"]["bits_mended"] >= 1
        # Where traffic has written over a wrong block, a copy that was cut before has it, too.
        assert 3 <= done["report"]["blocks_mended"] <= 20
        assert done["report"]["bytes_moved"] <= done["report"]["blocks_mended"] * BLOCK * 1.05
        # The worker sends right receipts in a moment; nothing else is left to do.
        assert wait_until(lambda: tidelog("site", "verify", "osaka", "--against", "london")[0] == 0, timeout_s=60)
    group.mark("end").wait(timeout=60)
    london, tokyo = (running.site(site).group(name) for site in ("london", "tokyo"))
    assert wait_until(lambda: equal(osaka, london) and equal(london, tokyo), timeout_s=60)
    assert tidelog("site", "verify", "osaka")[0] == 0
    assert tidelog("pitc", "list")[0] == 0
    all_equal(running.deployment, name, SITES)


def test_a_source_that_is_down(running: RunningDeployment, config_file: Path, tmp_path: Path) -> None:
    """Exit code 12 that names the site; nothing has changed."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    group = running.group(name)
    for site in SITES:
        running.wait_for_store(site, name)
    group.create_volume("ledger", "1MiB").write(0, b"data")
    group.mark("one").wait(timeout=60)
    url = running.deployment.config.sites["london"].redis.url
    down = tmp_path / "down.toml"
    down.write_text(config_file.read_text().replace(url, "redis://127.0.0.1:1"))
    assert main(["-c", str(down), "site", "resync", "osaka", "--from", "london", "-g", name]) == 12
    assert main(["-c", str(down), "site", "verify", "osaka", "-g", name]) == 0  # with tokyo
    all_equal(running.deployment, name, SITES)

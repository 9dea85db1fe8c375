"""A region is lost with a tail that was not sent; the other is promoted; the first comes back, and is promoted in turn.

Two real brokers and Kafka's MirrorMaker; the operator's part is the runbook's commands, as they stand. In the end every
site and copy is compared with a fold of the log that the group goes on in, ``lost-tail`` with a fold of the sealed one.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clean_stores import group_of_its_own
from tests.faults.folded import compare, records_of
from tests.faults.regions import Load, Mirrored, Regions, await_that
from tests.reference import Reference
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.producers.group import Group
from tidelog.testing.mirror_maker import MirrorMakerServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing
from tidelog.testing.stack import stack_toml

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbooks" / "region-lost.md"
SITES = {"a": "tokyo", "b": "osaka"}

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]


class LostRegion:
    """Two regions with a site each, and an operator who has only the runbook."""

    def __init__(self, regions: Regions, urls: dict[str, str], folder: Path) -> None:
        self.regions, self.folder = regions, folder
        self.running: dict[str, RunningDeployment] = {}
        for name, site in SITES.items():
            toml = stack_toml(regions.kafka[name].bootstrap_servers, {site: urls[site]})
            (folder / f"{name}.toml").write_text(f'prefix = "{regions.prefix}"\n{toml}')
            self.running[name] = RunningDeployment(RealDeployment(Config.load(folder / f"{name}.toml", {})))
        self.there = Mirrored(regions, self.running["a"], self.running["b"], "bank")
        blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
        self.commands = [line for block in blocks for line in block.splitlines()]

    def run(self, *words: str, code: int = 0, more: str = "") -> str:
        """The runbook's next command, which has these words."""
        line = self.commands.pop(0)
        assert all(word in line for word in words), (words, line)
        return self._run(line, code, more)

    def run_turned(self, command: str) -> str:
        """A command of the runbook with the regions exchanged."""
        assert command in RUNBOOK.read_text()
        pairs = {"a.toml": "b.toml", "b.toml": "a.toml", "tokyo": "osaka", "osaka": "tokyo"}
        return self._run(" ".join(pairs.get(word, word) for word in command.split()), 0, "")

    def _run(self, line: str, code: int, more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *line.split(), *more.split()],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, (line, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def mirror(self, source: str, target: str, renamed: str) -> MirrorMakerServer:
        """A MirrorMaker of that way, and its configuration where the runbook's command looks for it."""
        record = self.running[source].deployment.cluster.find_group("bank")
        mirror = self.regions.mirror_back(record.topic, renamed, source, target)
        (self.folder / "mirror-back.properties").write_text(mirror.properties)
        return mirror

    def reference(self, region: str) -> Reference:
        return self.there.reference(self.running[region])

    def compare(self, region: str, reference: Reference) -> None:
        """Its site holds, live and in its copies, what that fold says; copies of a lost history are none of them."""
        site = SITES[region]
        store = open_store(self.running[region].deployment, site, "bank")
        try:
            at_end = wait_until(lambda: store.position().head.seal == reference.seal, 90)
            assert at_end, f"{site} is at {store.position()}: {self.there.status(self.running[region], site)}"
            compare(store, reference, records_of(self.running[region].deployment, "bank"))
        finally:
            store.close()


@pytest.fixture
def lost(tidelog_site_redis: Callable[[str], RedisServing], tmp_path: Path) -> Iterator[LostRegion]:
    regions = Regions(tidelog_site_redis)
    urls = {site: tidelog_site_redis(site).url for site in SITES.values()}
    try:
        regions.start()
        regions.begin()
        with group_of_its_own(urls.values(), "bank"):
            there = LostRegion(regions, urls, tmp_path)
            with there.running["a"], there.running["b"]:
                yield there
    finally:
        regions.close()


def write(group: Group, count: int, what: bytes) -> None:
    volume = group.volume("data")
    for index in range(count):
        volume.write(index * 700, what * 100)
        group.flush()
    group.mark(f"after-{what.decode()}")
    group.flush()


def test_lost_promoted_returned_and_home_again(lost: LostRegion) -> None:
    """Nothing that had come is missing; what had not is told of to the sequence; everything is equal in the end."""
    whole = lose(lost)
    common = promote(lost)
    assert common < whole.sequence
    group = lost.running["b"].group("bank")
    write(group, 20, b"kept")
    lost.regions.kafka["a"].start()
    back = lost.mirror("b", "a", f"{lost.there.record.topic}.R2")
    try:
        take_up(lost, common, whole)
        write(group, 5, b"more")
        group.close()
        reference = lost.reference("b")
        for region in SITES:
            lost.compare(region, reference)
    finally:
        back.close()
    go_home(lost)


def lose(lost: LostRegion) -> Reference:
    """MirrorMaker is killed under load, more is written and applied, and the broker is killed; the fold of it all."""
    there, mirror = lost.there, lost.regions.mirror
    assert mirror is not None
    with Load(there.group):
        there.await_status(lost.running["b"], "osaka", lambda found: found.sequence > 100)
        mirror.kill()
    write(there.group, 20, b"lost")
    there.group.abandon()
    whole = lost.reference("a")
    there.await_status(lost.running["a"], "tokyo", lambda found: found.sequence >= whole.sequence)
    lost.regions.kafka["a"].kill()
    return whole


def promote(lost: LostRegion) -> int:
    """The sequence that both regions have."""
    words, cluster = ("-c b.toml", "site promote osaka", "--force"), lost.running["b"].deployment.cluster
    refused = lost.run(*words, "--dry-run", code=2)  # Kafka takes the one that was killed for alive
    assert "may be the MirrorMaker" in refused
    await_that(lambda: not cluster.mirror_makers(), "Kafka has noticed that MirrorMaker is gone")
    common = lost.reference("b").sequence
    assert f"behind sequence {common}," in lost.run(*words)
    return common


def take_up(lost: LostRegion, common: int, whole: Reference) -> None:
    """Region a is back: sealed, told what is lost, mirrored to and rolled back."""
    there, a = lost.there, lost.running["a"]
    told = lost.run("-c a.toml", "group mirror bank", "--properties", more="--json")
    missing = json.loads(told[: told.rindex("}") + 1])["lost"]
    assert (missing["first_sequence"], missing["last_sequence"]) == (common + 1, whole.sequence)
    assert "after-lost" in missing["copies"] and missing["writes"] >= 20
    assert "after-lost" in lost.run("-c a.toml", "log show bank --lost")
    halted = there.await_status(a, "tokyo", lambda found: found.state == "HALTED")
    assert f"sealed at sequence {common}" in halted.reason
    head = lost.reference("b").sequence
    await_that(lambda: lost.reference("a").sequence >= head, "the new history has come")
    lost.run("-c a.toml", "site rollback tokyo", "--yes")
    store = open_store(a.deployment, "tokyo", "bank")
    tail = store.copy("lost-tail")
    held = {v.id: (v.name, v.block_size, store.read(v, 0, v.size, tail)) for v in tail.volumes}
    store.close()
    assert held == whole.image()
    assert "lost-tail" in lost.run("-c a.toml", "pitc list") and not lost.commands


def go_home(lost: LostRegion) -> None:
    """The other way round, with nothing lost."""
    a = lost.running["a"]
    await_that(lambda: not a.deployment.cluster.mirror_makers(), "MirrorMaker is gone")
    lost.run_turned("tidelog -c b.toml site promote osaka --group bank --force")
    group = a.group("bank")
    write(group, 5, b"home")
    group.close()
    forth = lost.mirror("a", "b", f"{lost.there.record.topic}.R2")  # the second of b, too: nothing is to be renamed
    try:
        said = lost.run_turned(
            "tidelog -c a.toml group mirror bank --from-config b.toml --properties mirror-back.properties"
        )
        assert "nothing" in said and "rename" not in said
        reference = lost.reference("a")
        for region in SITES:
            lost.compare(region, reference)
    finally:
        forth.close()

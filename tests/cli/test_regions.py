"""Two regions at the command line: a group is taken up as a mirror, refused to writers, and looked at in both."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import TOML, Kept, Result
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment, MemoryDeployment
from tidelog.gateways.cli import main
from tidelog.producers.cluster import MemoryCluster
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.control import status_key
from tidelog.testing.running import RunningDeployment

PROPERTIES = Path(__file__).parents[2] / "infra" / "mirror-maker.properties"


class Regions:
    """Regions a and b in memory, told apart by their Kafka's address, with a configuration file each."""

    def __init__(self, folder: Path) -> None:
        self.files = {name: folder / f"{name}.toml" for name in ("a", "b")}
        self.deployments: dict[str, MemoryDeployment] = {}
        for name, file in self.files.items():
            sites = TOML.replace("osaka", "kyoto").replace("tokyo", "nara") if name == "b" else TOML
            file.write_text(f'[kafka]\nbootstrap_servers = "kafka-{name}:9092"\n{sites}')
            deployment = MemoryDeployment(Config.load(file, {}))
            deployment.cluster = MemoryCluster(deployment.config, f"cluster-{name}")
            self.deployments[name] = deployment

    def open(self, config: Config) -> Deployment:
        name = config.kafka.bootstrap_servers[0].removeprefix("kafka-").partition(":")[0]
        return Kept(self.deployments[name])

    def log(self, region: str) -> MemoryLog:
        cluster = self.deployments[region].cluster
        found = cluster.log(cluster.find_group("bank"))
        assert isinstance(found, MemoryLog)
        return found

    def send(self, source: str = "a", target: str = "b") -> None:
        there = len(self.log(target)._records)
        for record in self.log(source)._records[there:]:
            self.log(target).put(record.value)


@pytest.fixture
def regions(tmp_path: Path) -> Regions:
    return Regions(tmp_path)


@pytest.fixture
def at(
    regions: Regions, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs one command line in a region."""

    def run(region: str, *arguments: str) -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
        capsysbinary.readouterr()
        code = main(["--config", str(regions.files[region]), *arguments], regions.open)
        captured = capsysbinary.readouterr()
        assert b"Traceback" not in captured.err
        return Result(code, captured.out, " ".join(captured.err.decode().split()))

    return run


@pytest.fixture
def bank(regions: Regions, at: Callable[..., Result]) -> Callable[..., Result]:
    """With a group in region a."""
    assert at("a", "group", "create", "bank").code == 0
    with open_group("bank", deployment=regions.deployments["a"]) as group:
        group.create_volume("ledger", "1MiB").write(0, b"something")
        group.mark("one")
    return at


@pytest.fixture
def running(regions: Regions) -> Iterator[RunningDeployment]:
    """Workers of all sites of both regions."""
    with RunningDeployment(Kept(regions.deployments["a"])) as a, RunningDeployment(Kept(regions.deployments["b"])) as b:
        for one in (a, b):
            for site in one.deployment.config.sites:
                one.site(site)
        yield b


def mirrored(at: Callable[..., Result], regions: Regions, *more: str) -> Result:
    return at("b", "group", "mirror", "bank", *(more or ("--from-config", str(regions.files["a"]))))


def nara_has_it(regions: Regions, running: RunningDeployment) -> None:
    """Waits until region b's site has applied what was sent, and has said so: whoever promotes it goes by that."""
    running.wait_for_store("nara", "bank")
    control, nara = regions.deployments["b"].cluster.control, status_key("bank", "nara")
    assert control.wait_for(lambda view: nara in view and view[nara].sequence >= 4, 30)


def test_a_group_is_taken_up(bank, regions) -> None:
    """By the other region's file, its Kafka, or the id alone; the same id everywhere, and both regions say so."""
    ours = json.loads(bank("a", "group", "show", "bank", "--json").text)
    assert (ours["mirror_of"], ours["mirrored_to"]) == (None, [])
    for source in (
        ("--from-config", str(regions.files["a"])),
        ("--from-kafka", "kafka-a:9092"),
        ("--id", ours["group_id"]),
    ):
        done = mirrored(bank, regions, *source, "--json")
        assert done.code == 0, done.err
        made = json.loads(done.text)
        assert (made["group_id"], made["target_cluster"]) == (ours["group_id"], "cluster-b")
        assert made["source_cluster"] == ("" if "--id" in source else "cluster-a")
    assert mirrored(bank, regions).code == 0
    theirs = json.loads(bank("b", "group", "show", "bank", "--json").text)
    assert (theirs["group_id"], theirs["mirror_of"], theirs["mirrored_to"]) == (ours["group_id"], "cluster-a", [])
    assert json.loads(bank("a", "group", "show", "bank", "--json").text)["mirrored_to"] == ["cluster-b"]
    assert "cluster cluster-a (kafka-a:9092)" in bank("b", "group", "show", "bank").text


def test_bad_input(bank, regions, tmp_path) -> None:
    """Each is refused by name, and nothing is there afterwards."""
    a, no_such = str(regions.files["a"]), str(tmp_path / "none")
    for source, code, said in (
        ((), 2, "exactly one"),
        (("--from-config", a, "--from-kafka", "kafka-a:9092"), 2, "exactly one"),
        (("--from-kafka", ""), 2, "names no Kafka"),
        (("--id", "bank"), 2, "no UUID"),
        (("--from-config", no_such), 10, no_such),
        (("--from-config", a, "--properties", no_such), 10, "cannot be read"),
    ):
        done = bank("b", "group", "mirror", "bank", *source)
        assert done.code == code and said in done.err, (source, done)
    assert bank("b", "group", "mirror", "other", "--from-config", a).code == 2
    assert bank("a", "group", "mirror", "bank", "--from-config", a).code == 2
    assert bank("b", "group", "list").text.count("bank") == 0


def test_the_properties_are_checked(bank, regions, tmp_path) -> None:
    """The ready file passes; one with which the log would not arrive whole is refused before anything is made."""
    good, bad = PROPERTIES.read_text(), tmp_path / "mirror-maker.properties"
    bad.write_text(good.replace("b->a.enabled = false", "b->a.enabled = true").replace("= none", "= all"))
    done = mirrored(bank, regions, "--from-config", str(regions.files["a"]), "--properties", str(bad))
    assert done.code == 10 and "both ways" in done.err and "errors.tolerance" in done.err
    assert bank("b", "group", "list").text.count("bank") == 0
    done = mirrored(bank, regions, "--from-config", str(regions.files["a"]), "--properties", str(PROPERTIES))
    assert done.code == 0, done.err


def test_commands_that_write_are_refused_there(bank, regions) -> None:
    """By whose mirror it is, with --take-over too, and before anybody is asked whether a writer lives."""
    assert mirrored(bank, regions).code == 0
    regions.send()
    before = regions.log("b").bounds()
    for command in (
        ("volume", "create", "more", "-g", "bank", "--size", "1MiB"),
        ("volume", "write", "ledger", "-g", "bank", "--take-over"),
        ("pitc", "create", "two", "-g", "bank"),
        ("pitc", "drop", "one", "-g", "bank", "--take-over"),
        ("log", "trim", "bank", "--yes"),
    ):
        done = bank("b", *command)
        assert done.code == 2 and "is a mirror of cluster-a (kafka-a:9092)" in done.err, (command, done)
    assert regions.log("b").bounds() == before
    done = bank("a", "log", "trim", "bank", "--dry-run")
    assert done.code == 2 and "--without cluster-b" in done.err
    assert bank("a", "log", "trim", "bank", "--dry-run", "--without", "cluster-b").code == 0


def test_both_regions_in_one_look(bank, regions, running) -> None:
    """Sites of both beside the newest event of any; a region that is behind is seen so; copies are equal everywhere."""
    assert mirrored(bank, regions).code == 0
    regions.send()
    for site in ("nara", "kyoto", "london"):
        running.wait_for_store(site, "bank")
        assert running.site(site).group("bank").wait_until(4)
    look = ("group", "regions", "bank", "--with", str(regions.files["b"]), "--json")

    def seen(region: str = "a") -> dict:
        return json.loads(bank(region, *look).text)

    assert wait_for(lambda: (found := seen()) and found["copies"] and found["copies"][0]["equal"])
    found = seen()
    assert {site["site"] for site in found["sites"]} == {"tokyo", "osaka", "london", "nara", "kyoto"}
    assert [region["cluster_id"] for region in found["regions"]] == ["cluster-a", "cluster-b"]
    with open_group("bank", deployment=regions.deployments["a"]) as group:
        group.volume("ledger").write(0, b"more")
        group.mark("two")

    def late() -> set[int]:
        return {site["lag_events"] for site in seen()["sites"] if site["site"] in ("nara", "kyoto")}

    assert wait_for(lambda: len(late()) == 1)  # each reports in its own time
    assert late().pop() > 0
    assert "kyoto" in bank("a", *look[:-1]).text


@pytest.mark.usefixtures("running")
def test_a_region_that_does_not_answer(bank, regions) -> None:
    """The other is shown, and it is said: exit code 3."""
    assert mirrored(bank, regions).code == 0
    control = regions.deployments["a"].cluster.control
    control.cut_off()
    done = bank("b", "group", "regions", "bank", "--with", str(regions.files["a"]))
    assert done.code == 3 and "a.toml" in done.err and "nara" in done.text
    control.restore()


def test_a_copy_by_time_says_whom_it_does_not_reach(bank, regions) -> None:
    """In either region; given in both it is one copy."""
    assert mirrored(bank, regions).code == 0
    ours = bank("a", "pitc", "create", "noon", "-g", "bank", "--in", "1h")
    assert ours.code in (0, 3) and "sites of cluster cluster-b (kafka-b:9092) do not hear of this" in ours.err
    theirs = bank("b", "pitc", "create", "noon", "-g", "bank", "--in", "1h")
    assert "sites of cluster cluster-a (kafka-a:9092) do not hear of this" in theirs.err


def test_a_lost_region_and_its_return(bank, regions, running) -> None:
    """Every command that docs/runbooks/region-lost.md has for it, with what it says."""
    assert mirrored(bank, regions).code == 0
    regions.send()
    nara_has_it(regions, running)
    with open_group("bank", deployment=regions.deployments["a"]) as group:
        group.volume("ledger").write(0, b"nobody else has this")
        group.mark("two")
    a, b = str(regions.files["a"]), str(regions.files["b"])
    promote = ("site", "promote", "nara", "--group", "bank")
    refused = bank("b", *promote)
    assert refused.code == 2 and f"{' '.join(promote)} --force" in refused.err
    assert "how much that is only its own Kafka knows" in bank("b", *promote, "--force", "--dry-run").text
    plan = json.loads(bank("b", *promote, "--force", "--with", a, "--dry-run", "--json").text)
    assert (plan["plan"]["mirror_of"], plan["missing"]["writes"], plan["missing"]["copies"]) == (
        "cluster-a",
        1,
        ["two"],
    )
    done = bank("b", *promote, "--force", "--with", a)
    assert done.code == 0 and "in another region" in done.text and "1 write of 20 B; copies two" in done.text
    again = bank("b", *promote, "--force")
    assert again.code == 0 and "is the primary of group bank already" in again.text
    assert bank("b", *promote, "--force", "--with", a).code == 2

    assert bank("a", "log", "show", "bank", "--lost").code == 2
    back = bank("a", "group", "mirror", "bank", "--from-config", b, "--properties", str(PROPERTIES))
    assert back.code == 10 and "tidelog.bank must become tidelog.bank.R2" in back.err
    assert json.loads(bank("a", "group", "show", "bank", "--json").text)["sealed_at"] is None, "nothing was changed"
    back = bank("a", "group", "mirror", "bank", "--from-config", b)
    assert back.code == 0 and ": 1 write of 20 B; copies two" in back.text
    assert "rename it to tidelog.bank.R2" in back.err
    shown = bank("a", "log", "show", "bank", "--lost", "--data")
    assert b"nobody else has ".hex() in shown.text and shown.text.count("counts") >= 4  # and what seals the log
    assert bank("a", "log", "show", "bank", "--lost", "--from", "3").code == 2
    assert "is a mirror of cluster-b" in bank("a", "volume", "create", "more", "-g", "bank", "--size", "1MiB").err
    shown = bank("b", "group", "show", "bank").text
    assert "cluster-a.R2" in shown and "cluster-a at sequence 4" in shown


def wait_for(done: Callable[[], object], timeout: float = 20.0) -> bool:
    from tidelog.testing.readiness import wait_until

    return wait_until(lambda: bool(done()), timeout)

"""`tidelog sidefile`: what stands on this machine, what became of it, and what commands do while it does."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import TOML, Cli, Kept
from tests.producers.sidefile_lab import until
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment, MemoryDeployment
from tidelog.producers.durability import Durability
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.sidefile_group import SidefileGroup

# The lab's heartbeat of 100 ms would have a session that only waits give up at once.
TABLE = '\n[groups.bank]\nsidefile = "{folder}"\nsidefile_after = "50ms"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (made := tmp_path / "sidefiles").mkdir()
    return made


@pytest.fixture
def config_file(tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML + TABLE.format(folder=folder))
    return path


@pytest.fixture
def deployment(config_file: Path) -> Deployment:
    return Kept(MemoryDeployment(Config.load(config_file, {})))


class Bank:
    """The application: its group, with a volume, and its log."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        record = deployment.cluster.create_group("bank")
        found = deployment.cluster.log(record)
        assert isinstance(found, MemoryLog)
        self.log = found
        self.open()
        self.group.create_volume("ledger", "1MiB")

    def open(self) -> None:
        found = open_group("bank", deployment=self.deployment)
        assert isinstance(found, SidefileGroup)
        self.group = found

    def spools(self) -> None:
        """Two writes and a discard, and then it dies."""
        self.log.cut_off()
        volume = self.group.volume("ledger")
        volume.write(0, b"one")
        assert self.group.flush() is Durability.IN_SIDEFILE
        volume.write(4096, b"two")
        volume.discard(8192, 100)
        self.group.flush()
        self.dies()

    def dies(self) -> None:
        self.group._writer._error = RuntimeError("dead")  # type: ignore[assignment]
        self.group.abandon()


@pytest.fixture
def bank(deployment: Deployment) -> Iterator[Bank]:
    made = Bank(deployment)
    yield made
    made.log.restore()
    made.group.abandon()


def names(cli: Cli) -> dict[str, str]:
    found = json.loads(cli("sidefile", "list", "--json").text)["sidefiles"]
    return {one["name"]: one["state"] for one in found}


@pytest.mark.usefixtures("bank")
def test_nothing_stands_anywhere(cli: Cli) -> None:
    """While the log confirms there is no file."""
    assert cli("sidefile", "list").code == 0 and names(cli) == {}
    refused = cli("sidefile", "show", "-g", "bank")
    assert refused.code == 2 and "there is no sidefile" in refused.err
    refused = cli("sidefile", "list", "-g", "other")
    assert refused.code == 2 and "no sidefile in this configuration" in refused.err


def test_it_is_listed_shown_and_exported(cli: Cli, bank: Bank, tmp_path: Path) -> None:
    """Without Kafka."""
    bank.spools()
    listed = cli("sidefile", "list", "--json")
    (found,) = json.loads(listed.text)["sidefiles"]
    assert listed.code == 0
    assert (found["name"], found["state"], found["writes"], found["writes_in_log"]) == ("bank", "undrained", 3, 0)
    assert found["since"] < found["until"] and "undrained" in cli("sidefile", "list").text
    shown = [json.loads(line) for line in cli("sidefile", "show", "-g", "bank", "--json").text.splitlines()]
    assert [(one["kind"], one["offset"], one["length"]) for one in shown] == [
        ("write", 0, 3),
        ("write", 4096, 3),
        ("discard", 8192, 100),
    ]
    assert "4096" in cli("sidefile", "show", "bank", "-g", "bank").text
    target = tmp_path / "out.json"
    assert cli("sidefile", "export", "-g", "bank", "--to", str(target)).code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [base64.b64decode(one["data"] or "") for one in lines] == [b"one", b"two", b""]
    assert cli("sidefile", "export", "-g", "bank", "--to", str(target)).code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "sidefiles", "tidelog.toml"]


def test_a_command_does_not_make_it_lost(cli: Cli, bank: Bank) -> None:
    """Not even with --take-over; once it is drained, commands go on."""
    bank.spools()
    bank.log.restore()
    for more in ((), ("--take-over",)):
        refused = cli("pitc", "create", "x", "-g", "bank", *more)
        assert refused.code == 13 and "tidelog sidefile drain bank" in refused.err
    shown = cli("status", "-g", "bank")
    assert "holds 3 writes" in shown.text and "not yet drained" in shown.text
    assert cli("sidefile", "drop", "bank", "-g", "bank", "--yes").code == 2
    done = cli("sidefile", "drain", "bank")
    assert done.code == 0 and "is in the log" in done.err and names(cli) == {}
    assert cli("pitc", "create", "x", "-g", "bank", "--take-over").code == 0


def test_the_application_has_it(cli: Cli, bank: Bank) -> None:
    """Nobody else drains or renames it, and it goes on."""
    bank.log.cut_off()
    bank.group.volume("ledger").write(0, b"one")
    bank.group.flush()
    assert names(cli) == {"bank": "undrained"}
    assert cli("sidefile", "keep", "bank").code == 2
    bank.log.hold()
    bank.log.available = True
    refused = cli("sidefile", "drain", "bank")
    assert refused.code == 2 and "another process has the sidefile" in refused.err
    bank.log.restore()
    bank.log.release()
    until(lambda: bank.group.sidefile is None)
    assert names(cli) == {}


def test_it_is_kept_and_dropped(cli: Cli, bank: Bank) -> None:
    """By decision of an operator: an alarm until it is dropped, and the group is open to others at once."""
    bank.spools()
    bank.log.restore()
    assert cli("sidefile", "keep", "bank").code == 0
    ((name, state),) = names(cli).items()
    assert state == "lost" and name.startswith("lost-bank-1-") and cli("sidefile", "list").code == 3
    shown = cli("status", "-g", "bank")
    assert shown.code == 3 and "ALARM" in shown.text and name in shown.text
    document = json.loads(cli("status", "-g", "bank", "--json").text)
    assert document["groups"][0]["sidefiles"][0]["name"] == name and len(document["alarms"]) == 1
    bank.open()
    bank.group.volume("ledger").write(0, b"goes on")
    bank.group.close()
    assert cli("sidefile", "keep", "bank").code == 2
    assert cli("sidefile", "drop", name, "-g", "bank", "--yes").code == 0
    assert names(cli) == {} and cli("sidefile", "list").code == 0


def test_a_damaged_one(cli: Cli, bank: Bank, folder: Path) -> None:
    """Shown up to the damage; kept, the group can be opened."""
    bank.spools()
    bank.log.restore()
    path = folder / "bank.sidefile"
    content = bytearray(path.read_bytes())
    content[-150] ^= 1
    path.write_bytes(content)
    assert names(cli) == {"bank": "damaged"} and cli("sidefile", "list").code == 3
    shown = cli("sidefile", "show", "-g", "bank")
    assert shown.code == 3 and "is damaged at byte" in shown.err and "3 bytes" in shown.text
    refused = cli("sidefile", "drain", "bank")
    assert refused.code == 3 and "tidelog sidefile keep" in refused.err
    assert cli("sidefile", "keep", "bank").code == 0
    bank.open()
    path.write_bytes(b"no header at all" * 100)
    assert names(cli)["bank"] == "damaged"
    assert cli("sidefile", "keep", "bank").code == 0 and "bank" not in names(cli)


@pytest.mark.parametrize("there", [True, False])
def test_the_check_of_a_configuration_looks_at_the_folder(cli: Cli, folder: Path, there: bool) -> None:
    """It must be there and take files, on this machine."""
    assert cli("config", "check").code == 0
    folder.rmdir()
    if there:
        folder.write_text("a file in its place")
    refused = cli("config", "check")
    assert refused.code == 10 and str(folder) in refused.err and "groups.bank.sidefile" in refused.err

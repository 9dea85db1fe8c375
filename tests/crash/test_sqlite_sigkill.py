"""SIGKILL of a process with SQLite on real Kafka and Redis, within a transaction; opened at the other site."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateways.turns import Bank, found
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


# Which part of the transaction's calls has been made.
DEATHS = [("delete", 0.0), ("delete", 0.5), ("delete", 0.9), ("truncate", 0.9), ("persist", 0.5)]
DEATHS += [("wal-checkpointing", 0.3), ("wal-checkpointing", 0.9)]


@pytest.mark.parametrize(("mode", "fraction"), DEATHS)
def test_killed_in_a_transaction(
    mode: str, fraction: float, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """What returned is there, the transaction under way is there wholly or not at all, and another writer goes on."""
    running = tidelog_deployment
    running.deployment.cluster.create_group(group_name)
    osaka = running.site("osaka")
    running.site("tokyo")
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.sqlite_child", str(config_path), group_name, mode, str(fraction)]
    child = subprocess.run(
        launcher + command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout.split() == ["1", "2"]

    bank = Bank(lambda: running.group(group_name), mode)
    turn, _ = bank.at_the_other_site(osaka, "after-the-kill")
    # In WAL mode the last calls are of the checkpoint that follows the commit.
    assert turn == (3 if (mode, fraction) == ("wal-checkpointing", 0.9) else 2)
    _, connection = bank.open()
    assert found(connection) == turn
    bank.turn = turn + 1
    bank.transact(connection)
    connection.close()
    assert bank.at_the_other_site(osaka, "at-the-end")[0] == turn + 1

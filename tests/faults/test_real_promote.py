"""Promotions on real servers: twenty swaps under load, a writer that is frozen meanwhile, two commands at once."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.faults.promoting import BLOCK, BLOCKS, Application, compared
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.primary import chosen_primary
from tidelog.gateways.cli import main
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SITES = ("tokyo", "osaka")
WRITER = f"""
import sys, tidelog
from tidelog.errors import Fenced
group = tidelog.open_group(sys.argv[2], config=sys.argv[1])
volume = group.create_volume("data", {BLOCK * BLOCKS}, {BLOCK})
number = 0
try:
    while True:
        number += 1
        volume.write(number % {BLOCKS} * {BLOCK}, number.to_bytes(8, "big"))
        group.flush()
        print(number, flush=True)
except Fenced as error:
    print("fenced:", error, "hint:", error.hint, flush=True)
"""


@pytest.fixture
def group_name(running: RunningDeployment) -> str:
    """A group that both sites serve."""
    name = f"swap-{os.urandom(4).hex()}"
    running.deployment.cluster.create_group(name)
    for site in SITES:
        running.wait_for_store(site, name, timeout=60)
    return name


def test_twenty_swaps_under_load(running: RunningDeployment, group_name: str) -> None:
    """Planned ones, every fifth forced; the application writes on at each new primary."""
    config = running.deployment.config
    mine = RealDeployment(config)
    application = Application(mine, group_name)
    try:
        application.writes_at("tokyo")
        for turn in range(20):
            site = SITES[(turn + 1) % 2]
            plan = plan_promotion(running.deployment, site, group_name, forced=turn % 5 == 4, timeout=60)
            report = Promotion(running.deployment, plan).run()
            assert plan.forced or report.stopped, "the writer ended in order"
            application.writes_at(site)
        application.stop()
    finally:
        application._stopping.set()
        mine.close()
    assert len(application.fenced) >= 20
    planned = [error for error in application.fenced if "all that it had accepted is in the log" in str(error)]
    assert len(planned) >= 16
    with running.group(group_name) as group:
        group.mark("after").wait(SITES, timeout=60)
    reference = compared(running.deployment, group_name, SITES, application.flushed)
    assert reference.epoch >= 40 and not reference.gap
    assert [cut.name for cut in reference.copies.values()] == ["after"]


def write_in_a_process(config_file: Path, group: str) -> tuple["subprocess.Popen[str]", list[str]]:
    """An application; what it says is gathered as it comes."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
    command = [sys.executable, "-c", WRITER, str(config_file), group]
    writer = subprocess.Popen(launcher + command, stdout=subprocess.PIPE, text=True)
    said: list[str] = []

    def gather() -> None:
        assert writer.stdout is not None
        said.extend(iter(writer.stdout.readline, ""))

    threading.Thread(target=gather, daemon=True).start()
    assert wait_until(lambda: len(said) > 20, timeout_s=60)
    return writer, said


def test_a_frozen_writer(running: RunningDeployment, group_name: str, config_file: Path) -> None:
    """It does not answer a planned promotion, which changes nothing; forced, the new one writes; resumed, the old one
    is fenced, and says by what. Every flush of both that returned is there."""
    writer, said = write_in_a_process(config_file, group_name)
    promote = ["-c", str(config_file), "site", "promote", "osaka", "--group", group_name]
    try:
        os.kill(writer.pid, signal.SIGSTOP)
        assert main([*promote, "--timeout", "1s"]) == 13
        os.kill(writer.pid, signal.SIGCONT)
        before = len(said)
        assert wait_until(lambda: len(said) > before + 20, timeout_s=60), "it goes on: nobody asks any more"
        os.kill(writer.pid, signal.SIGSTOP)
        assert main([*promote, "--force"]) == 0
        group = running.group(group_name)
        assert group.read_side.site == "osaka"
        flushed = max(int(line) for line in said)
        newest = group.volume("data").read(flushed % BLOCKS * BLOCK, 8)
        assert int.from_bytes(newest, "big") >= flushed
        group.create_volume("beside", BLOCK).write(0, b"at the new primary")
        group.flush()
        os.kill(writer.pid, signal.SIGCONT)
        assert writer.wait(60) == 0
        assert wait_until(lambda: said[-1].startswith("fenced: "), timeout_s=20)
        assert "promotion to osaka" in said[-1] and "open it again" in said[-1]
        flushed = max(int(line) for line in said[:-1])
        group.mark("after").wait(SITES, timeout=60)
        group.close()
        compared(running.deployment, group_name, SITES, flushed)
    finally:
        writer.kill()
        writer.wait(30)


def test_two_commands_at_once(running: RunningDeployment, group_name: str, config_file: Path) -> None:
    """To different sites, beside a writer: at least one succeeds, and the last that did is the primary."""
    application = Application(running.deployment, group_name)
    application.writes_at("tokyo")
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid()), sys.executable, "-m", "tidelog"]
    for _ in range(2):
        both = [
            subprocess.Popen(
                [*launcher, "-c", str(config_file), "site", "promote", site, "-g", group_name, "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for site in SITES
        ]
        told = [process.communicate(timeout=120) for process in both]
        codes = [process.returncode for process in both]
        assert set(codes) <= {0, 13} and 0 in codes, told
        reports = [json.loads(out) for (out, _), code in zip(told, codes, strict=True) if code == 0]
        opened = [found for found in reports if found["report"] is not None]
        chosen = chosen_primary(
            running.deployment.cluster.control.snapshot(), running.deployment.cluster.find_group(group_name)
        )
        if opened:
            last = max(opened, key=lambda found: found["report"]["epoch"])
            assert chosen is not None and (chosen.site, chosen.epoch) == (last["plan"]["site"], last["report"]["epoch"])
        application.writes_at(chosen.site if chosen is not None else "tokyo")
    application.stop()
    compared(running.deployment, group_name, SITES, application.flushed)

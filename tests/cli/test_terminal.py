"""What is drawn on a real terminal (a pty with a size), and that nothing is on a pipe."""

import os
import re
from collections.abc import Iterator

import pytest

from tests.cli.operating import Command, OnTerminal, Operator, operating
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

MIB = 1024 * 1024
BAR = re.compile(r"[━╸╺]{5,}")
RATE = re.compile(r"\d+(\.\d+)? [kMG]?B/s")
ETA = re.compile(r"\b\d+:\d\d:\d\d\b")


@pytest.fixture(scope="module")
def bank(tidelog_kafka, tidelog_site_redis, tmp_path_factory) -> Iterator[Operator]:
    """A group with 256 MiB in its log and a copy, at tokyo, whose worker runs; osaka has none."""
    folder = tmp_path_factory.mktemp("terminal")
    urls = {site: tidelog_site_redis(site).url for site in ("tokyo", "osaka")}
    with operating(folder, tidelog_kafka.bootstrap_servers, urls) as operator:
        operator.ok("group", "create", "bank")
        operator.work("tokyo")
        (folder / "image").write_bytes(os.urandom(256 * MIB))
        operator.ok("volume", "import", str(folder / "image"), "disk", "-g", "bank", "--create")
        operator.ok("pitc", "create", "one", "-g", "bank", "--sites", "tokyo", "--timeout", "60s")
        yield operator


def frames(terminal: OnTerminal) -> list[str]:
    """What was drawn from one return to the line's beginning to the next, without colours."""
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", bytes(terminal.drawn).decode(errors="replace"))
    return [frame for frame in re.split(r"[\r\n]+", plain) if frame.strip()]


def test_a_rebuild_draws_a_bar_a_rate_and_the_time_to_go(bank: Operator) -> None:
    """Growing, in one line of the screen, which is taken away at the end; the report stays."""
    terminal = OnTerminal(bank.line("site", "rebuild", "osaka", "-g", "bank", "--yes"))
    assert terminal.ends(timeout_s=120) == 0
    bars = [frame for frame in frames(terminal) if "rebuilding osaka" in frame]
    assert bars and all(BAR.search(frame) for frame in bars)
    assert any(RATE.search(frame) for frame in bars) and any(ETA.search(frame) for frame in bars)
    percents = [int(found[1]) for found in (re.search(r"(\d+)%", frame) for frame in bars) if found]
    assert percents == sorted(percents) and len(set(percents)) >= 3 and percents[-1] == 100
    assert len({re.search(r"sequence ([\d,]+) of", frame)[1] for frame in bars}) >= 3
    seen = terminal.screen()
    assert "rebuilt in" in seen and "rebuilding osaka" not in seen and "equal" in seen
    assert terminal.drawn.count(b"\x1b[?25l") == terminal.drawn.count(b"\x1b[?25h") > 0  # the cursor is back


def test_a_rebuild_on_a_pipe_draws_nothing(bank: Operator) -> None:
    """Not a bar, not a code, not a carriage return: plain lines."""
    done = bank("site", "rebuild", "osaka", "-g", "bank", "--yes", "--from-scratch")
    assert done.returncode == 0
    said = (done.stdout + done.stderr).decode()
    assert "rebuilt in" in said
    assert "\x1b" not in said and "\r" not in said and not BAR.search(said) and "%" not in said


def test_ctrl_c_typed_at_a_rebuild_gives_the_terminal_back(bank: Operator) -> None:
    """One line behind the bar, and the cursor shown again."""
    terminal = OnTerminal(bank.line("site", "rebuild", "osaka", "-g", "bank", "--yes", "--from-scratch"))
    assert wait_until(lambda: b"rebuilding osaka" in terminal.drawn, timeout_s=60)
    terminal.type(b"\x03")
    assert terminal.ends() == 130
    seen = terminal.screen()
    assert seen.count("interrupted") == 1 and "Traceback" not in seen and "rebuilt in" not in seen
    assert bytes(terminal.drawn).rfind(b"\x1b[?25h") > bytes(terminal.drawn).rfind(b"\x1b[?25l")
    bank.ok("site", "rebuild", "osaka", "-g", "bank", "--yes")


def applied(screen: str) -> int:
    """Tokyo's position as a person reads it."""
    found = re.search(r"^tokyo +\S+ +(\d+) ", screen, re.MULTILINE)
    return int(found[1]) if found else -1


def test_status_watch_redraws_one_screen(bank: Operator) -> None:
    """However often it draws, one table is to be seen, and its position moves as the site does."""
    terminal = OnTerminal(bank.line("status", "--watch", "--interval", "100ms"))
    assert wait_until(lambda: applied(terminal.screen()) > 0, timeout_s=60), terminal.screen()
    before = applied(terminal.screen())
    bank.ok("volume", "write", "disk", "-g", "bank", stdin=b"moves")
    assert wait_until(lambda: applied(terminal.screen()) > before, timeout_s=60), terminal.screen()
    drawn = len(terminal.drawn)
    assert wait_until(lambda: len(terminal.drawn) > 2 * drawn, timeout_s=60)
    seen = terminal.screen()
    assert bytes(terminal.drawn).count(b"tokyo") > 5
    assert len(re.findall(r"^tokyo ", seen, re.MULTILINE)) == 1 == seen.count("writer alive") + seen.count("no writer")
    terminal.type(b"\x03")
    assert terminal.ends() == 130
    assert terminal.screen().count("interrupted") == 1 and "Traceback" not in terminal.screen()


def test_status_watch_on_a_pipe_draws_no_screen(bank: Operator) -> None:
    """Screen after screen, as plain lines."""
    command = Command(bank.line("status", "--watch", "--interval", "100ms"))
    try:
        command.reaches(lambda: command.out.count(b"group bank") >= 3, "the third screen")
        command.interrupt()
    finally:
        command.kill()
    assert b"\x1b" not in command.out + command.err and b"\r" not in command.out

"""`tidelog status --watch` on real terminals of two widths, through an outage of Kafka, and on a pipe."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.operating import Command, OnTerminal, Operator, operating
from tests.names import fresh
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
WATCH = ("status", "--watch", "--interval", "200ms")
AWAY = "NO ANSWER FROM KAFKA for "


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    """One that these tests pause."""
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """Likewise, of tokyo."""
    with RedisServer() as server:
        yield server
        server.resume()


@pytest.fixture(scope="module")
def bank(kafka: KafkaServer, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The group `bank` at tokyo, whose worker runs; it gives Kafka little time to answer."""
    folder: Path = tmp_path_factory.mktemp("watch")
    with operating(folder, kafka.bootstrap_servers, {"tokyo": redis.url}) as operator:
        patience = 'request_timeout = "3s"\nconnect_timeout = "3s"\n'
        operator.config.write_text(operator.config.read_text().replace("[kafka]\n", f"[kafka]\n{patience}"))
        operator.ok("group", "create", "bank")
        operator.work("tokyo")
        operator.ok("volume", "create", "ledger", "-g", "bank", "--size", "1MiB")
        operator.ok("pitc", "create", "one", "-g", "bank", "--wait", "--timeout", "60s")
        yield operator
        kafka.resume()


def seen(terminal: OnTerminal, condition: str, timeout_s: float = 60) -> str:
    """The screen, once the pattern is somewhere in it."""
    assert wait_until(lambda: re.search(condition, terminal.screen(), re.MULTILINE), timeout_s), terminal.screen()
    return terminal.screen()


def ended(terminal: OnTerminal) -> str:
    """The screen after Ctrl-C, which ends it as everywhere."""
    terminal.type(b"\x03")
    assert terminal.ends() == 130
    shown = terminal.screen()
    assert shown.count("interrupted") == 1 and "Traceback" not in shown
    assert bytes(terminal.drawn).rfind(b"\x1b[?25h") > bytes(terminal.drawn).rfind(b"\x1b[?25l")  # the cursor is back
    return shown


def test_at_80_columns_each_site_has_lines_of_its_own(bank: Operator) -> None:
    """And each is whole."""
    terminal = OnTerminal(bank.line(*WATCH), rows=30, columns=80)
    for line in (
        r"^tokyo  STREAMING  at \d+, 0 behind, reported \S+ s ago$",
        r"^  RPO \S+ s: \S+ s not in log, \S+ s not applied$",
        r"^  \S+ s in no copy; newest copy \S+ \w+ old, equal$",
        r"^  [\d.,]+ events/s, \S+ \S+/s$",
        r"^seen at \S+Z, each 0.2 s; Ctrl-C ends$",
    ):
        seen(terminal, line)
    assert len(re.findall(r"^tokyo ", ended(terminal), re.MULTILINE)) == 1


def test_at_120_columns_there_is_a_table(bank: Operator) -> None:
    """One row a site, with the parts of its RPO; what is missed least is left out."""
    terminal = OnTerminal(bank.line(*WATCH), rows=30, columns=120)
    seen(terminal, r"^tokyo +STREAMING .* equal\b")
    shown = ended(terminal)
    (heads,) = re.findall(r"^site .*$", shown, re.MULTILINE)
    for name in ("state", "behind", "not in log", "not applied", "in no copy", "RPO", "events/s", "data/s", "ETA"):
        assert name in heads
    (row,) = re.findall(r"^tokyo .*$", shown, re.MULTILINE)
    assert len(re.split(r" {2,}", row.strip())) == len(re.split(r" {2,}", heads.strip()))


def test_a_terminal_that_is_made_narrower(bank: Operator) -> None:
    """Is drawn anew from its first line on, in the form that fits."""
    terminal = OnTerminal(bank.line(*WATCH), rows=30, columns=120)
    seen(terminal, r"^tokyo +STREAMING .* equal\b")
    terminal.resize(30, 80)
    assert wait_until(lambda: b"\x1b[2J" in terminal.drawn, timeout_s=60)
    seen(terminal, r"\A(seen at .*|NO ANSWER .*)\n[\s\S]*^tokyo  STREAMING  at \d+")
    shown = ended(terminal)
    assert len(re.findall(r"^tokyo ", shown, re.MULTILINE)) == 1 and not re.search(r"^site ", shown, re.MULTILINE)


def test_a_group_that_is_made_meanwhile_appears(bank: Operator) -> None:
    """And what happens to a site is seen as it happens. On a lower screen it has at least a line."""
    orders, terminal = fresh("orders"), OnTerminal(bank.line(*WATCH), rows=60, columns=80)
    assert f"group {orders}" not in seen(terminal, r"^group bank ")
    bank.ok("group", "create", orders)
    seen(terminal, rf"^group {orders} ")
    bank.ok("site", "rebuild", "tokyo", "-g", "bank", "--yes")
    seen(terminal, r"^tokyo  STREAMING  at [1-9]\d*, 0 behind")
    ended(terminal)
    terminal = OnTerminal(bank.line(*WATCH), rows=12, columns=80)
    seen(terminal, r"^bank  STREAMING at tokyo, RPO \S+ s$")
    seen(terminal, rf"^{orders}  STREAMING at tokyo, RPO ")
    shown = seen(terminal, r"^\d+ lines are hidden: see a group alone with --group$")
    assert shown.startswith(("seen at ", "NO ANSWER "))
    ended(terminal)


def test_a_redis_that_freezes_under_a_site_that_streams(bank: Operator, redis: RedisServer) -> None:
    """It is not starting: it waits, at the position that it had, and says for what; then it streams again. That is seen
    when one answer has been waited for (5 s by default), not several."""
    terminal = OnTerminal(bank.line(*WATCH, "--group", "bank"), rows=40, columns=80)
    shown = seen(terminal, r"^tokyo  STREAMING  at \d+, 0 behind")
    at = int(re.search(r"^tokyo  STREAMING  at (\d+)", shown, re.MULTILINE)[1])  # type: ignore[index]
    redis.pause()
    paused = time.monotonic()
    try:
        shown = seen(terminal, r"^tokyo  (?!STREAMING|REPLAYING)")
        assert time.monotonic() - paused < 15
        (state, position) = re.search(r"^tokyo  (\w+)  at (\d+), ", shown, re.MULTILINE).groups()  # type: ignore[union-attr]
        assert state == "WAITING" and int(position) >= at
        seen(terminal, r"^tokyo: StoreUnavailable: ")
        checked = bank("check")
        assert checked.returncode == 3 and b"bank at tokyo is WAITING (StoreUnavailable: " in checked.stdout
        assert re.search(r"bank at tokyo: WAITING at sequence \d+: StoreUnavailable: ", bank.said("tokyo"))
    finally:
        redis.resume()
    seen(terminal, r"^tokyo  STREAMING  at \d+, 0 behind")
    ended(terminal)


def test_kafka_goes_away_and_comes_back(bank: Operator, kafka: KafkaServer) -> None:
    """The screen says so, and of which time what it shows is; then it goes on."""
    terminal = OnTerminal(bank.line(*WATCH), rows=40, columns=100)
    seen(terminal, r"^tokyo  STREAMING")
    kafka.pause()
    try:
        shown = seen(terminal, AWAY)
        seen(terminal, r"this was\s+seen at \S+Z[\s\S]*^tokyo ")
        first = re.search(rf"{AWAY}(\d+)", shown)
        assert first is not None
        seen(terminal, rf"{AWAY}(?!{first[1]}\b)\d")  # it counts on
    finally:
        kafka.resume()
    assert wait_until(lambda: AWAY not in terminal.screen(), timeout_s=60), terminal.screen()
    seen(terminal, r"^seen at \S+Z, each 0.2 s")
    ended(terminal)


def test_a_stream_has_the_rates_in_every_document(bank: Operator) -> None:
    """Line by line, whatever has been applied. (A Kafka that goes away ends it: `tests/faults`.)"""
    command = Command(bank.line(*WATCH, "--json"))
    try:
        command.reaches(lambda: command.out.count(b"\n") >= 3, "a third document")
        command.interrupt()
    finally:
        command.kill()
    for line in command.out.decode().splitlines():
        document = json.loads(line)
        assert document["version"] == 1
        (site,) = next(group for group in document["groups"] if group["group"] == "bank")["sites"]
        assert {"rates_window_seconds", "events_per_second", "bytes_per_second", "eta_seconds"} <= site.keys()

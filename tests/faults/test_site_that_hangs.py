"""One site's Redis takes connections and answers nothing: what is asked of all sites waits for it once, and says so."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.operating import Operator, operating
from tidelog.gateways.cli.asking import PATIENCE_SECONDS
from tidelog.testing.processes import RedisServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
SITES = ("tokyo", "osaka", "london")


@pytest.fixture
def operator(tmp_path: Path, tidelog_kafka) -> Iterator[Operator]:
    """With copy ``noon`` of group ``bank`` at three sites, a clone of it at osaka, and the Redis of london stopped."""
    with RedisServer(name="tokyo") as tokyo, RedisServer(name="osaka") as osaka, RedisServer(name="london") as london:
        urls = {site: server.url for site, server in zip(SITES, (tokyo, osaka, london), strict=True)}
        with operating(tmp_path, tidelog_kafka.bootstrap_servers, urls) as made:
            made.ok("group", "create", "bank")
            for site in SITES:
                made.work(site)
            made.ok("volume", "create", "ledger", "-g", "bank", "--size", "64KiB")
            made.ok("pitc", "create", "noon", "-g", "bank", "--wait", "--timeout", "60s")
            made.ok("pitc", "clone", "noon", "drill", "-g", "bank", "--site", "osaka")
            for worker in made.workers.values():
                worker.kill()
            made.workers.clear()
            assert london.pid is not None
            os.kill(london.pid, signal.SIGSTOP)
            try:
                yield made
            finally:
                os.kill(london.pid, signal.SIGCONT)


def test_a_list_waits_for_it_once_and_says_that_it_could_not_be_asked(operator: Operator) -> None:
    """By the connection's own timeout, which is longer, three times over, it would be many times as long."""
    timeouts = '[sites.london.redis]\nsocket_timeout = "60s"\n'
    operator.config.write_text(operator.config.read_text().replace("[sites.london.redis]\n", timeouts))
    begun = time.monotonic()
    listed = operator("pitc", "list", "-g", "bank")
    took = time.monotonic() - begun
    said = listed.stderr.decode()
    assert listed.returncode == 0 and took < 60 - PATIENCE_SECONDS, took
    assert said.count("site london could not be asked; shown of it is what it has reported") == 1, said
    assert "site tokyo" not in said and b"held by clone drill at osaka" in listed.stdout, listed.stdout
    for arguments in (("list", "-g", "bank"), ("show", "noon", "-g", "bank")):
        told = operator("pitc", *arguments, "--json")
        assert list(json.loads(told.stdout)["unasked"]) == ["london"], told.stderr


def test_a_drop_asks_for_as_long_as_it_takes(operator: Operator) -> None:
    """It is refused for the clone that another site has."""
    refused = operator("pitc", "drop", "noon", "-g", "bank")
    assert refused.returncode == 2 and b"tidelog clone drop drill" in refused.stderr, refused.stderr

"""A real Prometheus scrapes a real worker and an observer, and fires our rule when the site halts."""

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.operating import ROOT, Operator
from tests.tools import tool
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.gateways.metrics import exposition
from tidelog.gateways.standing.observer import Observer
from tidelog.testing.child import ChildProcess
from tidelog.testing.ports import available_port
from tidelog.testing.readiness import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
RULES = ROOT / "infra" / "prometheus" / "rules" / "tidelog.yaml"


@pytest.fixture
def deployment(operator: Operator) -> Iterator[RealDeployment]:
    """Workers answer a scraper at a port of their choice."""
    operator.config.write_text(operator.config.read_text() + '[metrics]\nlisten = "127.0.0.1:0"\n')
    opened = RealDeployment(Config.load(operator.config, {}))
    yield opened
    opened.close()


@pytest.fixture
def observer_port(deployment: RealDeployment) -> Iterator[int]:
    """An HTTP server whose every answer is a look at all groups."""
    looking, lock = Observer(deployment), threading.Lock()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                text, media_type = exposition(looking.observe())
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(30)
    with looking:
        pass


class Prometheus:
    """One of its own, with our rules, that scrapes each second."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self.port = available_port()
        scrapes = [{"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": scrapes,
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        command = [tool("prometheus"), f"--config.file={folder / 'prometheus.yaml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = ChildProcess("prometheus", command, folder / "prometheus.log")

    def ask(self, path: str) -> Any:
        """The data of an answer of its API; None while it does not answer yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, expression: str) -> float | None:
        """Of the first result of a query."""
        found = self.ask(f"query?query={urllib.parse.quote(expression)}")
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def firing(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire, by name."""
        found = self.ask("alerts") or {"alerts": []}
        return {alert["labels"]["alertname"]: alert for alert in found["alerts"] if alert["state"] == "firing"}


def address_said(operator: Operator, site: str) -> str:
    """Where the site's worker says that its metrics are."""
    said: list[str] = []

    def there() -> bool:
        said[:] = [line for line in operator.said(site).splitlines() if f"metrics of site {site} at " in line]
        return bool(said)

    assert wait_until(there, timeout_s=60), operator.said(site)
    return said[0].rpartition("//")[2].removesuffix("/metrics")


def test_prometheus_sees_a_site_halt(
    operator: Operator, deployment: RealDeployment, observer_port: int, tmp_path: Path
) -> None:
    """From the log to the alert: counters go up at the receiving end; then bytes that are no event stop the site."""
    operator.ok("group", "create", "bank")
    operator.work("tokyo")
    targets = {"worker": address_said(operator, "tokyo"), "observer": f"127.0.0.1:{observer_port}"}
    prometheus = Prometheus(tmp_path, targets)
    try:
        operator.ok("volume", "create", "ledger", "-g", "bank", "--size", "1MiB")
        with open_group("bank", deployment=deployment) as group:
            group.volume("ledger").write(0, b"x" * 5000)
            group.mark("one").wait(sites=["tokyo"], timeout=60)
        where = '{group="bank",site="tokyo"}'
        assert wait_until(lambda: prometheus.value(f"tidelog_worker_bytes_applied_total{where}") == 5000, 60)
        assert wait_until(lambda: prometheus.value(f"tidelog_site_bytes_applied_total{where}") == 5000, 60)
        assert wait_until(lambda: prometheus.value(f"tidelog_site_copies{where}") == 1, 60)
        assert wait_until(lambda: prometheus.value("sum(up)") == 2, 60)
        assert "TidelogSiteHalted" not in prometheus.firing()
        appender = deployment.cluster.log(deployment.cluster.find_group("bank")).appender()
        appender.send(b"this is no event", lambda *_: None)
        appender.close(30)
        assert wait_until(lambda: {"TidelogSiteHalted", "TidelogWorkerHalted"} <= prometheus.firing().keys(), 90), (
            prometheus.ask("alerts")
        )
        alert = prometheus.firing()["TidelogSiteHalted"]
        assert (alert["labels"]["group"], alert["labels"]["site"], alert["labels"]["state"]) == (
            "bank",
            "tokyo",
            "HALTED",
        )
        shown = operator(*alert["annotations"]["command"].split()[1:])
        assert shown.returncode == 4 and b"CorruptEvent" in shown.stdout
        assert prometheus.value('tidelog_worker_halts_total{kind="CorruptEvent"}') == 1
    finally:
        prometheus.process.kill()


def test_a_worker_without_listen_answers_nobody(operator: Operator) -> None:
    """Off unless it is asked for; an address that is not this machine's is an error of the configuration."""
    operator.ok("group", "create", "bank")
    operator.work("tokyo")
    assert wait_until(lambda: "STREAMING" in operator.said("tokyo"), timeout_s=60)
    assert "metrics" not in operator.said("tokyo")
    operator.config.write_text(operator.config.read_text() + '[metrics]\nlisten = "192.0.2.1:9464"\n')
    refused = operator("site", "run", "osaka")
    assert refused.returncode == 10 and b"cannot be listened on" in refused.stderr

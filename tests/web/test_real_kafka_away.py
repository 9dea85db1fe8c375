"""A real Kafka that stops answering under a page that is open: what hangs is said to be late, and all comes back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.web.conftest import Page
from tests.web.scenes import PATIENCE_S, Client, eventually
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.gateways.web.server import HttpServer
from tidelog.gateways.web.serving import serving
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[KafkaServer, RunningDeployment]]:
    """Servers of the test's own, and a worker at tokyo."""
    with KafkaServer() as kafka, RedisServer() as redis:
        path = tmp_path / "tidelog.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\n[sites.tokyo.redis]\nurl = "{redis.url}"\n'
            '[http]\naddress = "127.0.0.1:0"\n'
        )
        with RunningDeployment(RealDeployment(Config.load(path, {}))) as running:
            running.group("bank")
            running.wait_for_store("tokyo", "bank", timeout=PATIENCE_S)
            yield kafka, running
            kafka.resume()


def test_kafka_hangs(page: Page, scene: tuple[KafkaServer, RunningDeployment], shoot: Callable[[str], None]) -> None:
    """With its own timeouts, which are long: the page is told before them, and the process stays alive."""
    kafka, running = scene
    deployment = running.deployment
    with HttpServer(deployment, serving(deployment.config.http)) as server:
        client = Client(server)
        page.open(server.url)
        page.says("#headline", "All is well")
        kafka.pause()
        page.says("#banners", "Kafka has not answered since")
        page.says("#looked", "old")
        assert "tokyo" in page.text(".branches")
        eventually(lambda: client.status("/readyz") == 503, "not ready")
        assert client.status("/healthz") == 200 and client.status("/api/v1/status") == 503
        shoot("kafka-hangs")
        kafka.resume()
        page.falls_silent("#banners")
        eventually(lambda: client.status("/readyz") == 200, "ready")
        page.says(".branches", "streaming")

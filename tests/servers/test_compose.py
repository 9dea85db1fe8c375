"""compose.yaml with a compose of its own: read by it, and run by it, on images that are built here."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.servers.compose_project import FILE, Compose
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.container_images import KAFKA_IMAGE, REDIS_IMAGE, image_name
from tidelog.testing.ports import available_port
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import SITES, stack_toml


@pytest.fixture
def config(compose_installed: None) -> Any:  # noqa: ARG001 (skips or fails)
    """compose.yaml as compose reads it, for some variables."""

    def read(**variables: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(Compose(**variables)("config"))
        return found

    return read


def test_compose_reads_it(config) -> None:
    """With the defaults, and with every variable set. What has no profile is the Kafka and the sites' servers."""
    services = config()["services"]  # version 1 shows those of profiles, too, that would not be started
    assert {name for name, service in services.items() if not service.get("profiles")} == {"kafka", *SITES}
    assert services["kafka"]["image"] == KAFKA_IMAGE.official
    given = {KAFKA_IMAGE.variable: "my/kafka:1", REDIS_IMAGE.variable: "my/redis:2", "STACK_KAFKA_PORT": "1234"}
    services = config(**given, COMPOSE_PROFILES="sites,monitoring")["services"]
    assert set(services) == {"kafka", *SITES, *(f"worker-{site}" for site in SITES), "status", "prometheus", "grafana"}
    assert services["kafka"]["image"] == "my/kafka:1" and services["osaka"]["image"] == "my/redis:2"
    assert "HOST://127.0.0.1:1234," in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


@pytest.fixture
def up(compose_installed: None, docker_engine: None) -> Iterator[tuple[Compose, Config]]:  # noqa: ARG001
    """The stack, healthy, on images of the tests' own choice; taken down with its volumes."""
    ports = {name: str(available_port()) for name in ("kafka", *SITES)}
    variables = {f"STACK_{name.upper()}_PORT": port for name, port in ports.items()}
    images = {KAFKA_IMAGE.variable: image_name(KAFKA_IMAGE), REDIS_IMAGE.variable: image_name(REDIS_IMAGE)}
    compose = Compose(**variables, **images)
    try:
        compose("up", "-d")
        assert wait_until(lambda: set(compose.health().values()) == {"healthy"}, timeout_s=90), compose.health()
        assert set(compose.health()) == {"kafka", *SITES}
        sites = {name: {"redis": {"url": f"redis://127.0.0.1:{ports[name]}/0"}} for name in SITES}
        servers = {"bootstrap_servers": f"127.0.0.1:{ports['kafka']}"}
        yield compose, Config(kafka=servers, sites=sites, primary="tokyo")
    finally:
        compose("down", "-v")


@pytest.mark.servers
@pytest.mark.slow
def test_the_stack_serves_and_keeps_its_data(up: tuple[Compose, Config]) -> None:
    """Healthy means that it works: a group at three sites, the same copy everywhere; and again after down and up."""
    compose, config = up
    with RunningDeployment(RealDeployment(config)) as running:
        for site in SITES:
            running.site(site)
        group = running.group("bank")
        group.create_volume("ledger", "1MiB").write(0, b"before")
        group.mark("one").wait(timeout=60)
    compose("down")
    compose("up", "-d")
    assert wait_until(lambda: set(compose.health().values()) == {"healthy"}, timeout_s=90), compose.health()
    with RunningDeployment(RealDeployment(config)) as running:
        for site in SITES:
            assert running.site(site).group("bank").copy("one").volume("ledger").read(0, 6) == b"before"
        running.group("bank").mark("two").wait(timeout=60)


def test_the_configuration_that_goes_with_it_is_of_these_ports(config) -> None:
    """What a client would be told is what compose publishes."""
    services = config()["services"]
    published = {name: _host_port(services[name]) for name in ("kafka", *SITES)}
    loaded = Config.load(FILE.with_name("tidelog.toml"), {})
    told = stack_toml(f"127.0.0.1:{published['kafka']}", {s: f"redis://127.0.0.1:{published[s]}/0" for s in SITES})
    assert told.strip() in FILE.with_name("tidelog.toml").read_text()
    assert set(loaded.sites) == set(SITES)


def _host_port(service: dict[str, Any]) -> str:
    """Version 1 of compose gives text, version 2 a table."""
    (port,) = service["ports"]
    return port.split(":")[1] if isinstance(port, str) else str(port["published"])

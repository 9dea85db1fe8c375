"""What the profiles of infra/compose.yaml add, and the configuration of Prometheus and Grafana beside it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.tools import tool
from tidelog.config import Config
from tidelog.gateways.cli.application import app
from tidelog.testing.stack import SITES

INFRA = Path(__file__).parents[2] / "infra"
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
WORKERS = {f"worker-{site}": site for site in SITES}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """With no variable set."""
    text = DEFAULT.sub(lambda found: found[2], (INFRA / "compose.yaml").read_text())
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def of_profile(services: dict[str, dict[str, Any]], profile: str) -> set[str]:
    return {name for name, service in services.items() if service.get("profiles") == [profile]}


def loaded(service: dict[str, Any]) -> Config:
    """The configuration that a service's environment is, as far as this version knows its tables."""
    environ = dict(service["environment"])
    if "metrics" not in Config.model_fields:
        environ.pop("TIDELOG_METRICS__LISTEN", None)
    return Config.load(None, environ)


def test_each_is_in_a_profile(services: dict[str, dict[str, Any]]) -> None:
    """And has a health check and a restart."""
    assert of_profile(services, "sites") == set(WORKERS)
    assert of_profile(services, "monitoring") == {"status", "prometheus", "grafana"}
    assert {name for name, service in services.items() if "profiles" not in service} == {"kafka", *SITES}
    for service in services.values():
        assert service["healthcheck"]["test"] and service["restart"] == "unless-stopped"


def test_a_worker_for_each_site(services: dict[str, dict[str, Any]]) -> None:
    """By tidelog's own command, with the addresses of this network, and nothing that it can write to."""
    inside = {site: f"redis://{site}:6379/0" for site in SITES}
    for name, site in WORKERS.items():
        service = services[name]
        assert service["command"] == ["site", "run", site] and set(service["depends_on"]) == {"kafka", site}
        config = loaded(service)
        assert list(config.kafka.bootstrap_servers) == ["kafka:9094"] and config.primary == "tokyo"
        assert {key: one.redis.url for key, one in config.sites.items()} == inside
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and "volumes" not in service
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_status_page_is_of_this_machine(services: dict[str, dict[str, Any]]) -> None:
    """It listens on loopback alone, and so do those beside it; its addresses are those of infra/tidelog.toml."""
    status = services["status"]
    config, written = loaded(status), Config.load(INFRA / "tidelog.toml", {})
    assert config.kafka.bootstrap_servers == written.kafka.bootstrap_servers
    assert {key: one.redis.url for key, one in config.sites.items()} == {
        key: one.redis.url for key, one in written.sites.items()
    }
    for name in ("status", "prometheus", "grafana"):
        assert services[name]["network_mode"] == "host" and "ports" not in services[name]
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    command = typer.main.get_command(app)
    for word in status["command"]:
        command = command.commands[word]  # type: ignore[attr-defined]


def test_prometheus_reads_its_configuration() -> None:
    """And asks what compose serves."""
    path = INFRA / "prometheus" / "prometheus.yml"
    done = subprocess.run([tool("promtool"), "check", "config", "--syntax-only", str(path)], capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {job["job_name"]: job["static_configs"] for job in yaml.safe_load(path.read_text())["scrape_configs"]}
    targets = {target for configs in jobs.values() for one in configs for target in one["targets"]}
    text = DEFAULT.sub(lambda found: found[2], (INFRA / "compose.yaml").read_text())
    metrics = {f"127.0.0.1:{port}" for port in re.findall(r"127\.0\.0\.1:(\d+):9464", text)}
    assert len(metrics) == len(SITES) and targets == {"127.0.0.1:8080"} | metrics


def test_grafana_finds_its_dashboards_and_its_data(services: dict[str, dict[str, Any]]) -> None:
    """Where compose puts them."""
    provisioning = INFRA / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tidelog.yaml").read_text())["providers"]
    assert source["url"] == "http://127.0.0.1:9090" and source["type"] == "prometheus"
    mounts = [mount.split(":") for mount in services["grafana"]["volumes"]]
    places = {mount[1]: mount[0] for mount in mounts}
    assert places[provider["options"]["path"]] == "./grafana/dashboards"
    assert places["/etc/grafana/provisioning"] == "./grafana/provisioning"


def test_every_volume_is_declared_and_used(services: dict[str, dict[str, Any]]) -> None:
    """None more than are used: compose would keep it."""
    declared = set(yaml.safe_load((INFRA / "compose.yaml").read_text())["volumes"])
    mounts = [mount for service in services.values() for mount in service.get("volumes", ())]
    assert {mount.split(":")[0] for mount in mounts if mount[0] != "."} == declared

"""The command line on a deployment in memory: everything real but the servers."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.operating import Operator, operating
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment, MemoryDeployment
from tidelog.gateways.cli import main
from tidelog.producers.cluster import Cluster
from tidelog.schemas.reports import WriterStatus, writer_key
from tidelog.stores.keyspace import Keyspace
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka", "london")
TOML = """
[writer]
heartbeat = "100ms"
max_clock_skew = "1s"
[worker]
status_interval = "100ms"
poll_timeout = "20ms"
""" + "".join(f'[sites.{site}.redis]\nurl = "redis://memory-{site}"\n' for site in SITES)


@dataclass(frozen=True)
class Result:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Cli = Callable[..., Result]


class Kept:
    """A deployment that the end of a command does not close."""

    def __init__(self, deployment: MemoryDeployment) -> None:
        self._deployment = deployment
        self.config: Config = deployment.config
        self.cluster: Cluster = deployment.cluster

    def keyspace(self, site: str, group: str) -> Keyspace:
        return self._deployment.keyspace(site, group)

    def close(self) -> None:
        pass


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def deployment(config_file: Path) -> Deployment:
    return Kept(MemoryDeployment(Config.load(config_file, {})))


@pytest.fixture
def sites(deployment: Deployment) -> Iterator[RunningDeployment]:
    """Workers on threads, once asked for: `sites.site("osaka")`."""
    with RunningDeployment(deployment) as running:
        yield running


@pytest.fixture
def cli(
    config_file: Path,
    deployment: Deployment,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    """Runs one command line; ``stdin`` is what it can read there."""

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = main(["--config", str(config_file), *arguments], lambda _: deployment)
        captured = capsysbinary.readouterr()
        result = Result(code, captured.out, captured.err.decode())
        assert "Traceback" not in result.err
        assert not re.search(r"\bgroup (\S+)\b.*\(group \1\b", result.err), "the group is named twice"
        return result

    return run


@pytest.fixture
def bank(cli: Cli, sites: RunningDeployment) -> Cli:
    """The command line, with the group ``bank`` served by all sites, and its volume ``ledger`` of 1 MiB."""
    assert cli("group", "create", "bank").code == 0
    for site in SITES:
        sites.site(site)
    for site in SITES:
        sites.wait_for_store(site, "bank")
    assert cli("volume", "create", "ledger", "-g", "bank", "--size", "1MiB").code == 0
    for site in SITES:
        assert sites.site(site).group("bank").wait_until(2)
    return cli


def killed_writer(deployment: Deployment, group: str = "bank") -> WriterStatus:
    """A writer whose last report says that it is open, as after a SIGKILL: that report."""
    control, writer = deployment.cluster.control, open_group(group, deployment=deployment)

    def reported() -> WriterStatus | None:
        found = control.snapshot().get(writer_key(group))
        return found if isinstance(found, WriterStatus) and found.state == "OPEN" else None

    assert wait_until(reported, timeout_s=60)
    report = reported()
    writer.close()
    assert report is not None
    control.publish(report)
    return report


@pytest.fixture
def operator(tmp_path, tidelog_kafka, tidelog_site_redis) -> Iterator[Operator]:
    """With real servers, at tokyo and osaka: commands in processes of their own."""
    urls = {site: tidelog_site_redis(site).url for site in SITES[:2]}
    with operating(tmp_path, tidelog_kafka.bootstrap_servers, urls) as made:
        yield made

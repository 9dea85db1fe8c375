"""Two sites and the group that the runbooks are about."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clean_stores import group_of_its_own
from tests.documents.pages import SITES
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml


@pytest.fixture
def config_file(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Path]:
    """Two sites on the test's servers."""
    config: Config = tidelog_deployment.deployment.config
    urls = {name: config.sites[name].redis.url for name in SITES}
    path = tmp_path / "tidelog.toml"
    path.write_text(f'prefix = "{config.prefix}"\n' + stack_toml(",".join(config.kafka.bootstrap_servers), urls))
    with group_of_its_own(urls.values(), "bank"):
        yield path


@pytest.fixture
def running(config_file: Path) -> Iterator[RunningDeployment]:
    """The group `bank`, served by both sites."""
    with RunningDeployment(RealDeployment(Config.load(config_file, {}))) as running:
        running.deployment.cluster.create_group("bank")
        for site in SITES:
            running.wait_for_store(site, "bank", timeout=60)
        yield running

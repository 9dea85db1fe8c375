"""Three sites on real servers, by a configuration file: for commands and workers alike."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.fixtures import SITES
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing


@pytest.fixture
def config_file(tidelog_kafka: KafkaServing, tidelog_site_redis: Callable[[str], RedisServing], tmp_path: Path) -> Path:
    """Three sites."""
    sites = "".join(f'[sites.{name}.redis]\nurl = "{tidelog_site_redis(name).url}"\n' for name in SITES)
    path = tmp_path / "tidelog.toml"
    path.write_text(
        f'prefix = "test-{uuid.uuid4().hex[:12]}"\n{sites}'
        f'[kafka]\nbootstrap_servers = "{tidelog_kafka.bootstrap_servers}"\n[worker]\nstatus_interval = "200ms"\n'
    )
    return path


@pytest.fixture
def running(config_file: Path) -> Iterator[RunningDeployment]:
    """Workers and groups on it."""
    with RunningDeployment(RealDeployment(Config.load(config_file, {}))) as running:
        yield running

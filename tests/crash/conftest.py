"""What processes that are killed are given."""

import uuid
from pathlib import Path

import pytest

from tidelog.config import Config
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml


@pytest.fixture
def group_name() -> str:
    return f"crash-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def config_path(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Path:
    """The deployment's configuration as a file, for a process of its own."""
    config: Config = tidelog_deployment.deployment.config
    urls = {name: site.redis.url for name, site in config.sites.items()}
    path = tmp_path / "tidelog.toml"
    servers = ",".join(config.kafka.bootstrap_servers)
    path.write_text(f'prefix = "{config.prefix}"\nprimary = "tokyo"\n' + stack_toml(servers, urls))
    return path

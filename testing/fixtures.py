"""Fixtures for applications' own integration tests: sites and groups that run, on real servers or in memory.

    def test_ledger(tidelog_group, tidelog_site):
        london = tidelog_site("london")
        ledger = tidelog_group.create_volume("ledger", "1MiB")
        ledger.write(0, b"hello")
        tidelog_group.mark("noon").wait(sites=["london"])
        assert london.group(tidelog_group.name).copy("noon").volume("ledger").read(0, 5) == b"hello"

``tidelog_memory_group`` and ``tidelog_memory_site`` are the same without servers. Every test has a group of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tidelog.consumers.site_view import Site
    from tidelog.producers.group import Group
    from tidelog.testing.nbd import RunningNbd
    from tidelog.testing.plugin import RedisServerFactory
    from tidelog.testing.running import RunningDeployment
    from tidelog.testing.servers import KafkaServing, RedisServing

SITES = ("tokyo", "osaka", "london")
SiteFactory = Callable[[str], "Site"]


@pytest.fixture(scope="session")
def tidelog_site_redis(tidelog_redis_server: RedisServerFactory) -> Callable[[str], RedisServing]:
    """The Redis of a site, by the site's name; one for the whole session, started when first asked for."""
    started: dict[str, RedisServing] = {}

    def of(site: str) -> RedisServing:
        if site not in started:
            started[site] = tidelog_redis_server(site)
        return started[site]

    return of


@pytest.fixture
def tidelog_deployment(
    tidelog_kafka: KafkaServing, tidelog_site_redis: Callable[[str], RedisServing]
) -> Iterator[RunningDeployment]:
    """A `RunningDeployment` on the session's servers, with topics of its own; the primary is tokyo."""
    from tidelog.config import Config
    from tidelog.consumers.deployment import RealDeployment
    from tidelog.testing.running import RunningDeployment

    sites = {name: {"redis": {"url": tidelog_site_redis(name).url}} for name in SITES}
    config = Config(
        prefix=f"test-{uuid.uuid4().hex[:12]}",
        kafka={"bootstrap_servers": tidelog_kafka.bootstrap_servers},
        sites=sites,
        primary=SITES[0],
        worker={"status_interval": 0.2, "poll_timeout": 0.05},  # which is how soon a worker ends
    )
    with RunningDeployment(RealDeployment(config)) as running:
        yield running


@pytest.fixture
def tidelog_site(tidelog_deployment: RunningDeployment) -> SiteFactory:
    """``tidelog_site("osaka")``: that site, its worker running, for reading. Sites: tokyo (primary), osaka, london."""
    return tidelog_deployment.site


@pytest.fixture
def tidelog_group(tidelog_deployment: RunningDeployment) -> Group:
    """A new group, open for writing, with the primary site running behind its reads."""
    tidelog_deployment.site(SITES[0])
    return tidelog_deployment.group(f"group-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def tidelog_nbd(tidelog_deployment: RunningDeployment, tidelog_group: Group) -> Iterator[RunningNbd]:
    """An NBD server of `tidelog_group`: ``tidelog_nbd.uri("ledger")`` is for nbdinfo, nbdcopy, qemu or fio, and what
    they write is in the group as if the test had written it."""
    from tidelog.testing.nbd import RunningNbd

    with RunningNbd(tidelog_deployment.deployment, tidelog_group.name, SITES[0], tidelog_group) as running:
        yield running


@pytest.fixture
def tidelog_memory_deployment() -> Iterator[RunningDeployment]:
    """A `RunningDeployment` in this process alone."""
    from tidelog.consumers.deployment import MemoryDeployment
    from tidelog.testing.running import RunningDeployment

    with RunningDeployment(MemoryDeployment()) as running:
        yield running


@pytest.fixture
def tidelog_memory_site(tidelog_memory_deployment: RunningDeployment) -> SiteFactory:
    """As `tidelog_site`, with no servers."""
    return tidelog_memory_deployment.site


@pytest.fixture
def tidelog_memory_group(tidelog_memory_deployment: RunningDeployment) -> Group:
    """As `tidelog_group`, with no servers."""
    tidelog_memory_deployment.site(SITES[0])
    return tidelog_memory_deployment.group("group")

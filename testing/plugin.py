"""A pytest plugin with fixtures that give real Kafka and Redis servers; loaded by its entry point.

It is loaded into every project that has tidelog installed, so it imports nothing that is not needed before a fixture
is used. Environment: `TIDELOG_TEST_SERVERS`, `TIDELOG_TEST_KAFKA`, `TIDELOG_TEST_REDIS` (see `tidelog.testing.choice`),
`TIDELOG_KAFKA_IMAGE`, `TIDELOG_REDIS_IMAGE`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tidelog.testing.fault_fixtures import (  # noqa: F401
    tidelog_fault_servers,
    tidelog_kafka_cluster,
    tidelog_kafka_nodes,
    tidelog_network,
    tidelog_small_disk,
)
from tidelog.testing.fixtures import (  # noqa: F401 (fixtures are found by name)
    tidelog_deployment,
    tidelog_group,
    tidelog_memory_deployment,
    tidelog_memory_group,
    tidelog_memory_site,
    tidelog_nbd,
    tidelog_site,
    tidelog_site_redis,
)

if TYPE_CHECKING:
    from tidelog.testing.redis_settings import Appendonly
    from tidelog.testing.servers import KafkaServing, RedisServing

SERVED = pytest.StashKey[Counter[str]]()
SERVED_BY_WORKER = "tidelog_served"


class RedisServerFactory(Protocol):
    """Each call gives a fresh, empty, running Redis, ended with the session."""

    def __call__(
        self,
        name: str = "redis",
        *,
        appendonly: Appendonly = "off",
        password: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> RedisServing: ...


def pytest_configure(config: pytest.Config) -> None:
    """A project that takes warnings for errors is not to fail by what kafka-python does as it is imported (on 3.11)."""
    for warned, by in (("read_text", "kafka.protocol.schemas.load_json"), ("open_text", "importlib.resources._legacy")):
        config.addinivalue_line("filterwarnings", f"ignore:{warned} is deprecated:DeprecationWarning:{by}")


@pytest.fixture(scope="session")
def tidelog_kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServing]:
    """A running Kafka, shared by the session: use topics of your own, and leave it running."""
    from tidelog.termination import interrupt_on_sigterm
    from tidelog.testing.choice import kafka_of_choice
    from tidelog.testing.servers import ServerError

    with interrupt_on_sigterm(), ExitStack() as exit_stack:
        try:
            server = exit_stack.enter_context(kafka_of_choice())
        except ServerError as error:
            raise pytest.fail.Exception(f"tidelog_kafka: {error}", pytrace=False) from None
        note_server(request.config, server.description)
        yield server


@pytest.fixture(scope="session")
def tidelog_redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServerFactory]:
    """A factory of Redis servers for tests that stop, kill or fill one, or that need several."""
    from tidelog.termination import interrupt_on_sigterm
    from tidelog.testing.choice import RedisOfChoice
    from tidelog.testing.servers import ServerError

    of_choice = RedisOfChoice()
    with interrupt_on_sigterm(), ExitStack() as exit_stack:

        def make(
            name: str = "redis",
            *,
            appendonly: Appendonly = "off",
            password: str | None = None,
            options: Mapping[str, str] | None = None,
        ) -> RedisServing:
            try:
                server = exit_stack.enter_context(of_choice(name, appendonly, password, options))
            except ServerError as error:
                raise pytest.fail.Exception(f"tidelog_redis_server: {error}", pytrace=False) from None
            note_server(request.config, server.description)
            return server

        yield make


@pytest.fixture(scope="session")
def tidelog_redis(tidelog_redis_server: RedisServerFactory) -> RedisServing:
    """A running Redis, shared by the session: use keys of your own, and leave it running."""
    return tidelog_redis_server("redis")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which kind of servers was used, if any."""
    served = config.stash.get(SERVED, None)
    if served:
        each = (name if count == 1 else f"{count} x {name}" for name, count in served.items())
        terminalreporter.write_line(f"tidelog servers: {', '.join(each)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist has what it used told by the session that started it."""
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[SERVED_BY_WORKER] = dict(session.config.stash.get(SERVED, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hears it, as each worker ends; one that was killed has told nothing."""
    told = getattr(node, "workeroutput", {}).get(SERVED_BY_WORKER, {})
    if told:
        node.config.stash.setdefault(SERVED, Counter()).update(told)


def note_server(config: pytest.Config, description: str) -> None:
    """Has the summary say that it served."""
    config.stash.setdefault(SERVED, Counter())[description] += 1

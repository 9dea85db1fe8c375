"""What `tidelog group create --print-acls` prints, on a real Kafka with an authorizer: it is enough, and all of it is
needed."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from tests.log.secured import Acls, SecuredKafka
from tests.names import fresh
from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.kafka_membership import KafkaMembership
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import AlreadyExists, LogUnavailable
from tidelog.gateways.cli import main
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_control import publish_schemas
from tidelog.producers.ordering import order_copy
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.readiness import wait_until

ROLES = ("writer", "site-tokyo", "site-osaka", "reader", "admin")
GROUP = f"bank-{uuid.uuid4().hex[:12]}"  # Redis is shared by all tests
REFUSED = "refuses us"
pytestmark = [pytest.mark.servers, pytest.mark.slow]
TOML = """
[sites.tokyo.redis]
url = "{tokyo}"
[sites.osaka.redis]
url = "{osaka}"
[writer]
heartbeat = "200ms"
[worker]
status_interval = "100ms"
poll_timeout = "50ms"
session_timeout = "6s"
heartbeat_interval = "1s"
[kafka]
"""


class Lab:
    """The secured Kafka, and a configuration file for each role."""

    def __init__(self, kafka: SecuredKafka, folder: Path, urls: dict[str, str]) -> None:
        self.folder = folder
        for role in ROLES:
            lines = (f"{name} = {json.dumps(value)}" for name, value in kafka.connection(f"tidelog-{role}").items())
            (folder / f"{role}.toml").write_text(TOML.format(**urls) + "\n".join(lines) + "\n")
        self.admin = KafkaAdminClient(bootstrap_servers=kafka.server.bootstrap_servers)
        self.acls = Acls(self.admin)
        open_to_all = {"bootstrap_servers": kafka.server.bootstrap_servers}
        self.anybody = RealDeployment(Config(kafka=open_to_all))

    def tidelog(self, role: str, *arguments: str) -> int:
        return main(["--config", str(self.folder / f"{role}.toml"), *arguments])

    def deployment(self, role: str) -> RealDeployment:
        return RealDeployment(Config.load(self.folder / f"{role}.toml", {}))


@pytest.fixture(scope="module")
def lab(tidelog_site_redis: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One for all tests here: the group, once made, stays."""
    kafka = SecuredKafka(f"tidelog-{role}" for role in ROLES)
    urls = {site: tidelog_site_redis(site).url for site in ("tokyo", "osaka")}
    with kafka.server:
        made = Lab(kafka, tmp_path_factory.mktemp("acls"), urls)
        with closing(made.admin), closing(made.anybody):
            yield made


class Worker:
    """A site's worker, as `tidelog site run` has it, on a thread."""

    def __init__(self, lab: Lab, site: str) -> None:
        self._lab, self._began = lab, wall_us()
        deployment = self._deployment = lab.deployment(f"site-{site}")
        self.worker = SiteWorker(deployment, site, lambda: KafkaMembership(deployment.config, site))
        self._thread = threading.Thread(target=self.worker.run, daemon=True)
        self._thread.start()

    @property
    def follows(self) -> bool:
        """Whether others hear that it streams."""
        status = self._lab.anybody.cluster.control.snapshot().get(status_key(GROUP, self.worker.site))
        return isinstance(status, SiteStatus) and status.state == "STREAMING" and status.reported_us > self._began

    @property
    def refusal(self) -> str:
        """What it says instead, of itself or of its replica."""
        told = [str(self.worker.unreachable or "")]
        told += [str(replica.progress(0).error or "") for replica in self.worker.replicas.values()]
        return " ".join(told)

    def close(self) -> None:
        self.worker.stop()
        self._thread.join(60)
        self._deployment.close()


def write(lab: Lab, role: str = "writer") -> None:
    """What an application does: it opens the group, writes, marks, and orders a copy by time."""
    with closing(lab.deployment(role)) as deployment, open_group(GROUP, deployment=deployment) as group:
        group.create_volume("ledger", "64KiB").write(0, b"hello")
        group.flush()
        order_copy(deployment.cluster, f"ordered-{time.time_ns()}", [GROUP], wall_us() + 3_600_000_000)


def look(lab: Lab) -> None:
    """What a reader does: the control topic, the log's rules and records, the schemas' texts."""
    with closing(lab.deployment("reader")) as deployment:
        record = deployment.cluster.find_group(GROUP)
        with closing(deployment.cluster.log(record)) as log:
            assert log.record_at(log.bounds().start) is not None
        with closing(PartitionConsumer(deployment.config, f"{deployment.config.prefix}-schemas")) as schemas:
            schemas.seek(schemas.bounds(10).start)
            assert wait_until(lambda: bool(schemas.fetch(1)), timeout_s=60)


def administer(lab: Lab, prefix: str) -> None:
    """What an administrator does, with a prefix that has no topics, and a group
    of that name: it is made, written to, and trimmed."""
    given = Config.load(lab.folder / "admin.toml", {})
    with closing(RealDeployment(given.model_copy(update={"prefix": prefix}))) as deployment:
        record = deployment.cluster.create_group(prefix)
        with open_group(prefix, deployment=deployment) as group:
            group.create_volume("ledger", "64KiB")
        with closing(deployment.cluster.log(record)) as log:
            assert publish_schemas(deployment.config, f"{prefix}-schemas") == []  # as a second group's making does
            log.trim(1)
            assert log.bounds().start == 1


def refusal(action: Callable[[], object]) -> str:
    """What is said; "" if it went through."""
    try:
        action()
    except LogUnavailable as error:
        return f"{error} {error.hint}"
    return ""


def acls_of(lab: Lab, prefix: str, capsys: pytest.CaptureFixture[str], group: str = GROUP) -> list[dict[str, str]]:
    """As the command prints them, for a prefix of topics."""
    path = lab.folder / f"{prefix}.toml"
    path.write_text(f'prefix = "{prefix}"\n' + (lab.folder / "admin.toml").read_text())
    capsys.readouterr()
    assert main(["--config", str(path), "group", "create", group, "--print-acls", "--json"]) == 0
    listed: list[dict[str, str]] = json.loads(capsys.readouterr().out)["acls"]
    return listed


@pytest.fixture
def acls(lab: Lab, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """All that is printed for the group, given; the group made with them by its administrator."""
    listed = acls_of(lab, "tidelog", capsys)
    lab.acls.give(listed)
    with closing(lab.deployment("admin")) as deployment, suppress(AlreadyExists):
        deployment.cluster.create_group(GROUP)
    return listed


def test_they_are_enough(lab: Lab, acls: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    """A writer writes, both sites follow, a reader sees it, the administrator promotes, and the writer goes on."""
    assert {one["role"] for one in acls} == set(ROLES)
    noon, evening = fresh("noon"), fresh("evening")
    write(lab)
    with closing(Worker(lab, "tokyo")), closing(Worker(lab, "osaka")):
        with closing(lab.deployment("writer")) as deployment, open_group(GROUP, deployment=deployment) as group:
            group.volume("ledger").write(0, b"again")
            group.mark(noon).wait(timeout=60)
        capsys.readouterr()
        assert lab.tidelog("reader", "pitc", "list", "--group", GROUP, "--json") == 0
        (equal,) = [copy["equal"] for copy in json.loads(capsys.readouterr().out)["copies"] if copy["name"] == noon]
        assert equal is True
        assert lab.tidelog("admin", "site", "promote", "osaka", "--group", GROUP) == 0
        with closing(lab.deployment("writer")) as deployment, open_group(GROUP, deployment=deployment) as group:
            assert group.volume("ledger").read(0, 5) == b"again"
            group.volume("ledger").write(0, b"osaka")
            group.mark(evening).wait(timeout=60)


@pytest.mark.parametrize(("role", "action"), [("writer", write), ("reader", look)])
def test_an_application_and_a_reader_need_each(
    lab: Lab, acls: list[dict[str, str]], role: str, action: Callable[[Lab], None]
) -> None:
    """Without any one of them it is refused, with the command that says what is needed; with it, it goes through."""
    write(lab)
    action(lab)
    for one in acls:
        if one["role"] == role:
            with lab.acls.without(one):
                assert refusal(lambda: action(lab)), one
    action(lab)


def test_a_site_needs_each(lab: Lab, acls: list[dict[str, str]]) -> None:
    """Without any one of them its worker says that it is refused, and nobody hears that the site follows the log."""
    write(lab)
    for one in acls:
        if one["role"] == "site-osaka":
            with lab.acls.without(one), closing(Worker(lab, "osaka")) as worker:
                assert wait_until(lambda: REFUSED in worker.refusal, timeout_s=60), one
                assert not worker.follows, one
    not_ours = fresh("not-ours")  # a group that this site has no leave to read is none of it
    lab.anybody.cluster.create_group(not_ours)
    with closing(Worker(lab, "osaka")) as worker:
        assert wait_until(lambda: worker.follows, timeout_s=60)


def test_an_administrator_needs_each(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Each time with topics that are not there yet, since they are what it makes."""
    count = len([one for one in acls_of(lab, "count", capsys, "count") if one["role"] == "admin"])
    for number in range(count):
        prefix = fresh("try")
        listed = [one for one in acls_of(lab, prefix, capsys, prefix) if one["role"] == "admin"]
        missing = listed.pop(number)
        if missing["resource_type"] == "CLUSTER":
            continue  # below
        lab.acls.give(listed)
        assert REFUSED in refusal(lambda: administer(lab, prefix)), missing  # noqa: B023
    prefix = fresh("whole")
    lab.acls.give(one for one in acls_of(lab, prefix, capsys, prefix) if one["role"] == "admin")
    administer(lab, prefix)


def test_only_with_its_look_at_the_cluster_an_administrator_sees_who_reads_there(
    lab: Lab, acls: list[dict[str, str]]
) -> None:
    """MirrorMaker is found by its group; Kafka passes over those that one may not see, without a word."""
    (look_at_it,) = (one for one in acls if one["resource_type"] == "CLUSTER")

    def seen() -> set[str]:
        with closing(open_admin(Config.load(lab.folder / "admin.toml", {}))) as admin:
            return {str(one["group_id"]) for one in admin.list_groups()}

    with closing(Worker(lab, "osaka")) as worker:
        assert wait_until(lambda: worker.follows, timeout_s=60)
        assert "tidelog-osaka" in seen()
        with lab.acls.without(look_at_it):
            assert "tidelog-osaka" not in seen()

"""The command line as an operator runs it: processes, a real Kafka, a real Redis for each site."""

import json
import signal
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.clean_stores import forget_group
from tests.cli.operating import Operator
from tidelog.testing.readiness import wait_until

pytestmark = pytest.mark.servers
SITES = ("tokyo", "osaka")
MIB = 1024 * 1024


def test_a_day_of_an_operator(operator: Operator, tmp_path: Path) -> None:
    """A worker is killed, a site emptied and rebuilt, and all along it is the same bytes and digests."""
    operator.ok("group", "create", "bank")
    for site in SITES:
        operator.work(site)
    image = tmp_path / "image"
    image.write_bytes(b"\xa5" * (3 * MIB) + bytes(4 * MIB) + b"\x5a" * MIB)
    operator.ok("volume", "import", str(image), "disk", "-g", "bank", "--create")
    operator.ok("pitc", "create", "one", "-g", "bank", "--wait", "--timeout", "60s")
    operator.workers.pop("osaka").kill()
    operator.ok("volume", "write", "disk", "-g", "bank", "--offset", "4MiB", stdin=b"later")
    late = operator("pitc", "create", "two", "-g", "bank", "--wait", "--timeout", "3s")
    assert late.returncode == 3 and b"osaka" in late.stderr
    operator.work("osaka")
    assert wait_until(lambda: operator("pitc", "verify", "two", "-g", "bank", "--full").returncode == 0, timeout_s=60)

    assert operator.ok("pitc", "read", "one", "disk", "-g", "bank", "--site", "osaka") == image.read_bytes()
    images = ("--raw", "all", "--to", str(tmp_path / "export"))
    operator.ok("pitc", "export", "one", "-g", "bank", "--site", "osaka", *images)
    assert (tmp_path / "export" / "disk.img").read_bytes() == image.read_bytes()

    forget_group([operator.urls["osaka"]], "bank")
    assert wait_until(lambda: operator("site", "status", "osaka").returncode == 4, timeout_s=30)
    rebuilt = json.loads(operator.ok("site", "rebuild", "osaka", "--group", "bank", "--yes", "--json"))
    assert [copy["equal"] for copy in rebuilt["report"]["copies"]] == [True, True]
    operator.ok("pitc", "verify", "one", "-g", "bank", "--full")
    assert wait_until(lambda: operator("status").returncode == 0, timeout_s=30)

    worker = operator.workers.pop("tokyo")
    worker._popen.send_signal(signal.SIGTERM)
    assert worker._popen.wait(30) == 0
    assert "SIGTERM: stopping" in operator.said("tokyo") and "STREAMING" in operator.said("tokyo")
    stopped = json.loads(operator("site", "status", "tokyo", "--json").stdout)
    assert stopped["sites"][0]["state"] == "STOPPED"


def test_a_topic_that_breaks_a_rule_is_refused(operator: Operator) -> None:
    operator.ok("group", "create", "bank")
    admin = KafkaAdminClient(bootstrap_servers=operator.kafka)
    try:
        admin.create_partitions({f"{operator.prefix}.bank": 2})
    finally:
        admin.close()
    assert wait_until(lambda: operator("group", "show", "bank").returncode == 10, timeout_s=30)
    refused = operator("volume", "create", "v", "-g", "bank", "--size", "1MiB")
    assert refused.returncode == 10 and b"2 partitions" in refused.stderr


def test_a_wrong_password_is_the_stores_matter(operator: Operator) -> None:
    operator.ok("group", "create", "bank")
    operator.config.write_text(
        operator.config.read_text().replace(
            f'url = "{operator.urls["tokyo"]}"', f'url = "{operator.urls["tokyo"]}"\npassword = "wrong"'
        )
    )
    refused = operator("volume", "list", "-g", "bank")
    assert refused.returncode == 12 and refused.stderr.startswith(b"error: ")

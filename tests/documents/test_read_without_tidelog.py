"""docs/how-to/read-a-log-without-tidelog.md, as it stands there: the real kcat, and a program without tidelog."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.log.registry_server import Registry, serving
from tests.tools import tool
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.running import RunningDeployment

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "read-a-log-without-tidelog.md").read_text()
KEY = bytes(range(32)).hex()


@pytest.fixture(params=["single-object", "confluent"])
def config(request: pytest.FixtureRequest, tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Config]:
    """The group `bank`, of either framing, the second one keyed."""
    group: dict[str, Any] = {"wire_format": request.param}
    if request.param == "confluent":
        (tmp_path / "bank.key").write_text(KEY)
        group["key_file"] = tmp_path / "bank.key"
    with serving(Registry()) as url:
        given = tidelog_deployment.deployment.config.model_dump(exclude_unset=True)
        yield Config(**given | {"groups": {"bank": group}, "schema_registry": {"url": url}})


@pytest.mark.servers
def test_the_page_reads_a_log(config: Config, tmp_path: Path) -> None:
    """Every event, with all its bytes, in order; and a flipped byte is told."""
    tool("kcat")
    with closing(RealDeployment(config)) as deployment:
        deployment.cluster.create_group("bank")
        with open_group("bank", deployment=deployment) as group:
            ledger = group.create_volume("ledger", "1MiB")
            ledger.write(0, b"hello")
            ledger.write(500_000, bytes(range(256)) * 1024)
            group.mark("end-of-day")
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    imported = {node.module or "" for node in ast.walk(ast.parse(program)) if isinstance(node, ast.ImportFrom)}
    imported |= {
        one.name for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Import) for one in node.names
    }
    assert not any(name.startswith("tidelog") for name in imported)
    (tmp_path / "read_log.py").write_text(program)
    assert commands.count("kafka-1:9092") == commands.count("-t tidelog") == 2
    here = commands.replace("kafka-1:9092", config.kafka.bootstrap_servers[0]).replace(
        "-t tidelog", f"-t {config.prefix}"
    )
    here = here.replace("python3", sys.executable)
    if config.groups["bank"].key is not None:
        here = here.replace("log.bin >", "log.bin bank.key >")
    subprocess.run(["sh", "-ec", here], cwd=tmp_path, check=True, timeout=120)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    kinds = [event["event"].removeprefix("tidelog.v1.") for event in events if event["event"] != "tidelog.v1.Heartbeat"]
    assert kinds[:2] == ["WriterOpened", "VolumeCreated"] and kinds[-1] == "Marker"
    assert set(kinds[2:-1]) == {"WriteBatch"}
    data = b"".join(bytes.fromhex(event["data"]) for event in events if "data" in event)
    assert data == b"hello" + bytes(range(256)) * 1024
    assert events[-1].get("name", events[-2].get("name")) == "end-of-day"
    log = bytearray((tmp_path / "log.bin").read_bytes())
    log[-30] ^= 1
    (tmp_path / "log.bin").write_bytes(log)
    again = subprocess.run(["sh", "-ec", here.splitlines()[-1]], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1 and "wrong seal" in again.stderr

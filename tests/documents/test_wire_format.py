"""The recipe in docs/guarantees.md: a log checked with BLAKE3 and fastavro alone, as it stands there."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.producers.author import following, put
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.confluent import confluent_header, framed
from tidelog.schemas.events import Marker
from tidelog.schemas.registry import schemas

ROOT = Path(__file__).parents[2]
SCHEMAS = [entry.read_text() for entry in files("tidelog.schemas").iterdir() if entry.name.endswith(".avsc")]


@pytest.fixture
def check() -> Callable[..., list[dict[str, Any]]]:
    """The function of the recipe; it may import what it says, and not tidelog."""
    (recipe,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guarantees.md").read_text(), re.DOTALL)
    assert "import tidelog" not in recipe and "from tidelog" not in recipe
    names: dict[str, Any] = {}
    exec(compile(recipe, "docs/guarantees.md", "exec"), names)
    found: Callable[..., list[dict[str, Any]]] = names["check"]
    return found


@pytest.mark.parametrize("key", [b"", b"0123456789abcdef0123456789abcdef"])
def test_a_log_is_checked_without_tidelog(check: Callable[..., Any], key: bytes, tmp_path: Path) -> None:
    """What counts, with two sessions and a void event in the log; a flipped bit, another key and another group show."""
    keys = {}
    if key:
        (tmp_path / "key").write_text(key.hex())
        keys = {"groups": {"bank": {"key_file": str(tmp_path / "key")}}}
    deployment = MemoryDeployment(Config(sites={"tokyo": {"redis": {"url": "redis://memory-tokyo"}}}, **keys))
    record = deployment.cluster.create_group("bank")
    assert record.keyed == bool(key)
    log, codec = deployment.cluster.log(record), deployment.cluster.codec(record)
    assert isinstance(log, MemoryLog)
    for name in ("first", "second"):
        with open_group("bank", deployment=deployment) as group:
            group.create_volume(name, 4096).write(0, name.encode())
            group.mark(name)
    head = group.session.confirmed
    put(log, following(Marker, head, epoch=head.epoch - 1, name="void"), codec)
    values = [found.value for found in log._records]
    events = check(values, SCHEMAS, record.group_id, key)
    named = [event["name"] for event in events if "name" in event]
    assert named == ["first", "first", "second", "second"]  # a volume and a marker of each
    assert b"".join(event["data"] for event in events if "data" in event) == b"firstsecond"
    assert len(events) == len(values) - 1
    headers = {schema.header: confluent_header(number) for number, schema in enumerate(schemas().values())}
    assert check([framed(value, headers) for value in values], SCHEMAS, record.group_id, key) == events
    for offset in (0, len(values) - 1):
        flipped = bytes([*values[offset][:-20], values[offset][-20] ^ 1, *values[offset][-19:]])
        with pytest.raises(ValueError, match=f"offset {offset}"):
            check([*values[:offset], flipped, *values[offset + 1 :]], SCHEMAS, record.group_id, key)
    with pytest.raises(ValueError, match="offset 0"):
        check(values, SCHEMAS, record.group_id, b"another key")
    assert check(values, SCHEMAS, "another group", key) == []

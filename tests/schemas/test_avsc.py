"""The rules for wire schemas (DESIGN section 3): flat, plain, bounded, documented; events open and close alike."""

import json
from dataclasses import fields
from typing import Any

import pytest

from tidelog.schemas.control import CONTROL_TYPES
from tidelog.schemas.events import EVENT_TYPES
from tidelog.schemas.registry import NAMESPACE, by_header, schemas

PRIMITIVES = {"int", "long", "string", "bytes", "boolean"}
COMMON = [
    ("epoch", "int"),
    ("writer", "fixed16"),
    ("sequence", "long"),
    ("timestamp_us", "long"),
    ("previous", "fixed16"),
]


def walk(node: Any) -> list[dict[str, Any]]:
    """Every JSON object in a schema."""
    if isinstance(node, list):
        return [found for member in node for found in walk(member)]
    if isinstance(node, dict):
        return [node, *(found for member in node.values() for found in walk(member))]
    return []


def type_name(node: Any) -> str:
    return str(node["name"]) if isinstance(node, dict) and node["type"] == "fixed" else str(node)


@pytest.mark.parametrize("kind", sorted(schemas()))
def test_flat_plain_and_bounded(kind: str) -> None:
    """No recursion, no logicalType, no union, no enum, no map; items of arrays take at least a byte."""
    schema = json.loads(schemas()[kind].text)
    assert schema["type"] == "record" and schema["namespace"] == NAMESPACE and schema["name"] == kind
    assert all("logicalType" not in node and "aliases" not in node for node in walk(schema))
    assert sum(node.get("type") == "record" for node in walk(schema)) == 1
    for field in schema["fields"]:
        of = field["type"]
        if isinstance(of, dict):
            assert (of["type"], of.get("size")) == ("fixed", 16) or (of["type"], of.get("items")) == ("array", "long")
        else:
            assert of in PRIMITIVES | {"fixed16"}


@pytest.mark.parametrize("kind", sorted(schemas()))
def test_every_field_is_documented(kind: str) -> None:
    """And times say their unit in their name, because a logicalType may not."""
    schema = json.loads(schemas()[kind].text)
    assert schema["doc"]
    for field in schema["fields"]:
        assert field["doc"].endswith(".")
        assert "time" not in field["name"] or field["name"].endswith("_us")


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_events_open_and_close_alike(kind: str) -> None:
    """The common fields first, the seal last, and the class has the same fields."""
    listed = json.loads(schemas()[kind].text)["fields"]
    assert [(field["name"], type_name(field["type"])) for field in listed[:5]] == COMMON
    assert (listed[-1]["name"], listed[-1]["type"]) == ("seal", "fixed16")
    assert {field["name"] for field in listed} == {field.name for field in fields(EVENT_TYPES[kind])}


@pytest.mark.parametrize("kind", sorted(CONTROL_TYPES))
def test_control_records_have_their_schemas_fields(kind: str) -> None:
    """In the schema's order."""
    names = [field["name"] for field in json.loads(schemas()[kind].text)["fields"]]
    assert names == list(CONTROL_TYPES[kind].model_fields)


def test_every_schema_is_used_and_found_by_its_header() -> None:
    """No file without a class, no class without a file, no two with one fingerprint."""
    assert set(schemas()) == set(EVENT_TYPES) | set(CONTROL_TYPES)
    assert len(by_header()) == len(schemas())

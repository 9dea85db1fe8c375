"""The layers of DESIGN section 10 as a test: imports go left only."""

import ast
from collections.abc import Iterator

import pytest

from tests.source_tree import FOLDERS, PACKAGE, package_files, python_files, tree

# Imports go left only (DESIGN section 10); stores and producers share a rank and do not know each other.
RANKS = {
    "base": 0,
    "schemas": 1,
    "stores": 2,
    "producers": 2,
    "consumers": 3,
    "recovery": 4,
    "gateways": 5,
    "testing": 6,
}


def layer(name: str) -> str:
    """The layer of a file of the package; ``top`` for what stands above all: the public API, ``python -m tidelog``."""
    if name in ("src/tidelog/__init__.py", "src/tidelog/__main__.py"):
        return "top"
    return "base" if name.startswith("src/tidelog/") else name.split("/")[0]


def layer_of_module(module: str) -> str:
    """The layer of a dotted name under tidelog."""
    parts = module.split(".")
    if len(parts) == 1:
        return "top"
    if parts[1] in FOLDERS:
        return parts[1]
    return "base" if (PACKAGE / f"{parts[1]}.py").exists() else "top"


def imported(name: str) -> Iterator[tuple[int, str]]:
    """Line and layer of every import of tidelog in a file, those for type checkers included."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "tidelog":
                    yield node.lineno, layer_of_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tidelog":
            for alias in node.names:
                yield node.lineno, layer_of_module(f"{node.module}.{alias.name}")


def test_imports_go_left_only() -> None:
    """And the public API is for those outside: gateways and testing may use it, the layers below it may not."""
    wrong = []
    for name in package_files():
        own = layer(name)
        if own == "top":
            continue
        for line, other in imported(name):
            if other == "top":
                allowed = own in ("gateways", "testing")
            else:
                allowed = own == other or RANKS[other] < RANKS[own]
            if not allowed:
                wrong.append(f"{name}:{line}: {own} imports {other}")
    assert wrong == []


def test_the_layer_rule_has_teeth() -> None:
    """Every layer is known, and a wrong import would be seen."""
    assert {layer(name) for name in package_files()} - {"top"} <= set(RANKS)
    assert layer_of_module("tidelog.stores.image") == "stores"
    assert layer_of_module("tidelog.errors") == layer_of_module("tidelog.errors.Halted") == "base"
    assert layer_of_module("tidelog.open_group") == "top"
    assert {other for name in python_files("consumers/") for _, other in imported(name)} >= {"schemas", "stores"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_layer_has_files(folder: str) -> None:
    """So that no rule here is true of nothing."""
    assert python_files(folder + "/")

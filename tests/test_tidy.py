"""Our own rules, as tests: rooms of one screen or a few, names, docstrings, nothing left over.

A ratchet holds what broke a rule when the rule was made: its number may only shrink, and an entry that is no longer
needed must go.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tidelog
from tests.source_tree import ROOT, package_files, python_files, tracked, tree

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
# path -> lines now; path::function -> lines now. Only shrinks.
LONG_FILES: dict[str, int] = {"tests/config/test_config.py": 396}
LONG_FUNCTIONS: dict[str, int] = {}
# Public names without a docstring, by file. Only shrinks.
UNDOCUMENTED: dict[str, set[str]] = {
    "stores/bitmap.py": {"ChangeBitmap.add"},
    "stores/keys.py": {"Keys.bitmap"},
    "stores/memory.py": {
        "MemoryKeyspace.copy",
        "MemoryKeyspace.delete",
        "MemoryKeyspace.get",
        "MemoryKeyspace.getrange",
        "MemoryKeyspace.hdel",
        "MemoryKeyspace.hget",
        "MemoryKeyspace.hgetall",
        "MemoryKeyspace.hkeys",
        "MemoryKeyspace.hset",
        "MemoryKeyspace.mget",
        "MemoryKeyspace.mset",
        "MemoryKeyspace.rename",
        "MemoryKeyspace.set",
        "MemoryKeyspace.setrange",
    },
    "stores/records.py": {"encode_copy", "encode_position", "encode_volume"},
    "testing/child.py": {"ChildProcess.exit_text", "ChildProcess.pid"},
    "testing/die_with_parent.py": {"main"},
}

MAY_PRINT = ("gateways/", "testing/", "benchmarks/", "docs/", "examples/", "infra/", "tests/")
VAGUE_NAME = re.compile(r"(manager|helpers?|utils?|handler)$", re.IGNORECASE)
LEFTOVER = re.compile(r"\b(" + "|".join(("FIX" + "ME", "XX" + "X", "TO" + "DO", "HA" + "CK")) + r")\b")
# Written in pieces, so that this file keeps the rule.
REGISTRIES = re.compile(
    r"|".join(
        re.escape(first + "." + rest)
        for first, rest in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("repo1.maven", "org"),
            ("repo.maven", "apache.org"),
            ("docker", "io/"),
            ("ghcr", "io"),
            ("quay", "io"),
            ("gcr", "io"),
            ("registry", "npmjs.org"),
            ("deb", "debian.org"),
            ("conda", "anaconda.org"),
        )
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.:/$}~*-])/(home|root|work|Users)/\w")


def test_no_relative_imports() -> None:
    """One name for each module, wherever it is read."""
    wrong = [
        f"{name}:{node.lineno}"
        for name in python_files()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []


def by_ratchet(found: dict[str, int], known: dict[str, int]) -> list[str]:
    """What is over its limit, and what no longer needs its exception."""
    wrong = [f"{what}: {size} lines" for what, size in found.items() if size > known.get(what, 0)]
    wrong += [
        f"{what} has {found.get(what, 0)} lines now: lower it" for what in known if found.get(what) != known[what]
    ]
    return sorted(set(wrong))


def test_files_are_rooms() -> None:
    """At most 300 lines."""
    sizes = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in python_files()}
    assert by_ratchet({name: size for name, size in sizes.items() if size > MAX_FILE_LINES}, LONG_FILES) == []


def functions(name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of a file with its name inside the file."""

    def within(node: ast.AST, path: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path + child.name, child
                yield from within(child, path + child.name + ".")
            elif isinstance(child, ast.ClassDef):
                yield from within(child, path + child.name + ".")
            else:
                yield from within(child, path)

    yield from within(tree(name), "")


def test_functions_fit_on_a_screen() -> None:
    """At most 50 lines, docstring included."""
    sizes = {
        f"{name}::{path}": (node.end_lineno or 0) - node.lineno + 1
        for name in python_files()
        for path, node in functions(name)
    }
    assert by_ratchet({what: size for what, size in sizes.items() if size > MAX_FUNCTION_LINES}, LONG_FUNCTIONS) == []


def test_nothing_is_left_over() -> None:
    """No marks of unfinished work."""
    text = (".py", ".md", ".toml", ".yaml", ".sh", ".avsc", "Makefile")
    wrong = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked()
        if name.endswith(text)
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1)
        if LEFTOVER.search(line)
    ]
    assert wrong == []


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether everything is caught and nothing is done about it."""
    caught = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else set()
    silent = all(isinstance(node, ast.Pass | ast.Continue) for node in handler.body)
    return handler.type is None or (silent and bool(caught & {"Exception", "BaseException"}))


def test_no_error_is_swallowed() -> None:
    """No bare except, no ``except Exception: pass``, no ``suppress(Exception)``."""
    wrong = []
    for name in python_files():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ExceptHandler) and swallows(node):
                wrong.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                names = {ast.unparse(argument) for argument in node.args}
                if names & {"Exception", "BaseException"}:
                    wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


def test_only_the_outside_prints() -> None:
    """A library that prints is no library."""
    wrong = [
        f"{name}:{node.lineno}"
        for name in python_files()
        if not name.startswith(MAY_PRINT)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_names_say_something() -> None:
    """No manager, helper, utils or handler: of files, classes and functions."""
    wrong = [name for name in python_files() if VAGUE_NAME.search(Path(name).stem)]
    for name in python_files():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and VAGUE_NAME.search(node.name):
                wrong.append(f"{name}:{node.lineno}: {node.name}")
    assert wrong == []


def undocumented(name: str) -> Iterator[str]:
    """Public classes and functions of a file without a docstring. What only an outer protocol names (``xRead``,
    ``readinto``) says its contract there; the bodies of `Protocol` attributes (``...``) are types, not code."""
    module = tree(name)
    if module.body and not ast.get_docstring(module):
        yield ""
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                members = [member for member in node.body if isinstance(member, ast.FunctionDef)]
                for member in members:
                    if not (member.name.startswith("_") or ast.get_docstring(member) or excused(node, member)):
                        yield f"{node.name}.{member.name}"


@cache
def promised() -> set[str]:
    """Names of the methods that a `Protocol` of the package documents."""
    return {
        member.name
        for name in package_files()
        for owner in ast.walk(tree(name))
        if isinstance(owner, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in owner.bases)
        for member in owner.body
        if isinstance(member, ast.FunctionDef) and ast.get_docstring(member)
    }


def excused(owner: ast.ClassDef, member: ast.FunctionDef) -> bool:
    """A method that fulfils what a base class or a protocol documents, or a protocol's bare signature."""
    bare = len(member.body) == 1 and ast.unparse(member.body[0]) == "..."
    inherits = any(ast.unparse(base).split("[")[0] not in ("Protocol", "object") for base in owner.bases)
    return bare or inherits or member.name in promised()


def test_everything_public_is_documented() -> None:
    """Every module, class and function of the package whose name has no underscore."""
    found = {f"{name}::{what}" for name in package_files() for what in undocumented(name)}
    known = {f"{name}::{what}" for name, names in UNDOCUMENTED.items() for what in names}
    assert sorted(found - known) == []
    assert sorted(known - found) == [], "documented now: take it from the list"


def test_nothing_names_a_registry_or_a_machine() -> None:
    """Where packages and images come from, and where somebody's files lie, is configuration of the machine."""
    wrong = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if REGISTRIES.search(line) or MACHINE_PATH.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert wrong == []


def test_the_public_api_is_all() -> None:
    """``tidelog.__all__`` is sorted and is what type checkers, `dir` and attribute access agree on."""
    listed = list(tidelog.__all__)
    declared = {
        alias.asname or alias.name
        for node in ast.walk(tree("src/tidelog/__init__.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tidelog.")
        for alias in node.names
    }
    assert listed == sorted(set(listed)) == sorted(declared) == dir(tidelog)
    assert all(getattr(tidelog, name).__doc__ for name in listed)
    with pytest.raises(AttributeError):
        tidelog.no_such_name  # noqa: B018

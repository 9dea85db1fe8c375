"""The repository's files, and the package's as syntax trees: what the house rules are checked on."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tidelog"
FOLDERS = ["schemas", "stores", "producers", "consumers", "recovery", "gateways", "testing"]


@cache
def tracked() -> list[str]:
    """Every file that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted({name for name in listed if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()})


def python_files(*folders: str) -> list[str]:
    """All Python files, or those under ``folders``."""
    return [name for name in tracked() if name.endswith(".py") and (not folders or name.startswith(folders))]


def package_files() -> list[str]:
    """What is installed."""
    return python_files("src/tidelog/", *(folder + "/" for folder in FOLDERS))


@cache
def tree(name: str) -> ast.Module:
    """A Python file, parsed."""
    return ast.parse((ROOT / name).read_text("utf-8"), name)

"""How the tests are dealt out to the processes of `make test`: one by one, so that each has work to the end, but
those that share a fixture of their module, such as a site with 256 MiB, together and in their order. Files with slow
tests come before the others, so that what the last workers still have to do is short.

Marks of pytest-xdist's own (`xdist_group`) do nothing with pytest 9.2: xdist 3.8 writes them into an attribute that
pytest no longer reads.
"""

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
SLOW = ("servers", "slow", "timeout")  # marks
SHARED = re.compile(r'^@pytest\.fixture\([^\n]*scope="(?:module|package|class)"[^\n]*\)\ndef (\w+)', re.MULTILINE)


@cache
def shares_a_fixture(file: str) -> bool:
    """Whether tests of a file use a fixture that lives longer than a test and less long than the session, of the file's
    own or of a conftest beside it."""
    path = ROOT / file
    text, beside = path.read_text(), path.with_name("conftest.py")
    theirs = SHARED.findall(beside.read_text()) if beside.exists() else []
    return bool(SHARED.search(text) or any(re.search(rf"\b{name}\b", text) for name in theirs))


def slow_first(items: list[pytest.Item]) -> None:
    """Sorts them: files with a mark of `SLOW`, then the others, each file as it was."""
    slow = {item.path for item in items if any(item.get_closest_marker(mark) for mark in SLOW)}
    items.sort(key=lambda item: item.path not in slow)


class Dealing(LoadScopeScheduling):  # type: ignore[misc]
    """Files that share first, the largest before the others, then the other tests as they come."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return file if shares_a_fixture(file) else nodeid

"""The planted bugs stay plantable; `make mutants` runs them all."""

import pytest

from tests.mutants import MUTANTS, ROOT, caught
from tests.planted import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_has_its_place(mutant: Mutant) -> None:
    """The code that a mutant changes is there, once: code that moved takes its mutant along."""
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1


def test_a_planted_bug_is_caught() -> None:
    """The way of planting works: one mutant of the verdict table does not survive."""
    killed, last = caught(next(mutant for mutant in MUTANTS if mutant.name == "chain-not-checked"))
    assert killed, last


def test_a_change_of_nothing_is_not_caught() -> None:
    """The same tests pass without a bug, so that it is the bug that they catch."""
    mutant = MUTANTS[0]
    unchanged = Mutant("unchanged", mutant.file, mutant.old, mutant.old, "tests/schemas/test_chain.py")
    survived, last = caught(unchanged)
    assert not survived and "passed" in last

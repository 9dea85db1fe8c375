"""The search: schedules from seeds, and the shortest part of a failing one."""

from collections.abc import Iterator
from random import Random

from tests.simulation.world import Op, Violation, World

# How often each operation is drawn. The common path is likely enough that there is something for the faults to hit.
WEIGHTS = {
    "opens": 8,
    "open": 4,
    "go": 14,
    "expire": 1,
    "crash": 2,
    "write": 16,
    "say": 6,
    "mark": 6,
    "deliver": 14,
    "land": 6,
    "acknowledge": 6,
    "lose": 2,
    "late": 5,
    "again": 4,
    "sync": 10,
    "connect": 3,
    "poll": 4,
    "apply": 4,
    "settle": 2,
    "idle": 2,
    "restart": 3,
    "between": 3,
    "race": 5,
    "snapshot": 2,
    "rewind": 2,
    "fail": 2,
    "drop": 2,
    "lead": 2,
    "truncate": 3,
}
_NAMES, _ODDS = list(WEIGHTS), list(WEIGHTS.values())
LEAST, MOST = 8, 60
# One schedule in so many copies volumes, too, up to so many times: put in between, so that the others stay as they are.
COPYING, COPIES = 5, 12


def schedule(seed: int) -> list[Op]:
    """The schedule of a seed. Two in three have no truncation, and hold the stricter rules."""
    random = Random(seed)
    length = random.randint(LEAST, MOST)
    spare = {"truncate"} if seed % 3 else set()
    names = random.choices(_NAMES, _ODDS, k=length)
    drawn = [Op(name, random.randrange(12), random.randrange(12), random.randrange(12)) for name in names]
    if seed % COPYING == 0:
        for _ in range(random.randint(1, COPIES)):
            operation = Op("copy", random.randrange(12), random.randrange(12), random.randrange(12))
            drawn.insert(random.randint(0, len(drawn)), operation)
    return [op for op in drawn if op.name not in spare]


def failure(schedule: list[Op]) -> str | None:
    """What is violated, None if nothing is. Any other exception is a failure too."""
    try:
        World().run(schedule)
    except Violation as violation:
        return str(violation)
    except Exception as error:
        return repr(error)
    return None


def shrink(schedule: list[Op]) -> list[Op]:
    """A part of a failing schedule that still fails, from which no single operation can be left out."""
    again = True
    while again:
        again = False
        for index in reversed(range(len(schedule))):
            shorter = schedule[:index] + schedule[index + 1 :]
            if failure(shorter) is not None:
                schedule, again = shorter, True
    return schedule


def search(seeds: range) -> Iterator[tuple[int, list[Op]]]:
    """The failing ones among ``seeds``, as they are found."""
    for seed in seeds:
        drawn = schedule(seed)
        if failure(drawn) is not None:
            yield seed, drawn


def report(seed: int, drawn: list[Op]) -> str:
    """A failure for people: the seed, the shortest schedule, and what it violates."""
    short = shrink(drawn)
    lines = ", ".join(f"Op({op.name!r}, {op.a}, {op.b}, {op.c})" for op in short)
    return f"seed {seed}: {failure(drawn)}\nshortest: [{lines}]\n  {failure(short)}"

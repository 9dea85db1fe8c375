"""Names for what a test makes in servers or groups that it shares."""

import itertools

_numbers = itertools.count(1)


def fresh(name: str) -> str:
    """A name that begins so, and that no test has used, nor the first try of one that CI asks once more: the group of a
    module keeps what was made in it. None is the beginning of another."""
    return f"{name}-{next(_numbers):03}"

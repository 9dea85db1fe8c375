"""What an error says: what happened, where, and nothing twice."""

import pytest

from tidelog.errors import TidelogError


@pytest.mark.parametrize(
    ("message", "where", "shown"),
    [
        (
            "no copy 'x'",
            {"group": "bank", "sequence": 7, "offset": 9},
            "no copy 'x' (group bank, sequence 7, offset 9)",
        ),
        ("no copy 'x'", {}, "no copy 'x'"),
        ("site osaka has no store of group bank", {"group": "bank"}, "site osaka has no store of group bank"),
        ("no copy 'x' (group bank)", {"group": "bank"}, "no copy 'x' (group bank)"),
        ("the log begins at offset 5", {"group": "b", "offset": 5}, "the log begins at offset 5 (group b)"),
        ("sequence 70 is missing", {"sequence": 7}, "sequence 70 is missing (sequence 7)"),
        ("group bank-2 is another", {"group": "bank"}, "group bank-2 is another (group bank)"),
        ("group bank.old is another", {"group": "bank"}, "group bank.old is another (group bank)"),
        ("a subgroup bank", {"group": "bank"}, "a subgroup bank (group bank)"),
    ],
)
def test_where_is_said_once(message, where, shown):
    """What the message names already is not added to it; a longer name or number is another one."""
    assert str(TidelogError(message, **where)) == shown

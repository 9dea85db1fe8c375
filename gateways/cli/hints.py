"""Hints of the library, in the words of the command line: who types commands cannot call methods."""

import re

# What a hint says to a program, and what an operator does instead; longer ones first.
_COMMANDS = (
    (
        "open it with group.volume(name), and change its size with volume.resize(size)",
        "use it as it is, or change its size with: tidelog volume resize NAME --group GROUP --size SIZE",
    ),
    ("volume.resize(size)", "tidelog volume resize NAME --group GROUP --size SIZE"),
    (
        "open the group where the primary site's Redis can be reached",
        "run this where the primary site's Redis can be reached",
    ),
    ("open the group again", "run the command again"),
    ("a new writer session makes a new one", "run the command again"),
)


# Commands that ask for a name to be typed.
_ASKS = re.compile(r"tidelog (site (rebuild|rollback)|log trim|sidefile drop)\b")


def for_a_lost_writer(group: str) -> str:
    """What helps where a group's writer has gone without closing it; the command fences none that lives."""
    return (
        "its application opens the group again, or a session is closed in its place:"
        f" tidelog pitc create after-the-alarm --group {group} --wait;"
        " what it had accepted and not flushed is unknown (docs/runbooks/rpo-alarm.md)"
    )


def for_operators(hint: str, group: str | None = None) -> str:
    """``hint`` with commands in place of calls, of ``group`` if it is known; and whether such a command asks first."""
    for call, command in _COMMANDS:
        hint = hint.replace(call, command.replace("GROUP", group or "GROUP"))
    if _ASKS.search(hint) and "--yes" not in hint and "--dry-run" not in hint:
        hint += " (it asks before it changes anything; in a script add --yes)"
    return hint

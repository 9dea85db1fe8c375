"""Names of groups, volumes, copies and sites."""

import re

from tidelog.clock import utc
from tidelog.errors import InvalidName

NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
_NAME = re.compile(NAME_PATTERN)
_SCHEDULED = re.compile(r"auto-\d{8}t\d{6}z")
# What a roll back calls copies of a lost history: this and their name. Nobody else gives a copy such a name, so that a
# lost one answers to no name of the present history.
LOST = "lost-"


def check_name(kind: str, name: str) -> str:
    """``name`` itself if it is one; ``kind`` ("volume", "site") is for the message.

    Raises `InvalidName`. Names end up in Kafka topics and Redis keys, hence the narrow pattern.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no name for a {kind}",
            hint="1 to 63 of the characters a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        )
    return name


def scheduled_name(timestamp_us: int) -> str:
    """What a group's schedule calls the copy that it makes at this time: ``auto-20261125t180000z``."""
    return utc(timestamp_us).strftime("auto-%Y%m%dt%H%M%Sz")


def is_scheduled_name(name: str) -> bool:
    """Whether it is one of the schedule's names: nobody else may give such a one, and retention goes by it."""
    return _SCHEDULED.fullmatch(name) is not None

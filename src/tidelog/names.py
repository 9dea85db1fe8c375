"""Names of groups, volumes, copies and sites."""

import re

from tidelog.errors import InvalidName

NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
_NAME = re.compile(NAME_PATTERN)


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

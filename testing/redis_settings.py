"""The configuration of a Redis for tests, however it runs."""

import urllib.parse
from collections.abc import Mapping
from typing import Literal

Appendonly = Literal["off", "everysec", "always"]


def redis_settings(appendonly: Appendonly, maxmemory_policy: str, password: str | None) -> dict[str, str]:
    """What tests choose, as lines of redis.conf: name -> rest of the line. Kept is the append-only file or nothing."""
    settings = {
        "appendonly": "no" if appendonly == "off" else "yes",
        "appendfsync": "everysec" if appendonly == "off" else appendonly,
        "maxmemory-policy": maxmemory_policy,
        "save": '""',
    }
    if password is not None:
        settings["requirepass"] = quoted(password)
    return settings


def quoted(text: str) -> str:
    """A string that redis.conf reads as one word, whatever it holds."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def redis_conf(settings: Mapping[str, str]) -> str:
    """The text of a redis.conf."""
    return "".join(f"{name} {rest}\n" for name, rest in settings.items())


def url_credentials(password: str | None) -> str:
    """What stands before the host in a URL: ":password@", percent-encoded, or nothing."""
    return f":{urllib.parse.quote(password, safe='')}@" if password else ""

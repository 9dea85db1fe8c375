"""The table ``[metrics]``: where a site worker answers a scraper."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from tidelog.config_tables import Table

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]+)):(\d{1,5})")


class Address(NamedTuple):
    """A host and a port to listen on; port 0 is any that is free."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """``127.0.0.1:9464``, ``[::1]:9464``. Raises ValueError, as pydantic wants it."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        raise ValueError("an address is host:port, such as 127.0.0.1:9464 or [::1]:9464")
    return Address(found[1] or found[2], int(found[3]))


def _checked(text: str) -> str:
    parse_address(text)
    return text


class MetricsConfig(Table):
    """``listen``: the address at which a site worker answers with its metrics; None: at none."""

    listen: Annotated[str, AfterValidator(_checked)] | None = None

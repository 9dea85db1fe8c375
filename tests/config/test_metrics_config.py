"""Where a worker answers a scraper: an address, or nowhere."""

import pytest

from tidelog.config import Config
from tidelog.config_metrics import parse_address
from tidelog.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    """A host or a number, and a port."""
    assert Config(metrics={"listen": text}).metrics.listen == text and parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "nowhere", "host:65536", "host:-1", "::1:9464", "a b:1", "host:1 "]
)
def test_what_is_none(text: str) -> None:
    """It is said which setting, and what an address is."""
    with pytest.raises(ConfigError, match=r"metrics\.listen.*host:port"):
        Config(metrics={"listen": text})


def test_nowhere_by_default() -> None:
    """Nothing listens unless it is asked for."""
    assert Config().metrics.listen is None

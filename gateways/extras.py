"""The extras of the package, as pyproject.toml has them, and how one is installed."""

from typing import Literal

Extra = Literal["metrics", "s3", "sqlite", "testing", "web"]


def installation(extra: Extra) -> str:
    """The command, for a hint."""
    return f"pip install 'tidelog[{extra}]'"

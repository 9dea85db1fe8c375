"""Sizes in bytes and durations in seconds, as people write them: ``64MiB``, ``1.5s``, ``1h30m``."""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tidelog.errors import UsageError

_SIZES = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for suffix, base in (("b", 1000), ("ib", 1024))
    for power, letter in enumerate("kmgtp", start=1)
}
_DURATIONS = {
    "us": Fraction(1, 1_000_000),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = r"\d+(?:\.\d+)?"
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.IGNORECASE)
_DURATION = re.compile(rf"(?:{_NUMBER}\s*(?:us|ms|s|m|h|d)\s*)+")
_PART = re.compile(rf"({_NUMBER})\s*(us|ms|s|m|h|d)")


def _size(value: Any) -> int:
    """Raises ValueError, as pydantic wants it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = match[2].lower() if match else ""
    if match is None or unit not in _SIZES:
        raise ValueError("a size is a whole number of bytes, or a number with a unit such as 64KiB, 1.5GiB or 10MB")
    size = Fraction(match[1]) * _SIZES[unit]
    if size.denominator != 1:
        raise ValueError("a size is a whole number of bytes")
    return int(size)


def _duration(value: Any) -> float:
    """Raises ValueError, as pydantic wants it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration is a number of seconds, or numbers with units such as 2ms, 1.5s, 15m or 1h30m")
    return float(sum(Fraction(number) * _DURATIONS[unit] for number, unit in _PART.findall(text)))


def parse_size(value: str | int) -> int:
    """Bytes: ``1GiB`` is 1024**3, ``1GB`` 1000**3, a bare number is bytes. Raises `UsageError`."""
    try:
        return _size(value)
    except ValueError as error:
        raise UsageError(f"{value!r} is no size", hint=str(error)) from None


def parse_duration(value: str | float) -> float:
    """Seconds: ``15m`` is 900.0, a bare number is seconds. Raises `UsageError`."""
    try:
        return _duration(value)
    except ValueError as error:
        raise UsageError(f"{value!r} is no duration", hint=str(error)) from None


def parse_time(value: str) -> int:
    """UTC microseconds: ``2026-11-22T18:00:00Z``, with a fraction or another offset if need be; UTC without
    one. Raises `UsageError`."""
    try:
        moment = datetime.fromisoformat(value.strip().upper())
    except ValueError:
        raise UsageError(f"{value!r} is no time", hint="a time is such as 2026-11-22T18:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Duration = Annotated[float, BeforeValidator(_duration), Field(ge=0, allow_inf_nan=False)]

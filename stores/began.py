"""Where a store began, as ``begun`` has it: ``<sequence>:<timestamp_us>``, or, as 0.1 wrote it, the sequence alone."""

from typing import NamedTuple

from tidelog.errors import StoreDamaged


class Began(NamedTuple):
    """The sequence of the copy that a load or a roll back has put a store at: elder copies that others have may be
    missing. ``timestamp_us`` is the time of the copy that was loaded, before which this store makes no copy by time;
    0 if none was loaded, or it is not known. All 0: it has followed the log from its beginning."""

    sequence: int
    timestamp_us: int


def encode_began(began: Began) -> bytes:
    """As the store has it."""
    return b"%d:%d" % began


def decode_began(value: object) -> Began:
    """Raises `StoreDamaged` for what tidelog did not write."""
    if value is None:
        return Began(0, 0)
    try:
        sequence, _, timestamp_us = bytes(value).partition(b":")  # type: ignore[call-overload]
        return Began(int(sequence), int(timestamp_us or 0))
    except (ValueError, TypeError) as error:
        raise StoreDamaged(f"the store's beginning is not one: {value!r}") from error

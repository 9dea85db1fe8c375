"""Damaged events with right seals: an event or `CorruptEvent`, nothing else, and never two encodings of one event.

``TIDELOG_FUZZ=1000000 pytest tests/schemas/test_fuzz.py`` tries that many (20,000 otherwise).
"""

import os
import random

import pytest

from tidelog.errors import CorruptEvent, UnsupportedEvent
from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.schemas.events import Event
from tidelog.schemas.registry import HEADER_SIZE

ROUNDS = int(os.environ.get("TIDELOG_FUZZ", "20000"))
BYTES = (0x00, 0x01, 0x02, 0x03, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF)


def mutate(rng: random.Random, body: bytearray) -> None:
    """One to three changes behind the header, mostly; now and then in it."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body)) if rng.random() < 0.05 else rng.randrange(HEADER_SIZE, len(body) + 1)
        match rng.randrange(6):
            case 0:
                body[at : at + 1] = bytes([rng.choice(BYTES)])
            case 1:
                body[at:at] = bytes([rng.choice(BYTES)]) * rng.randrange(1, 12)
            case 2:
                del body[at : at + rng.randrange(1, 12)]
            case 3:
                body[at : at + 1] = rng.randbytes(1)
            case 4:
                other = rng.randrange(len(body))
                body[at:at] = body[other : other + rng.randrange(1, 20)]
            case _:
                del body[at:]
        if len(body) < HEADER_SIZE:
            return


@pytest.mark.timeout(3600)
def test_mutated_and_resealed(samples: dict[str, Event]) -> None:
    """No crash, no other error; what decodes encodes to the very bytes that it came from."""
    rng = random.Random(20261123)
    codec = Codec(b"the group's key")
    bodies = [codec.encode(event)[0][:-SEAL_SIZE] for event in samples.values()]
    decoded = 0
    for _ in range(ROUNDS):
        body = bytearray(rng.choice(bodies))
        mutate(rng, body)
        message = bytes(body) + codec.seal(bytes(body))
        try:
            event = codec.decode(message)
        except (CorruptEvent, UnsupportedEvent):
            continue
        decoded += 1
        assert codec.encode(event)[0] == message
    assert ROUNDS / 100 < decoded < ROUNDS

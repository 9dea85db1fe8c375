"""Times the codec beside fastavro: ``python tests/schemas/measure.py``. Microseconds, median and least of 300."""

import random
import statistics
import time
from collections.abc import Callable
from hashlib import blake2b, sha256
from io import BytesIO

from blake3 import blake3
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from tidelog.schemas.codec import Codec, write_record
from tidelog.schemas.events import WriteBatch
from tidelog.schemas.longs import decode_longs, encode_longs
from tidelog.schemas.registry import HEADER_SIZE, schemas

ARRAY = parse_schema({"type": "array", "items": "long"})
SCHEMA = schemas()["WriteBatch"]


def timed(call: Callable[[], object]) -> str:
    """Median and least."""
    times = []
    for _ in range(300):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return f"{statistics.median(times) * 1e6:6.0f} {min(times) * 1e6:6.0f}"


def fastavro_bytes(values: list[int]) -> bytes:
    """The array as fastavro writes it."""
    buffer = BytesIO()
    schemaless_writer(buffer, ARRAY, values)
    return buffer.getvalue()


def batch(count: int, size: int) -> WriteBatch:
    """Random writes over a gibibyte."""
    rng = random.Random(1)
    times = sorted(rng.sample(range(1_790_000_000_000_000, 1_790_000_000_000_000 + 50 * count), count))
    return WriteBatch(
        epoch=3,
        writer=bytes(16),
        sequence=10_000_000,
        timestamp_us=times[-1],
        previous=bytes(16),
        volumes=[12] * count,
        offsets=[rng.randrange(1 << 30) // size * size for _ in range(count)],
        lengths=[size] * count,
        timestamps_us=times,
        data=rng.randbytes(count * size),
        seal=bytes(16),
    )


def main() -> None:
    """Prints the table."""
    codec, small = Codec(), batch(2048, 128)
    print("2,048 numbers     encode (median, least)   decode          fastavro encode, decode")
    for name in ("lengths", "offsets", "timestamps_us"):
        values = getattr(small, name)
        raw = encode_longs(values)
        ours = timed(lambda: encode_longs(values)), timed(lambda: decode_longs(raw, 0))  # noqa: B023
        theirs = (
            timed(lambda: fastavro_bytes(values)),  # noqa: B023
            timed(lambda: schemaless_reader(BytesIO(raw), ARRAY, None)),  # noqa: B023
        )
        print(f"{name:15}", *ours, *theirs, sep="   ")
    print("batches           encode, decode, fastavro without seal, seal alone")
    for count, size in ((2048, 128), (64, 4096), (1, 4096)):
        event = batch(count, size)
        message, _ = codec.encode(event)
        record = {name: getattr(event, name) for name in WriteBatch.__dataclass_fields__}
        figures = (
            timed(lambda: codec.encode(event)),  # noqa: B023
            timed(lambda: codec.decode(message)),  # noqa: B023
            timed(lambda: write_record(SCHEMA, record)),  # noqa: B023
            timed(lambda: schemaless_reader(BytesIO(message[HEADER_SIZE:]), SCHEMA.parsed, None)),  # noqa: B023
            timed(lambda: codec.seal(message)),  # noqa: B023
        )
        print(f"{count} x {size:<10}", *figures, sep="   ")
    print("hashes            BLAKE3, SHA-256, blake2b")
    for size in (128, 4112, 256 * 1024):
        data = random.randbytes(size)
        print(
            f"{size:<17}",
            timed(lambda: blake3(data).digest(16)),  # noqa: B023
            timed(lambda: sha256(data).digest()),  # noqa: B023
            timed(lambda: blake2b(data, digest_size=16).digest()),  # noqa: B023
            sep="   ",
        )


if __name__ == "__main__":
    main()

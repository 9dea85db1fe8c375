"""Writes the golden files of types that have none yet: ``python tests/schemas/make_golden.py``.

A golden file that is there is never written again: it is what a released version put into logs that still exist.
"""

import importlib.util
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from tidelog.schemas.codec import Codec
from tidelog.schemas.control import (
    CopyArchived,
    CopyFormed,
    CopyOrdered,
    GroupCreated,
    OrderAnswered,
    OrderProtected,
    SiteStatus,
)
from tidelog.schemas.mirrors import HistorySealed, LogMirrored
from tidelog.schemas.promotions import PrimaryChosen, PromotionAsked
from tidelog.schemas.registry import NAMESPACE, schemas
from tidelog.schemas.reports import PositionAsked, SiteRates, StoreBegan, UncopiedSince, WriterStatus

GOLDEN = Path(__file__).parent / "golden"
KEY = b"golden key of release 0.1"
CONTROL = (
    GroupCreated(
        group="bank", group_id="9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d", topic="tidelog.bank", keyed=True, created_us=17
    ),
    CopyOrdered(
        name="nightly",
        groups="bank,orders",
        at_us=1_790_000_000_000_000,
        ordered_us=1_789_999_995_000_000,
        ordered_by="tokyo-1:4711",
        dropped_us=0,
    ),
    OrderProtected(
        name="nightly",
        groups="bank,orders",
        at_us=1_790_000_000_000_000,
        locked_until_us=1_890_000_000_000_000,
        kept=True,
        protected_us=1_790_000_000_000_777,
    ),
    OrderAnswered(
        site="osaka",
        group="bank",
        name="nightly",
        at_us=1_790_000_000_000_000,
        state="OUT_OF_WINDOW",
        reason="the log begins at offset 400",
        answered_us=1_790_000_000_000_321,
    ),
    CopyFormed(
        site="osaka",
        group="bank",
        sequence=40,
        seal=bytes(range(16)),
        name="end-of-day",
        timestamp_us=1_790_000_000_000_000,
        digest=bytes(range(16, 32)),
        blocks_changed=12,
        formed_us=1_790_000_000_000_321,
    ),
    CopyArchived(
        site="osaka",
        group="bank",
        group_id="9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d",
        sequence=40,
        seal=bytes(range(16)),
        name="end-of-day",
        timestamp_us=1_790_000_000_000_000,
        digest=bytes(range(16, 32)),
        place="s3://archive/bank-end-of-day-40-00010203",
        archived_us=1_790_000_000_000_654,
    ),
    SiteStatus(
        site="osaka",
        group="bank",
        state="HALTED",
        reason="LogGap",
        hint="wait for the next writer session",
        sequence=40,
        seal=bytes(range(16)),
        epoch=2,
        timestamp_us=1_790_000_000_000_000,
        offset=-1,
        end_offset=9,
        events_applied=3,
        redelivered=1,
        void=2,
        reported_us=1_790_000_000_000_321,
        worker="osaka-1:4711",
    ),
    LogMirrored(
        group="bank",
        group_id="9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d",
        topic="tidelog.bank",
        source_cluster="5L6g3nShT_eMCtK__X86sw",
        source_servers="kafka-a-1:9092,kafka-a-2:9092",
        target_cluster="9c1kfZqGQ0mXbM2v3s8u1A",
        target_servers="kafka-b:9092",
        mirrored_us=1_790_000_000_000_555,
    ),
    HistorySealed(
        group="bank",
        group_id="9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d",
        log="5L6g3nShT_eMCtK__X86sw",
        sequence=40,
        seal=bytes(range(16)),
        timestamp_us=1_790_000_000_000_000,
        goes_on="9c1kfZqGQ0mXbM2v3s8u1A",
        servers="kafka-b-1:9092,kafka-b-2:9092",
        epoch=4,
        sealed_us=1_790_000_000_000_555,
        sealed_by="osaka-1:4711",
    ),
    WriterStatus(
        group="bank",
        epoch=3,
        writer=bytes(range(16)),
        state="OPEN",
        reason="",
        sequence=40,
        timestamp_us=1_790_000_000_000_000,
        unlogged_us=1_790_000_000_000_123,
        policy="pace",
        paced_since_us=1_789_999_999_000_000,
        paced_for="osaka is 7.0 s behind",
        paced_count=2,
        delay_us=3_200,
        delayed_us=64_000,
        reported_us=1_790_000_000_000_321,
        process="app-1:4711",
    ),
    PositionAsked(group="bank", sequence=40, asked_us=1_790_000_000_000_000),
    UncopiedSince(site="osaka", group="bank", since_us=1_790_000_000_000_000, reported_us=1_790_000_000_000_321),
    StoreBegan(
        site="osaka",
        group="bank",
        sequence=40,
        timestamp_us=1_790_000_000_000_000,
        reported_us=1_790_000_000_000_321,
    ),
    SiteRates(
        site="osaka",
        group="bank",
        window_us=10_000_321,
        events=4_000,
        bytes=16_384_000,
        closing=-3,
        events_applied=1_234_567,
        bytes_applied=5_056_786_432,
        reported_us=1_790_000_000_000_321,
        worker="osaka-1:4711",
    ),
    PromotionAsked(
        group="bank",
        site="osaka",
        epoch=3,
        writer=bytes(range(16)),
        forced=False,
        asked_us=1_790_000_000_000_000,
        expires_us=1_790_000_030_000_000,
        asked_by="ops-1:4711",
    ),
    PrimaryChosen(
        group="bank",
        group_id="9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d",
        site="osaka",
        before="tokyo",
        epoch=4,
        sequence=41,
        seal=bytes(range(16)),
        forced=True,
        chosen_us=1_790_000_001_000_000,
        chosen_by="ops-1:4711",
    ),
)


def plain(value: Any) -> Any:
    """As JSON has it: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, list) else value


def _samples() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("samples", Path(__file__).with_name("conftest.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module._samples())


def _add(name: str, message: bytes, record: dict[str, Any], key: bytes = b"") -> None:
    target = GOLDEN / f"{name}.bin"
    if not target.exists():
        target.write_bytes(message)
        described = {"type": name.partition("-")[0], "key": key.hex(), "fields": record}
        target.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n")


def main() -> None:
    """Adds what is missing."""
    samples = _samples()
    for name, event in samples.items():
        for suffix, key in (("", b""), ("-keyed", KEY)) if name == "Marker" else (("", b""),):
            message, seal = Codec(key).encode(event)
            record = {f.name: plain(getattr(event, f.name)) for f in fields(event)} | {"seal": seal.hex()}
            _add(name + suffix, message, record, key)
    for control in CONTROL:
        _add(control.kind, control.encode(), {name: plain(value) for name, value in control.model_dump().items()})
    for schema in schemas().values():
        target = GOLDEN / f"{NAMESPACE}.{schema.name}.avsc"
        if not target.exists():
            target.write_text(schema.text)


if __name__ == "__main__":
    main()

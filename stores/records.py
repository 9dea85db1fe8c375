"""How positions, volumes and copies are written in Redis. Each value has exactly one encoding, so bytes compare."""

import json
import struct
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tidelog.errors import REBUILD, StoreDamaged
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.store import Clone, Copy, CopyOrigin, CopyState, Hold, HoldKind, Moment, Position

FORMAT = b"1"
# format, sequence, seal, epoch, writer, timestamp_us, offset, layout, generation, step, step_seal; then the cluster id
_POSITION = struct.Struct(">c q 16s i 16s q q q q q 16s")
_NO_SEAL = bytes(16)


def encode_position(position: Position) -> bytes:
    head = position.head
    return (
        _POSITION.pack(
            FORMAT,
            head.sequence,
            head.seal,
            head.epoch,
            head.writer,
            head.timestamp_us,
            head.offset,
            position.layout,
            position.generation,
            position.step,
            position.step_seal or _NO_SEAL,
        )
        + position.cluster_id.encode()
    )


def decode_position(value: bytes) -> Position:
    """Raises `StoreDamaged` for bytes that `encode_position` does not make."""
    try:
        mark, *head, layout, generation, step, step_seal = _POSITION.unpack_from(value)
        cluster_id = value[_POSITION.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise _damaged("position", value) from error
    if mark != FORMAT:
        raise _damaged("position", value)
    return Position(Head(*head), cluster_id, layout, generation, step, step_seal if step else b"")


def encode_volume(volume: VolumeInfo) -> bytes:
    return _dump(_volume_row(volume))


def decode_volume(value: bytes) -> VolumeInfo:
    """Raises `StoreDamaged` for bytes that `encode_volume` does not make."""
    try:
        return _volume(json.loads(value))
    except (ValueError, TypeError) as error:
        raise _damaged("volume", value) from error


def encode_copy(copy: Copy) -> bytes:
    return _dump(_copy_row(copy))


@lru_cache(maxsize=4096)  # every look at a store decodes all its copies, and they hardly ever change
def decode_copy(value: bytes) -> Copy:
    """Raises `StoreDamaged` for bytes that `encode_copy` does not make."""
    try:
        return _copy(json.loads(value))
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged("copy", value) from error


def encode_hold(hold: Hold) -> bytes:
    """The value of a field of ``holds``, which is the hold's id."""
    return _dump(
        {
            "id": hold.id,
            "generation": hold.generation,
            "sequence": hold.sequence,
            "seal": hold.seal.hex(),
            "kind": hold.kind.value,
            "holder": hold.holder,
            "expires_us": hold.expires_us,
        }
    )


def decode_hold(value: bytes) -> Hold:
    """Raises `StoreDamaged` for bytes that `encode_hold` does not make."""
    try:
        fields = json.loads(value)
        return Hold(**fields | {"seal": bytes.fromhex(fields["seal"]), "kind": HoldKind(fields["kind"])})
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged("hold", value) from error


def encode_clone(clone: Clone) -> bytes:
    """The value of a field of ``clones``: `Clone.field`."""
    row: dict[str, object] = {
        "id": clone.id,
        "name": clone.name,
        "base": _copy_row(clone.base),
        "created_us": clone.created_us,
        "dropping": clone.dropping,
    }
    if clone.moment is not None and clone.reached is not None:
        row["moment"] = [clone.moment.sequence, clone.moment.at_us]
        row["reached"] = _copy_row(clone.reached)
        row["forming"] = clone.forming
    return _dump(row)


def decode_clone(value: bytes) -> Clone:
    """Raises `StoreDamaged` for bytes that `encode_clone` does not make."""
    try:
        fields = json.loads(value)
        fields["base"] = replace(_copy(fields["base"]), hold=fields["id"])
        if "reached" in fields:
            fields["moment"], fields["reached"] = Moment(*fields["moment"]), _copy(fields["reached"])
        return Clone(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged("clone", value) from error


def _copy_row(copy: Copy) -> dict[str, object]:
    row: dict[str, object] = {
        "generation": copy.generation,
        "sequence": copy.sequence,
        "seal": copy.seal.hex(),
        "name": copy.name,
        "timestamp_us": copy.timestamp_us,
        "volumes": [_volume_row(volume) for volume in copy.volumes],
        "blocks_changed": copy.blocks_changed,
        "epoch": copy.epoch,
        "writer": copy.writer.hex(),
        "offset": copy.offset,
        "cluster_id": copy.cluster_id,
        "state": copy.state.value,
        "origin": copy.origin.value,
        "locked_until_us": copy.locked_until_us,
        "kept": copy.kept,
    }
    return row | {"base": copy.base} if copy.base else row


def _copy(row: dict[str, Any]) -> Copy:
    volumes = tuple(map(_volume, row["volumes"]))
    seal, writer = bytes.fromhex(row["seal"]), bytes.fromhex(row["writer"])
    state, origin = CopyState(row["state"]), CopyOrigin(row["origin"])
    return Copy(**row | {"seal": seal, "writer": writer, "volumes": volumes, "state": state, "origin": origin})


def _volume_row(volume: VolumeInfo) -> list[int | str]:
    return [volume.id, volume.name, volume.size, volume.block_size]


def _volume(row: list[int | str]) -> VolumeInfo:
    number, name, size, block_size = row
    return VolumeInfo(int(number), str(name), int(size), int(block_size))


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _damaged(what: str, value: bytes) -> StoreDamaged:
    return StoreDamaged(
        f"the store holds a {what} that tidelog did not write: {value[:40]!r}",
        hint=f"a newer version wrote it, or the Redis was changed by hand; rebuild it with: {REBUILD}",
    )

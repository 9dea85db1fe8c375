"""`tidelog volume copy` and `restore`: a volume made the same as another, or as it was, at every site."""

from tidelog.clock import iso
from tidelog.consumers.site_volume import CopyVolume
from tidelog.errors import NotFound, TidelogError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import copied_volume, opened_copy
from tidelog.gateways.cli.writers import writing
from tidelog.producers.group import Group
from tidelog.producers.group_state import GroupState
from tidelog.producers.rules import copy_order, require_room, volume_named
from tidelog.producers.volume_content import copy_content
from tidelog.stores.store import HoldKind


def copy_volume(
    invocation: Invocation, source: str, target: str, group: str, pitc: str | None, *, take_over: bool, json: bool
) -> None:
    """Puts the command into the log, or, for a copy that it cannot name, the data. Raises what `Group.copy_volume`
    and `Volume.copy_from` do."""

    def check(state: GroupState, _: object) -> None:
        if _by_command(state, pitc):
            copy_order(state, source, target, pitc, group)
        else:
            assert pitc is not None
            _check_data(invocation, state, source, target, group, pitc)

    with writing(invocation, group, take_over=take_over, check=check) as opened:
        try:
            if pitc is None or _by_command(opened.session.state, pitc):
                _by_event(invocation, opened, source, target, pitc, json=json)
            else:
                _by_data(invocation, opened, source, target, pitc, json=json)
        except NotFound:
            raise
        except TidelogError as error:
            error.at_site(invocation.config.primary or "SITE", group)
            raise


def _by_command(state: GroupState, pitc: str | None) -> bool:
    """Whether the log knows what is to be copied: a live volume, or a copy by marker that is not dropped."""
    return pitc is None or state.copy(pitc) is not None


def _by_event(invocation: Invocation, opened: Group, source: str, target: str, pitc: str | None, *, json: bool) -> None:
    copied = opened.copy_volume(source, target, pitc)
    data_bytes = copied.blocks * copied.block_size
    if json:
        document = _document(opened, source, target, pitc, copied.sequence, copied.timestamp_us)
        emit_json(
            invocation,
            document
            | {
                "by": "command",
                "blocks": copied.blocks,
                "data_bytes": data_bytes,
                "bitmap_bytes": copied.bitmap_bytes,
            },
        )
        return
    invocation.say(
        f"volume {target} of group {opened.name} is volume {_of(source, pitc)}, from sequence {copied.sequence} on:"
        f" {copied.blocks} blocks, {size_text(data_bytes)}, told in {size_text(copied.bitmap_bytes)}"
    )


def _by_data(invocation: Invocation, opened: Group, source: str, target: str, pitc: str, *, json: bool) -> None:
    """From a copy by time, which no event names, or from an archive, which no site could copy from."""
    volume = opened.volume(target)
    with opened_copy(invocation, opened.name, None, pitc, HoldKind.VOLUME) as (held, copy):
        content = CopyVolume(held, copied_volume(copy, source), copy)
        with byte_bar(invocation, f"comparing {target}", volume.size) as advance:
            data_bytes = copy_content(volume, content, advance)
            opened.flush()
    blocks = -(-data_bytes // volume.block_size)
    head = opened.session.confirmed
    if json:
        document = _document(opened, source, target, pitc, head.sequence, head.timestamp_us)
        emit_json(invocation, document | {"by": "data", "blocks": blocks, "data_bytes": data_bytes, "bitmap_bytes": 0})
        return
    invocation.say(
        f"volume {target} of group {opened.name} is volume {_of(source, pitc)}, from sequence {head.sequence} on:"
        f" {blocks} blocks, {size_text(data_bytes)}, went through the log as data: sites can be told to copy"
        " only from a copy by marker that they hold"
    )


def _check_data(invocation: Invocation, state: GroupState, source: str, target: str, group: str, pitc: str) -> None:
    """Raises what the copy would be refused with."""
    to_info = volume_named(state, target, group)
    with opened_copy(invocation, group, None, pitc, None) as (_, copy):
        from_info = copied_volume(copy, source)
    require_room(source, from_info.size, to_info, group)


def _document(
    opened: Group, source: str, target: str, pitc: str | None, sequence: int, timestamp_us: int
) -> dict[str, object]:
    return {
        "group": opened.name,
        "source": source,
        "pitc": pitc,
        "target": target,
        "sequence": sequence,
        "time": iso(timestamp_us),
    }


def _of(source: str, pitc: str | None) -> str:
    return source if pitc is None else f"{source} as it was in copy {pitc}"

"""`tidelog volume resize`: a volume's size, at every site."""

from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.writers import writing
from tidelog.producers.group_state import GroupState
from tidelog.producers.rules import require_size, volume_named


def resize_volume(
    invocation: Invocation, name: str, group: str, size: int, *, shrink: bool, take_over: bool, json: bool
) -> None:
    """Sets the size in bytes. Raises `NotFound`, `OutOfBounds`, and `UsageError` for a smaller one without
    ``shrink``."""

    def check(state: GroupState, _: object = None) -> None:
        volume = volume_named(state, name, group)
        require_size(volume, size, group)
        if size < volume.size and not shrink:
            raise UsageError(
                f"volume {name} has {volume.size} bytes, and {size} would cut off its end",
                group=group,
                hint="say --shrink; what is cut off is lost, but in the copies that hold it",
            )

    with writing(invocation, group, take_over=take_over, check=check) as opened:
        check(opened.session.state)
        volume = opened.volume(name)
        before = volume.size
        volume.resize(size)
    if json:
        emit_json(invocation, {"group": group, "name": name, "size_before": before, "size": size})
    else:
        invocation.say(f"volume {name} of group {group}: {size_text(before)} before, {size_text(size)} now")

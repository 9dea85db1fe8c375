"""`tidelog volume copy` and `restore`: a volume made the same as another, or as it was, at every site."""

from tidelog.clock import iso
from tidelog.errors import NotFound, TidelogError
from tidelog.gateways.cli.copy_archive import archived_source
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.writers import writing
from tidelog.producers.rules import copy_order


def copy_volume(
    invocation: Invocation, source: str, target: str, group: str, pitc: str | None, *, take_over: bool, json: bool
) -> None:
    """Puts the command into the log. Raises what `Group.copy_volume` does."""
    try:
        with writing(
            invocation,
            group,
            take_over=take_over,
            check=lambda state, _: copy_order(state, source, target, pitc, group),
        ) as opened:
            try:
                copied = opened.copy_volume(source, target, pitc)
            except NotFound:
                raise
            except TidelogError as error:
                error.at_site(invocation.config.primary or "SITE", group)
                raise
    except NotFound as error:  # also of the check, before anybody was fenced
        raise archived_source(invocation, group, source, pitc, error) from error
    data_bytes = copied.blocks * copied.block_size
    if json:
        emit_json(
            invocation,
            {
                "group": group,
                "source": source,
                "pitc": pitc,
                "target": target,
                "sequence": copied.sequence,
                "time": iso(copied.timestamp_us),
                "blocks": copied.blocks,
                "data_bytes": data_bytes,
                "bitmap_bytes": copied.bitmap_bytes,
            },
        )
        return
    of = source if pitc is None else f"{source} as it was in copy {pitc}"
    invocation.say(
        f"volume {target} of group {group} is volume {of}, from sequence {copied.sequence} on:"
        f" {copied.blocks} blocks, {size_text(data_bytes)}, told in {size_text(copied.bitmap_bytes)}"
    )

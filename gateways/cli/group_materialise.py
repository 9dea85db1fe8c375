"""`tidelog group materialise`: the group as it was at any moment, as a clone at one site."""

from tidelog.clock import iso
from tidelog.consumers.deployment import open_store
from tidelog.consumers.materialise import materialise
from tidelog.consumers.moments import moment_of
from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import ConfigError
from tidelog.gateways.cli.clone_content import clone_json
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json
from tidelog.gateways.cli.progress import progress_bar
from tidelog.names import check_name


def materialise_group(
    invocation: Invocation,
    group: str,
    name: str,
    site: str | None,
    at: str | None,
    sequence: int | None,
    before_event: int | None,
    *,
    json: bool,
) -> None:
    """Raises `UsageError` unless exactly one moment is named, `OutOfWindow`, `AlreadyExists`, `InvalidName`."""
    moment, name = moment_of(at, sequence, before_event), check_name("clone", name)
    chosen = site or invocation.config.primary
    if chosen is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    set_for_worker()  # as a worker does it reads the log and writes to Redis at once
    store = open_store(invocation.deployment, chosen, check_name("group", group))
    try:
        with progress_bar(invocation) as bar:
            task = bar.add_task(f"materialising {group} at {moment}", total=None)

            def advance(begun: int, reached: int, last: int) -> None:
                of = f" of {last:,}" if last else ""
                bar.update(task, description=f"materialising {group}, from sequence {begun:,}: {reached:,}{of}")

            clone = materialise(invocation.deployment, store, name, moment, advance)
    finally:
        store.close()
    if json:
        emit_json(invocation, {"group": group, "site": chosen} | clone_json(clone))
        return
    image, base = clone.image, clone.base
    start = f"copy {base.name} (sequence {base.sequence})" if base.generation else "the beginning of the log"
    invocation.say(
        f"clone {name} is group {group} as it was at sequence {image.sequence}, {iso(image.timestamp_us)}, at {chosen};"
        f" it began from {start}"
    )

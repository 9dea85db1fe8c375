"""`tidelog pitc create`: a marker, and the receipts for it."""

from tidelog.clock import iso
from tidelog.consumers.deployment import find_site
from tidelog.errors import CopiesDiffer, SiteBehind
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_facts, emit_json
from tidelog.gateways.cli.writers import writing
from tidelog.names import check_name
from tidelog.producers.archived import require_free_name
from tidelog.producers.group import MarkedCopy
from tidelog.producers.rules import require_new_copy
from tidelog.schemas.control import CopyFormed
from tidelog.units import parse_duration


def create_copy(
    invocation: Invocation,
    name: str,
    group: str,
    wait: bool,
    sites: str | None,
    timeout: str,
    *,
    take_over: bool,
    json: bool,
) -> int:
    """The exit code. Raises what marking raises; nothing was marked then, unless the error says *unknown*."""
    check_name("copy", name)
    seconds = parse_duration(timeout)
    wanted = sites.split(",") if sites else list(invocation.config.sites)
    for site in wanted:
        find_site(invocation.config, site)
    by_time = f"; a copy by time needs no session: tidelog pitc create {name} --group {group} --in 5s"
    require_free_name(invocation.deployment.cluster.control.snapshot(), name, group)  # before anybody is fenced
    with writing(
        invocation,
        group,
        take_over=take_over,
        check=lambda state, _: require_new_copy(state, name, group),
        instead=by_time,
    ) as opened:
        marked = opened.mark(name)
    if not wait and sites is None:
        _show(invocation, marked, None, (), json=json)
        return OK
    problem = ""
    try:
        receipts = marked.wait(wanted, seconds)
    except (SiteBehind, CopiesDiffer) as error:
        problem, receipts = str(error), marked.receipts()
    missing = tuple(site for site in wanted if site not in receipts)
    _show(invocation, marked, receipts, missing, json=json)
    if problem:
        invocation.say(f"error: {problem}")
        invocation.say(f"hint: the copy is in the log; who has answered: {', '.join(sorted(receipts)) or 'nobody'}")
        return DEGRADED
    return OK


def _show(
    invocation: Invocation,
    marked: MarkedCopy,
    receipts: dict[str, CopyFormed] | None,
    missing: tuple[str, ...],
    *,
    json: bool,
) -> None:
    if json:
        document: dict[str, object] = {
            "group": marked.group,
            "name": marked.name,
            "sequence": marked.sequence,
            "seal": marked.seal.hex(),
            "time": iso(marked.timestamp_us),
        }
        if receipts is not None:
            document["digests"] = {site: receipt.digest.hex() for site, receipt in sorted(receipts.items())}
            document["missing"] = list(missing)
        emit_json(invocation, document)
        return
    facts = [
        ("pitc", marked.name),
        ("group", marked.group),
        ("sequence", str(marked.sequence)),
        ("seal", marked.seal.hex()),
        ("time", iso(marked.timestamp_us)),
    ]
    facts += [(site, f"digest {receipt.digest.hex()}") for site, receipt in sorted((receipts or {}).items())]
    facts += [(site, "no answer") for site in missing]
    emit_facts(invocation, [(label, value) for label, value in facts])

"""What the page is told beside the status: what helps where something is not well, and the copies of a group."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tidelog.consumers.catalogue import CatalogueCopy, SiteStanding
from tidelog.gateways.cli.application import Commands
from tidelog.gateways.cli.hints import for_a_lost_writer, for_operators
from tidelog.gateways.standing.documents import copy_json
from tidelog.gateways.standing.observer import Observed
from tidelog.recovery.rpo import WriterState

# A command inside a sentence: words, options and names, up to the end of its clause, or the verb that goes on with it.
_VERBS = "and|or|if|until|to|for|shows|lists|makes|needs|takes"
_COMMAND = re.compile(rf"tidelog ([a-z][a-z-]*)(?: (?!(?:{_VERBS})\b)[\w#@/:.=-]*[\w/])*")
_ENDS_A_SENTENCE = re.compile(r"\.(?= |$)")

Identity = tuple[int, bytes, str]
Protection = Mapping[Identity, Mapping[str, Any]]


def commands_in(hint: str) -> list[str]:
    """The commands that a hint names, each once."""
    clauses = re.split(r"[;,()`]", _ENDS_A_SENTENCE.sub(";", hint))
    found = (match for clause in clauses for match in _COMMAND.finditer(clause))
    return list(dict.fromkeys(match[0] for match in found if match[1] in Commands.modules))


def help_json(observed: Iterable[Observed]) -> list[dict[str, Any]]:
    """Every group that cannot be looked at, every site that is not well, and every writer that has ended without a word
    (``what`` of them it is): why, and what helps or tells more. Nothing here changes by the second."""
    found = []
    for group in observed:
        if group.problem:
            found.append(_help_with_group(group))
        found += [_help(site) for site in group.configured_sites if not site.well]
        if group.writer_is_gone:
            found.append(_help_with_writer(group))
    return found


_AWAY = {
    "SILENT": "There is no word from its worker.",
    "STOPPED": "Its worker has ended.",
    "UNKNOWN": "No worker of it has ever reported.",
}


def _help(site: SiteStanding) -> dict[str, Any]:
    hint = for_operators(site.hint, site.group)
    if not site.reason and site.state in _AWAY:
        hint = f"start one: tidelog site run {site.site}"
    return {
        "what": "site",
        "group": site.group,
        "site": site.site,
        "state": site.state,
        "stuck": site.stuck,
        "reason": site.reason or _AWAY.get(site.state, ""),
        "hint": hint,
        "commands": commands_in(hint) or [f"tidelog site status {site.site} --group {site.group}"],
    }


def _help_with_writer(group: Observed) -> dict[str, Any]:
    """As of a site whose name is null."""
    name, report = group.standing.record.group, group.writer.report
    hint = for_a_lost_writer(name)
    ended = group.writer.state is WriterState.ENDED and report is not None
    return {
        "what": "writer",
        "group": name,
        "site": None,
        "state": "STOPPED" if ended else "SILENT",
        "stuck": False,
        "reason": report.reason if ended and report else "There is no word from it: killed, or cut off from Kafka.",
        "hint": hint,
        "commands": commands_in(hint),
    }


def _help_with_group(group: Observed) -> dict[str, Any]:
    name = group.standing.record.group
    hint = for_operators(group.hint, name)
    return {
        "what": "group",
        "group": name,
        "site": None,
        "state": "UNSEEN",
        "stuck": False,
        "reason": group.problem,
        "hint": hint,
        "commands": commands_in(hint) or [f"tidelog group show {name}"],
    }


def copies_json(group: Observed, protection: Protection | None, unknown_because: str) -> dict[str, Any]:
    """The catalogue of a group, newest copy first. ``protection`` is what the primary site's store says of locks by
    identity; None if it could not be asked, and why."""
    return {
        "group": group.standing.record.group,
        "sites": [site.site for site in group.standing.sites],
        "protection_unknown": None if protection is not None else unknown_because,
        "copies": [_copy(copy, protection or {}) for copy in reversed(group.standing.copies)],
    }


def _copy(copy: CatalogueCopy, protection: Protection) -> dict[str, Any]:
    found = copy_json(copy)
    for site, archive in copy.archives.items():
        found["sites"][site]["archive_digest"] = archive.digest.hex()
    unknown = {"locked_until": None, "kept": None}
    return found | unknown | dict(protection.get((copy.sequence, copy.seal, copy.name), {}))

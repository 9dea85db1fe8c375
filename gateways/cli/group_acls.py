"""`tidelog group create NAME --print-acls`: what each role needs of Kafka."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json
from tidelog.producers.acls import acl_commands, group_acls


def print_acls(invocation: Invocation, group: str, principals: Sequence[str], incarnation: int, *, json: bool) -> None:
    """Prints commands, or a document; Kafka is not asked and nothing is made. ``principals`` are ``ROLE=PRINCIPAL``."""
    config = invocation.config
    acls = group_acls(config, group, dict(map(_principal, principals)), incarnation)
    if json:
        more = {"host": "*", "permission": "ALLOW", "pattern": "LITERAL"}
        emit_json(invocation, {"group": group, "acls": [asdict(acl) | more for acl in acls]})
        return
    told = ""
    for role, words in acl_commands(acls, config.kafka.bootstrap_servers):
        if role != told:
            print(f"# {role}", file=invocation.out.file)
            told = role
        print(shlex.join(words), file=invocation.out.file)
    invocation.say("nothing was made; with a secured Kafka each of these needs --command-config FILE")


def _principal(text: str) -> tuple[str, str]:
    role, given, principal = text.partition("=")
    if not given or ":" not in principal:
        raise UsageError(f"{text} names no principal", hint="write it as --principal writer=User:NAME")
    return role, principal

"""What each role needs of Kafka, as ACLs: no more than it uses (``tidelog group create NAME --print-acls``).

tidelog uses no transactions, so there is no transactional id; an idempotent producer needs WRITE on its topic alone
since Kafka 2.8 (KIP-679). READ and WRITE on a topic imply DESCRIBE.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tidelog.config import Config
from tidelog.errors import UsageError
from tidelog.schemas.mirrors import in_incarnation

ResourceType = Literal["TOPIC", "GROUP", "CLUSTER"]
CLUSTER_NAME = "kafka-cluster"  # Kafka's own name for the one resource of that kind

_READ = ("READ", "DESCRIBE_CONFIGS")  # a topic's rules are checked at every opening
_WRITE = ("READ", "WRITE", "DESCRIBE_CONFIGS")
_SPELLED = {"DESCRIBE_CONFIGS": "DescribeConfigs"}  # as kafka-acls.sh has it; the others are as a title


@dataclass(frozen=True, slots=True)
class Acl:
    """One ALLOW for ``principal`` from any host on the resource of exactly that name."""

    role: str
    principal: str
    operation: str
    resource_type: ResourceType
    resource: str


def roles(config: Config) -> list[str]:
    """Who there is: ``writer``, ``site-NAME`` for each configured site, ``reader``, ``admin``."""
    return ["writer", *(f"site-{name}" for name in config.sites), "reader", "admin"]


def group_acls(
    config: Config, group: str, principals: Mapping[str, str] | None = None, incarnation: int = 1
) -> list[Acl]:
    """The ACLs of all roles for one group, by role. ``principals`` names who has a role ("User:app"); by default that
    is ``User:tidelog-ROLE``. ``incarnation`` is that of its topic: the second is there once a region that was lost has
    come back. Raises `UsageError` for a role that there is not. Asks no Kafka.

    - ``writer`` is the application: it opens the group and writes to it.
    - ``site-NAME`` is the worker of that site.
    - ``reader`` looks: ``status``, copies and their digests, the log, also without tidelog.
    - ``admin`` makes groups, trims logs, promotes, and may do all that a writer does.
    """
    known = roles(config)
    given = dict(principals or {})
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise UsageError(f"there is no role {unknown[0]}", hint=f"there are: {', '.join(known)}")
    found: list[Acl] = []
    for role in known:
        principal = given.get(role, f"User:tidelog-{role}")
        for resource_type, name, operations in _needs(config, group, role, incarnation):
            found += [Acl(role, principal, operation, resource_type, name) for operation in operations]
    return found


def _needs(
    config: Config, group: str, role: str, incarnation: int
) -> Iterable[tuple[ResourceType, str, tuple[str, ...]]]:
    log = in_incarnation(f"{config.prefix}.{group}", incarnation)
    control, schemas = f"{config.prefix}-control", f"{config.prefix}-schemas"
    if role == "writer":
        return [("TOPIC", log, _WRITE), ("TOPIC", control, _WRITE)]
    if role == "reader":
        return [("TOPIC", log, _READ), ("TOPIC", control, _READ), ("TOPIC", schemas, ("READ",))]
    if role == "admin":
        return [
            ("TOPIC", log, (*_WRITE, "CREATE", "DELETE")),  # DELETE is of records: `log trim`
            ("TOPIC", control, (*_WRITE, "CREATE")),
            ("TOPIC", schemas, (*_WRITE, "CREATE")),
            ("CLUSTER", CLUSTER_NAME, ("DESCRIBE",)),  # whether MirrorMaker runs, which a promotion asks
        ]
    site = role.removeprefix("site-")
    return [
        ("TOPIC", log, _READ),
        ("TOPIC", control, _WRITE),
        ("GROUP", f"{config.prefix}-{site}", ("READ",)),  # the consumer group that deals groups out to its workers
    ]


def acl_commands(acls: Iterable[Acl], bootstrap_servers: Iterable[str]) -> list[tuple[str, list[str]]]:
    """(role, words of a ``kafka-acls.sh`` command) for each principal and resource; running one again changes
    nothing."""
    gathered: dict[tuple[str, str, ResourceType, str], list[str]] = {}
    for acl in acls:
        gathered.setdefault((acl.role, acl.principal, acl.resource_type, acl.resource), []).append(acl.operation)
    servers = ",".join(bootstrap_servers)
    commands = []
    for (role, principal, resource_type, name), operations in gathered.items():
        spelled = [word for one in operations for word in ("--operation", _SPELLED.get(one, one.title()))]
        where = ["--cluster"] if resource_type == "CLUSTER" else [f"--{resource_type.lower()}", name]
        words = ["kafka-acls.sh", "--bootstrap-server", servers, "--add", "--allow-principal", principal]
        commands.append((role, [*words, *spelled, *where]))
    return commands

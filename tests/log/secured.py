"""A real Kafka with an authorizer: users by SASL/PLAIN, to whom nothing is allowed but what ACLs say."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from tidelog.testing.ports import available_port
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until

PASSWORD = "only-for-tests"


class SecuredKafka:
    """The listener PLAINTEXT is for who sets it up, a super user; users come in by another one."""

    def __init__(self, users: Iterable[str]) -> None:
        port, controller, self.port = available_port(), available_port(), available_port()
        known = " ".join(f'user_{user}="{PASSWORD}"' for user in users)
        self.server = KafkaServer(
            name="kafka-secured",
            port=port,
            controller_port=controller,
            options={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # of the listener PLAINTEXT and the controller
                "listeners": f"PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{self.port},"
                f"CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},USERS://127.0.0.1:{self.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT",
                "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
                "listener.name.users.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
                ),
            },
        )

    def connection(self, user: str) -> dict[str, Any]:
        """The table [kafka] of a user's configuration."""
        return {
            "bootstrap_servers": f"127.0.0.1:{self.port}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": user,
            "sasl_plain_password": PASSWORD,
            "request_timeout": 10,
        }


class Acls:
    """Gives and takes what `tidelog group create --print-acls --json` lists."""

    def __init__(self, admin: KafkaAdminClient) -> None:
        self._admin = admin

    def give(self, listed: Iterable[Mapping[str, str]]) -> None:
        """Returns once the broker's authorizer has them."""
        wanted = list(listed)
        self._admin.create_acls([self._acl(one) for one in wanted])
        assert wait_until(lambda: all(self._there(one) for one in wanted), timeout_s=60)

    @contextmanager
    def without(self, one: Mapping[str, str]) -> Iterator[None]:
        """All but this one, for a while."""
        self._admin.delete_acls([self._filter(one)])
        assert wait_until(lambda: not self._there(one), timeout_s=60)
        try:
            yield
        finally:
            self.give([one])

    def _there(self, one: Mapping[str, str]) -> bool:
        found = self._admin.describe_acls(self._filter(one))
        acls = found[0] if isinstance(found, tuple) else found
        return bool(acls)

    @staticmethod
    def _acl(one: Mapping[str, str]) -> ACL:
        assert (one["permission"], one["pattern"]) == ("ALLOW", "LITERAL")
        return ACL(
            principal=one["principal"],
            host=one["host"],
            operation=ACLOperation[one["operation"]],
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=ResourcePattern(ResourceType[one["resource_type"]], one["resource"]),
        )

    @staticmethod
    def _filter(one: Mapping[str, str]) -> ACLFilter:
        return ACLFilter(
            principal=one["principal"],
            host=one["host"],
            operation=ACLOperation[one["operation"]],
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=ResourcePatternFilter(
                ResourceType[one["resource_type"]], one["resource"], ACLResourcePatternType.LITERAL
            ),
        )

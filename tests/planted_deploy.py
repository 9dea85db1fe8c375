"""Planted bugs in what others meet: the framing of events, ACLs, and what a service manager is told."""

from tests.planted import Mutant

DEPLOY_MUTANTS = (
    Mutant(
        "an-id-is-sealed",
        "schemas/codec.py",
        "            digest = self._hash(header)\n",
        "            digest = self._hash(identity)\n",
        "tests/schemas/test_confluent.py",
    ),
    Mutant(
        "an-id-stands-for-one-schema-for-ever",
        "schemas/codec.py",
        "_HEADERS if known is None else (known, *_HEADERS):",
        "_HEADERS if known is None else (known,):",
        "tests/schemas/test_confluent.py",
    ),
    Mutant(
        "a-registry-that-is-away-is-no-matter",
        "consumers/access.py",
        "    deployment.cluster.require_registry(record)  # before anybody is fenced\n",
        "",
        "tests/log/test_confluent_log.py",
    ),
    Mutant(
        "recovery-needs-a-registry",
        "producers/envelope.py",
        "                except (RegistryUnavailable, ConfigError):\n",
        "                except ZeroDivisionError:\n",
        "tests/log/test_confluent_log.py",
    ),
    Mutant(
        "one-subject-for-all-types",
        "producers/envelope.py",
        'f"{group.topic}-{NAMESPACE}.{kind}") for kind',
        'f"{group.topic}-value") for kind',
        "tests/log/test_confluent_log.py",
    ),
    Mutant(
        "settings-that-are-not-told-break-no-rule",
        "producers/kafka_topics.py",
        "        if not settings:  # kafka-python",
        "        if False:  # kafka-python",
        "tests/log/test_kafka_acls.py",
    ),
    Mutant(
        "a-reader-may-write",
        "producers/acls.py",
        '_READ = ("READ", "DESCRIBE_CONFIGS")',
        '_READ = ("READ", "WRITE", "DESCRIBE_CONFIGS")',
        "tests/log/test_kafka_acls.py",
    ),
    Mutant(
        "a-site-has-no-consumer-group",
        "producers/acls.py",
        '        ("GROUP", f"{config.prefix}-{site}", ("READ",)),',
        "        # ",
        "tests/log/test_kafka_acls.py",
    ),
    Mutant(
        "a-site-that-may-not-read-waits-in-silence",
        "consumers/kafka_membership.py",
        "        if not assigned and (refused",
        "        if False and (refused",
        "tests/log/test_kafka_acls.py",
    ),
    Mutant(
        "ready-without-kafka",
        "gateways/cli/notifying.py",
        "        if not self._ready and self._worker.unreachable is None:\n",
        "        if not self._ready:\n",
        "tests/cli/test_notifying.py",
    ),
    Mutant(
        "alive-whatever-happens",
        "gateways/cli/notifying.py",
        "        if turns == self._turns:\n",
        "        if False:\n",
        "tests/cli/test_notifying.py",
    ),
)

"""The parts of custom resources that our manifests use, as JSON schemas, kept by hand from their definitions: Strimzi's
KafkaTopic and KafkaUser (kafka.strimzi.io/v1), Prometheus Operator's ServiceMonitor and PrometheusRule. Anything else
is an error."""

from typing import Any

OPERATIONS = ["Read", "Write", "Create", "Delete", "Alter", "Describe", "ClusterAction", "AlterConfigs"]
OPERATIONS += ["DescribeConfigs", "IdempotentWrite", "All"]


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _resource(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = _object(
        {"name": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}, "labels": _TEXTS}, "name"
    )
    return _object(
        {"apiVersion": {"const": api_version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec},
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    )


_ACL = _object(
    {
        "resource": _object(
            {
                "type": {"enum": ["topic", "group", "cluster", "transactionalId"]},
                "name": _TEXT,
                "patternType": {"enum": ["literal", "prefix"]},
            },
            "type",
        ),
        "operations": {"type": "array", "items": {"enum": OPERATIONS}, "minItems": 1},
        "host": _TEXT,
    },
    "resource",
    "operations",
)

_KEY = _object({"name": _TEXT, "key": _TEXT}, "name", "key")
_RULE = _object(
    {"alert": _TEXT, "expr": _TEXT, "for": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}, "alert", "expr", "labels"
)

SCHEMAS = {
    "PrometheusRule": _resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        _object(
            {
                "groups": {
                    "type": "array",
                    "items": _object({"name": _TEXT, "rules": {"type": "array", "items": _RULE}}, "name", "rules"),
                }
            },
            "groups",
        ),
    ),
    "KafkaTopic": _resource(
        "kafka.strimzi.io/v1",
        "KafkaTopic",
        _object(
            {
                "partitions": {"type": "integer", "minimum": 1},
                "replicas": {"type": "integer", "minimum": 1},
                "config": _TEXTS,
                "topicName": _TEXT,
            }
        ),
    ),
    "KafkaUser": _resource(
        "kafka.strimzi.io/v1",
        "KafkaUser",
        _object(
            {
                "authentication": _object({"type": {"enum": ["tls", "tls-external", "scram-sha-512"]}}, "type"),
                "authorization": _object(
                    {"type": {"const": "simple"}, "acls": {"type": "array", "items": _ACL}}, "type", "acls"
                ),
            }
        ),
    ),
    "ServiceMonitor": _resource(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        _object(
            {
                "selector": _object({"matchLabels": _TEXTS}),
                "endpoints": {
                    "type": "array",
                    "items": _object(
                        {
                            "port": _TEXT,
                            "path": _TEXT,
                            "scheme": {"enum": ["http", "https"]},
                            "interval": _TEXT,
                            "authorization": _object({"credentials": _KEY}, "credentials"),
                            "tlsConfig": _object({"ca": _object({"secret": _KEY}, "secret"), "serverName": _TEXT}),
                        },
                        "port",
                    ),
                },
            },
            "selector",
            "endpoints",
        ),
    ),
}

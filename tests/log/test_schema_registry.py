"""Our client of schema registries, against what Confluent's own in-process registry answers, over HTTP and HTTPS."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.log.registry_server import Registry, serving
from tests.tools import tool
from tidelog.config import Config, SchemaRegistryConfig
from tidelog.errors import ConfigError, RegistryUnavailable, TidelogError
from tidelog.producers.schema_registry import SchemaRegistry
from tidelog.schemas.registry import schemas
from tidelog.testing.ports import available_port

MARKER = schemas()["Marker"]
SUBJECT = "tidelog.bank-tidelog.v1.Marker"


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def url(registry: Registry) -> Iterator[str]:
    with serving(registry) as url:
        yield url


def asked(url: str, **settings: object) -> int:
    return SchemaRegistry(SchemaRegistryConfig(url=url, **settings)).schema_id(SUBJECT, MARKER)


def test_a_schema_is_registered_and_its_id_asked_for_once(registry: Registry, url: str) -> None:
    """Confluent's client finds it under the same subject and id, with the same text."""
    client = SchemaRegistry(SchemaRegistryConfig(url=url + "/"))
    number = client.schema_id(SUBJECT, MARKER)
    assert client.schema_id(SUBJECT, MARKER) == number and len(registry.requests) == 1
    assert registry.client.get_latest_version(SUBJECT).schema_id == number
    assert registry.client.get_schema(number).schema_str == MARKER.text
    assert asked(url) == number  # another process: it is there already
    assert client.schema_id("other-tidelog.v1.Marker", MARKER) > 0 and len(registry.requests) == 3


def test_without_leave_to_register_it_must_be_there(registry: Registry, url: str) -> None:
    """And is found once it is."""
    with pytest.raises(ConfigError, match=r"does not have tidelog\.bank") as raised:
        asked(url, register_schemas=False)
    assert SUBJECT in raised.value.hint
    number = asked(url)
    assert asked(url, register_schemas=False) == number
    assert registry.client.get_subjects() == [SUBJECT]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_password_goes_nowhere_else(registry: Registry, url: str, status: int) -> None:
    """A redirection is told, and not followed."""
    other = Registry()
    with serving(other) as elsewhere:
        registry.answer, registry.location = (status, b""), f"{elsewhere}/x"
        with pytest.raises(RegistryUnavailable, match=f"points to {elsewhere}/x"):
            asked(url, username="tidelog", password="pw")
    assert not other.requests


def test_a_user(registry: Registry, url: str) -> None:
    """From the URL or from the settings; a wrong one is told."""
    registry.user = ("tidelog", "p:w")
    given = {"username": "tidelog", "password": "p:w"}
    assert asked(url, **given) == asked(url.replace("://", "://tidelog:p%3Aw@"))
    for wrong in ({}, given | {"password": "other"}):
        with pytest.raises(ConfigError, match="refuses us: User cannot access") as raised:
            asked(url, **wrong)
        assert "other" not in str(raised.value) and "p:w" not in str(raised.value)


def test_over_tls(registry: Registry, tmp_path: Path) -> None:
    """Only with a certificate that is trusted, and of that address."""
    pem, other = tmp_path / "one.pem", tmp_path / "other.pem"
    for path in (pem, other):
        made = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
        made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path) + ".crt"]
        subprocess.run(made, check=True, capture_output=True)
        path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    with serving(registry, pem) as url:
        assert asked(url, ssl_cafile=f"{pem}.crt") > 0
        for settings in ({}, {"ssl_cafile": f"{other}.crt"}):
            with pytest.raises(RegistryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                asked(url, **settings)
        with pytest.raises(ConfigError, match="ssl_cafile is of no use"):
            asked(url, ssl_cafile=str(tmp_path / "none.crt"))


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (409, b'{"error_code": 409, "message": "incompatible"}', ConfigError, "incompatible"),
        (422, b'{"error_code": 42201, "message": "Invalid schema"}', ConfigError, "Invalid schema"),
        (500, b"<html>oops</html>", RegistryUnavailable, "Internal Server Error"),
        (503, b'["no"]', RegistryUnavailable, "Service Unavailable"),
        (404, b"", RegistryUnavailable, "Not Found"),
        (200, b"hello", RegistryUnavailable, "no schema registry"),
        (200, b"[]", RegistryUnavailable, "no schema registry"),
        (200, b'{"id": "7"}', RegistryUnavailable, "no schema registry"),
        (200, b'{"id": true}', RegistryUnavailable, "no schema registry"),
        (200, b'{"id": -1}', RegistryUnavailable, "no schema registry"),
        (200, b'{"id": 4294967296}', RegistryUnavailable, "no schema registry"),
        (200, b"\xff\xfe", RegistryUnavailable, "no schema registry"),
    ],
)
def test_what_else_may_answer(
    registry: Registry, url: str, status: int, body: bytes, kind: type[TidelogError], said: str
) -> None:
    """Each is one sentence and a hint."""
    registry.answer = (status, body)
    with pytest.raises(kind, match=said) as raised:
        asked(url)
    assert url in raised.value.message and raised.value.hint


def test_nobody_there() -> None:
    """The hint says that a writer can do without."""
    with pytest.raises(RegistryUnavailable, match=r"does not answer: .*refused") as raised:
        asked(f"http://127.0.0.1:{available_port()}")
    assert "single-object" in raised.value.hint and raised.value.exit_code == 11


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "ftp://x"}, "http://host:port"),
        ({"url": "http://"}, "http://host:port"),
        ({"url": "http://a:b@x", "password": "c"}, "password is given inside url"),
        ({"url": "http://x", "ssl_cafile": "ca.pem"}, "https://"),
        ({"url": "http://x", "username": "u"}, "belong together"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], said: str) -> None:
    """At once, by `tidelog config check`."""
    with pytest.raises(ConfigError, match=said):
        Config(schema_registry=settings)


def test_the_format_needs_a_registry() -> None:
    """As the group's table says."""
    with pytest.raises(ConfigError, match=r"groups\.bank\.wire_format is confluent"):
        Config(groups={"bank": {"wire_format": "confluent"}})

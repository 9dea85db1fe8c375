"""Who may ask the status page: loopback, names, tokens, cookies; and that nothing secret is in what it says."""

import hmac
import re
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.web.scenes import SITES, Client, Scene, config_of, eventually, scene, served
from tidelog.config import Config, HttpConfig
from tidelog.errors import ConfigError, UsageError
from tidelog.gateways.web import access
from tidelog.gateways.web.serving import check_tls, serving

TOKEN = "0123456789abcdef-token"
ALL = "0.0.0.0:8443"


@pytest.fixture
def guarded(certificate: tuple[Path, Path]) -> Iterator[tuple[Scene, Client]]:
    """A server with a token and TLS."""
    cert, key = certificate
    http = {"token": TOKEN, "tls_certfile": cert, "tls_keyfile": key}
    secrets = {"bank": {"key": "ab" * 32}}
    with scene(config_of(http=http, groups=secrets)) as made:
        made.deployment.cluster.create_group("bank")
        with served(made) as server:
            yield made, Client(server, ssl.create_default_context(cafile=cert))


@pytest.fixture
def local() -> Iterator[Client]:
    """A server on loopback, for everybody on this machine, known by another name, too."""
    with scene(config_of(http={"names": "status.example"})) as made, served(made) as server:
        yield Client(server)


def test_other_machines_need_a_token_and_tls(certificate: tuple[Path, Path]) -> None:
    """Each of them alone is refused, with the command that would do; on loopback neither is needed."""
    cert, key = certificate
    tls = {"tls_certfile": cert, "tls_keyfile": key}
    for given, lacks in (({}, "no token and no TLS"), ({"token": TOKEN}, "no TLS"), (tls, "no token")):
        for address in (ALL, "[::]:8443"):
            with pytest.raises(UsageError, match=lacks) as refused:
                serving(HttpConfig(address=address, **given))
            assert "tidelog serve http --address" in refused.value.hint
    assert not serving(HttpConfig(address=ALL, token=TOKEN, **tls)).loopback
    for address in ("127.0.0.1:0", "127.8.8.8:80", "localhost:0", "[::1]:8080"):
        assert serving(HttpConfig(address=address)).loopback


def test_what_the_command_line_says_goes_before_the_file(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """The token's file, too, over a token that was read from another."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text(TOKEN)
    other.write_text("another-token-of-mine\n")
    http = Config(http={"token_file": one, "names": ["status.example"]}).http
    found = serving(http, "127.0.0.1:0", other, *certificate)
    assert found.access().is_token("another-token-of-mine") and not found.access().is_token(TOKEN)
    assert found.tls and found.access().knows_name("status.example:8443")
    assert serving(http).access().is_token(TOKEN)


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({"token": "short"}, "at least 16"),
        ({"token": "0123456789 abcdef"}, "one line"),
        ({"tls_certfile": "x.pem"}, "needs both"),
        ({"interval": 0}, "interval"),
        ({"adress": "127.0.0.1:1"}, "did you mean address"),
    ],
)
def test_what_cannot_be_is_said(http: dict[str, object], said: str) -> None:
    """And the token is not in it."""
    with pytest.raises(ConfigError) as refused:
        Config(http=http)
    assert said in f"{refused.value} {refused.value.hint}"
    assert str(http.get("token", "?")) not in str(refused.value)


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:", "127.0.0.1:99999", ":8080", "no-such-host.invalid:80"])
def test_an_address_that_is_none(address: str) -> None:
    """Said as an error of the configuration."""
    with pytest.raises(ConfigError, match=r"http\.address"):
        serving(HttpConfig(address=address))


def test_a_certificate_that_cannot_be_used(certificate: tuple[Path, Path]) -> None:
    """Missing, or not of that key: said before anything listens."""
    cert, key = certificate
    for wrong in ({"tls_certfile": cert, "tls_keyfile": cert}, {"tls_certfile": "nowhere.pem", "tls_keyfile": key}):
        with pytest.raises(ConfigError, match="cannot be used"):
            check_tls(serving(HttpConfig(**wrong)))


def test_a_name_that_is_not_ours(local: Client) -> None:
    """A foreign page whose name was bent to this address reads nothing."""
    for host in (
        "localhost",
        "127.0.0.1",
        "127.0.0.1:1234",
        "[::1]:80",
        "LocalHost:8080",
        "status.example",
        "localhost.",
    ):
        assert local.status("/api/v1/status", host=host) == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost:x"):
        for path in ("/", "/api/v1/status", "/api/v1/events", "/style.css"):
            assert local.status(path, host=host) == 421, (host, path)
    assert local.status("/healthz", host="10.0.0.7") == 200


def test_every_answer_says_what_browsers_may_do(local: Client) -> None:
    """No script but ours, no frame, no sniffing, no referrer; those that are refused say it, too."""
    for path, status in (("/", 200), ("/app.js", 200), ("/api/v1/status", 200), ("/nowhere", 404), ("/healthz", 200)):
        answer, _ = local(path)
        assert answer.status == status
        policy = answer.getheader("content-security-policy", "")
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("x-frame-options") == "DENY"
        assert answer.getheader("referrer-policy") == "no-referrer"
        assert answer.getheader("server") is None
        assert answer.getheader("cache-control") == ("no-cache" if path in ("/", "/app.js") else "no-store")
    page = local("/")[1].decode()
    assert not re.search(r"<style|style=|<script>|\son\w+=", page)
    assert local.status("/login") == 303, "nobody logs in where no token is"


def test_another_sites_page_gets_nothing(local: Client) -> None:
    """Neither an answer nor one of the places of those who follow; a link to the page is one."""
    for site in ("cross-site", "same-site"):
        for path in ("/api/v1/events", "/api/v1/status", "/app.js"):
            assert local.status(path, sec_fetch_site=site, sec_fetch_mode="no-cors") == 403
        assert local.status("/", sec_fetch_site=site, sec_fetch_mode="navigate") == 200
    assert local.status("/api/v1/status", sec_fetch_site="none") == 200


def test_without_the_token_there_is_nothing(guarded: tuple[Scene, Client]) -> None:
    """401 for programs, the form for browsers; machines see that the process lives, and nothing more."""
    _, client = guarded
    wrong = ("", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9")
    for path in (
        "/api/v1/status",
        "/api/v1/history?group=bank",
        "/api/v1/copies?group=bank",
        "/api/v1/events",
        "/metrics",
        "/app.js",
    ):
        answer, body = client(path)
        assert (answer.status, body) == (401, b"a token is needed\n")
        assert answer.getheader("www-authenticate") == 'Bearer realm="tidelog"'
        for given in wrong:
            assert client.status(path, authorization=given) == 401, (path, given)
    answer, _ = client("/")
    assert (answer.status, answer.getheader("location")) == (303, "/login")
    for path in ("/healthz", "/readyz", "/login", "/style.css"):
        assert client.status(path) == 200
    assert client.json("/api/v1/status", authorization=f"Bearer {TOKEN}")["groups"]


def log_in(client: Client, token: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    """Sends the form."""
    form = {"content_type": "application/x-www-form-urlencoded"}
    return client("/login", "POST", urlencode({"token": token}), **form, **headers)


def test_a_browser_logs_in_and_out(guarded: tuple[Scene, Client]) -> None:
    """The token once, for a cookie that scripts do not see and other sites do not send; it is not the token."""
    _, client = guarded
    refused, page = log_in(client, "wrong")
    assert refused.status == 401 and b"not the token" in page and refused.getheader("set-cookie") is None
    entered, _ = log_in(client, f" {TOKEN}\n")
    assert (entered.status, entered.getheader("location")) == (303, "/")
    cookie = entered.getheader("set-cookie", "")
    for flag in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert flag in cookie
    assert cookie.startswith("__Host-tidelog=") and TOKEN not in cookie
    value = cookie.split(";")[0]
    assert client.status("/api/v1/status", cookie=value) == client.status("/", cookie=f"a=b; {value}") == 200
    assert client.status("/login", cookie=value) == 303
    ends, signature = value.partition("=")[2].split(".")
    for forged in (f"{int(ends) + 1}.{signature}", f"{ends}.{'0' * 64}", f"{ends}.", ends, "", "\xe9.\xe9"):
        assert client.status("/api/v1/status", cookie=f"__Host-tidelog={forged}") == 401, forged
    left, _ = client("/logout", "POST", cookie=value)
    assert left.status == 303 and "Max-Age=0" in left.getheader("set-cookie", "")


def test_the_form_is_not_for_other_sites_nor_for_books(guarded: tuple[Scene, Client]) -> None:
    """What another site sends is refused, and a body longer than any token."""
    _, client = guarded
    assert log_in(client, TOKEN, sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0].status == 403
    assert log_in(client, TOKEN, sec_fetch_site="same-origin")[0].status == 303
    assert log_in(client, "x" * 5000)[0].status == 413
    assert (
        client.status("/login", "PUT")
        == client.status("/api/v1/status", "POST", authorization=f"Bearer {TOKEN}")
        == 405
    )


def test_a_session_ends() -> None:
    """After twelve hours, and with the process."""
    clock = [1_000_000.0]
    one = access.Access(TOKEN, None, tls=True, now=lambda: clock[0])
    headers = access.Headers({"cookie": f"__Host-tidelog={one.session()}"})
    assert one.allows(headers)
    assert not access.Access(TOKEN, None, tls=True, now=lambda: clock[0]).allows(headers)
    clock[0] += access.SESSION_SECONDS + 1
    assert not one.allows(headers)


def test_a_cookie_that_is_none_costs_nothing() -> None:
    """15 KiB of escapes in quotes, which `http.cookies` copies once for each of them; ours is found among others."""
    one = access.Access(TOKEN, None, tls=False)
    session = one.session()
    for quoted in ("\\a" * 7_500, "\\012" * 3_700):
        given = access.Headers({"cookie": f'tidelog="{quoted}"'})
        began = time.thread_time()
        for _ in range(100):
            assert not one.allows(given)
        assert time.thread_time() - began < 1, "that is 10 ms each, and it takes some microseconds"
    for header in (f"tidelog={session}", f"a=b;tidelog={session}; c", f'x="y";  tidelog={session} ;'):
        assert one.allows(access.Headers({"cookie": header})), header
    for header in (f'tidelog="{session}"', f"tidelog={session}{'0' * 200}", f"xtidelog={session}", "tidelog", ";=;"):
        assert not one.allows(access.Headers({"cookie": header})), header


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, of digests, so that neither content nor length shows in the time."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        access.hmac, "compare_digest", lambda one, other: bool(compared.append((one, other))) or real(one, other)
    )
    guarded = access.Access(TOKEN, None, tls=False)
    assert [guarded.is_token(given) for given in ("", "x", TOKEN[:-1], TOKEN)] == [False, False, False, True]
    assert len(compared) == 4 and {len(part) for pair in compared for part in pair} == {32}


def test_no_secret_is_in_any_document(guarded: tuple[Scene, Client]) -> None:
    """Neither the server's token, nor a group's key, nor what protects it."""
    made, client = guarded
    made.bank()
    shown = {"authorization": f"Bearer {TOKEN}"}
    eventually(lambda: client.json("/api/v1/status", **shown)["groups"][0]["copies"] == 1, "the copy is seen")
    stream = client.stream(**shown)
    said = [stream.event()[1]]
    stream.close()
    for path in (
        "/",
        "/api/v1/status",
        "/api/v1/history?group=bank",
        "/api/v1/copies?group=bank",
        "/metrics",
        "/readyz",
        "/login",
    ):
        answer, body = client(path, **shown)
        said.append(body.decode() + str(answer.getheaders()))
    assert len(said[0]) > 1000 and all(site in said[0] for site in SITES)
    for secret in (TOKEN, "ab" * 16):
        assert not [text for text in said if secret in text]

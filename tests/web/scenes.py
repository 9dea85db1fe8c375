"""What the status page is about, in memory: real writers, workers and stores, and whatever may befall them."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from threading import Event
from typing import Any

from tidelog.config import Config
from tidelog.consumers.deployment import MemoryDeployment
from tidelog.gateways.web.server import HttpServer
from tidelog.gateways.web.serving import serving
from tidelog.producers.memory_control import MemoryControl
from tidelog.schemas.control import CopyFormed, SiteStatus, status_key
from tidelog.schemas.reports import WriterStatus
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka", "london")
PATIENCE_S = 60.0


def config_of(**more: Any) -> Config:
    """Three sites in memory that report often, and a server at any free port of loopback."""
    return Config(
        sites={site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES},
        writer={"heartbeat": "1s"},
        worker={"status_interval": "400ms", "poll_timeout": "20ms"},
        http={"address": "127.0.0.1:0", "interval": "200ms"} | more.pop("http", {}),
        **more,
    )


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """What ``condition`` gives once that is true."""
    found: list[Any] = []
    assert wait_until(lambda: bool(found.append(condition()) or found[-1]), timeout_s=PATIENCE_S), what
    return found[-1]


class Scene:
    """One deployment, its workers, and a server that looks at it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.deployment = MemoryDeployment(config)
        self.running = RunningDeployment(self.deployment)

    @property
    def control(self) -> MemoryControl:
        """The control topic, which can be cut off."""
        control = self.deployment.cluster.control
        assert isinstance(control, MemoryControl)
        return control

    def bank(self, name: str = "bank") -> Any:
        """A group at all sites, its writer open, with a volume and a copy that every site has."""
        group = self.running.group(name)
        for site in SITES:
            self.running.wait_for_store(site, name, timeout=PATIENCE_S)
        group.create_volume("ledger", "1MiB").write(0, b"before")
        group.mark("monday").wait(SITES, timeout=PATIENCE_S)
        return group

    def halt(self, group: str = "bank") -> None:
        """What is no event comes into the log: every site halts there."""
        log = self.deployment.cluster.log(self.deployment.cluster.find_group(group))
        log.appender().send(b"this is no event", lambda *_: None)

    def lose_writer(self) -> None:
        """The session's last word is that it is open, as of one that was killed."""
        for group in self.running._groups:
            group.abandon()
        last = next(one for one in self.control.snapshot().values() if isinstance(one, WriterStatus))
        self.control.publish(last.model_copy(update={"state": "OPEN"}))

    def lose_store(self, site: str, group: str = "bank") -> None:
        """The site's Redis comes back empty."""
        self.running.stop_site(site)
        self.deployment.keyspace(site, group).data.clear()  # type: ignore[attr-defined]
        self.running.site(site)

    def lie(self, site: str, group: str = "bank") -> None:
        """A site tells another digest of a copy than the others have."""
        formed = (one for one in self.control.snapshot().values() if isinstance(one, CopyFormed))
        found = next(one for one in formed if (one.group, one.site) == (group, site))
        self.control.publish(found.model_copy(update={"digest": bytes(16)}))

    def silence(self, site: str, group: str = "bank") -> None:
        """A worker that was at work has not been heard for long."""
        self.running.stop_site(site)
        last = self.control.snapshot()[status_key(group, site)]
        assert isinstance(last, SiteStatus)
        self.control.publish(
            last.model_copy(update={"state": "STREAMING", "reported_us": last.reported_us - 90_000_000})
        )

    def look_long(self, server: HttpServer) -> tuple[Event, Event]:
        """The server's next look lasts until the second is set, and Kafka answers in it while the first is."""
        real, answers, ended = self.deployment.cluster.list_groups, Event(), Event()
        answers.set()

        def look() -> object:
            while not ended.wait(0.02):
                if answers.is_set():
                    server.board.answered()
            return real()

        self.deployment.cluster.list_groups = look  # type: ignore[method-assign,assignment]
        return answers, ended


@contextmanager
def scene(config: Config) -> Iterator[Scene]:
    """A scene, ended on leaving."""
    made = Scene(config)
    with made.running:
        yield made


@contextmanager
def served(made: Scene, **limits: Any) -> Iterator[HttpServer]:
    """A server of it that has looked at it."""
    with HttpServer(made.deployment, serving(made.config.http), **limits) as server:
        eventually(lambda: server.board.status is not None, "the first look")
        yield server


class Client:
    """Plain HTTP/1.1 over a socket, one connection a request."""

    def __init__(self, server: HttpServer, context: ssl.SSLContext | None = None) -> None:
        self.port, self._context = server.port, context

    def connection(self) -> HTTPConnection:
        """A new one."""
        if self._context is not None:
            return HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S, context=self._context)
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def __call__(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        """The answer and its body; ``x_y`` names the header X-Y."""
        connection = self.connection()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def status(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> int:
        """The answer's number."""
        return self(path, method, body, **headers)[0].status

    def json(self, path: str, **headers: str) -> Any:
        """A document that must be there."""
        answer, body = self(path, **headers)
        assert answer.status == 200, (answer.status, body)
        return json.loads(body)

    def stream(self, **headers: str) -> "Stream":
        """The server's events."""
        return Stream(self.connection(), headers)


class Stream:
    """Server-sent events as they come."""

    def __init__(self, connection: HTTPConnection, headers: dict[str, str]) -> None:
        self._connection = connection
        connection.request("GET", "/api/v1/events", headers=headers)
        self.answer = connection.getresponse()

    def event(self) -> tuple[str, str]:
        """The next event's name and data."""
        name, data = "", ""
        while line := self.answer.readline().decode().rstrip("\n"):
            field, _, value = line.partition(": ")
            name, data = (value, data) if field == "event" else (name, value) if field == "data" else (name, data)
        return name, data

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first picture for which that holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            name, data = self.event()
            if name == "look" and condition(found := json.loads(data)):
                return dict(found)
        raise AssertionError("no such event has come")

    def close(self) -> None:
        """Goes away."""
        self.answer.close()
        self._connection.close()

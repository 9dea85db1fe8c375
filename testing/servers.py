"""What every server that tests use can do, however it runs: a child process, a container, one that was there before."""

from typing import Literal, Protocol, Self

ServerKind = Literal["process", "container", "existing"]


class ServerError(RuntimeError):
    """A server could not be started, or refuses what was asked of it; the message says why and what to do."""


class PortTaken(ServerError):
    """A port that a server must have is in use; the message names the process that has it, if that can be seen."""


class Server(Protocol):
    """One server and its life. Address and data stay the same over `stop`, `kill`, `start` and `restart`."""

    @property
    def kind(self) -> ServerKind: ...

    @property
    def description(self) -> str:
        """What serves, for people: "Kafka 4.3.0 in a local process"."""
        ...

    @property
    def running(self) -> bool:
        """True from a `start` until the server ends, by whatever cause; a paused server runs."""
        ...

    def start(self) -> None:
        """Returns once a client got an answer; nothing to do if it runs. `ServerError` if it dies or is late."""
        ...

    def stop(self) -> None:
        """Ends it gracefully, a paused one too; by force after a bound. Nothing to do if it does not run."""
        ...

    def kill(self) -> None:
        """Ends it at once with SIGKILL; does nothing if it does not run."""
        ...

    def pause(self) -> None:
        """Freezes it: connections stay open, nothing is answered. `ServerError` if it does not run."""
        ...

    def resume(self) -> None:
        """Ends a pause. `ServerError` if it does not run."""
        ...

    def restart(self) -> None:
        """`stop`, then `start`."""
        ...

    def close(self) -> None:
        """`stop`, and everything that was made for this server is removed; it cannot be started again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class KafkaEndpoint(Protocol):
    """A Kafka that clients can reach."""

    @property
    def bootstrap_servers(self) -> str:
        """ "host:port" of the client listener."""
        ...


class RedisEndpoint(Protocol):
    """A Redis (or Valkey) that clients can reach."""

    @property
    def url(self) -> str:
        """A `redis://` URL, password included."""
        ...

    @property
    def unix_url(self) -> str | None:
        """A `unix://` URL of the same server; None where it has no socket on this machine."""
        ...


class KafkaServing(Server, KafkaEndpoint, Protocol):
    """A Kafka with a life of its own."""


class RedisServing(Server, RedisEndpoint, Protocol):
    """A Redis with a life of its own."""

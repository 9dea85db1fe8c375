"""Servers that were there before: tests use them, and neither start nor end them."""

import fcntl
import hashlib
import urllib.parse
from typing import IO, ClassVar, Self

from redis import Redis

from tidelog.testing.kafka_jars import cache_folder
from tidelog.testing.readiness import kafka_answers, redis_answers, wait_until
from tidelog.testing.servers import ServerError, ServerKind

ANSWER_TIMEOUT_S = 10.0


class ExistingServer:
    """A given endpoint. `start` checks that it answers; `stop` and `close` leave it as it is; faults are refused."""

    kind: ClassVar[ServerKind] = "existing"
    software: ClassVar[str]

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def description(self) -> str:
        return f"{self.software} at {self.address}"

    @property
    def running(self) -> bool:
        return self._answers()

    def _answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        if not wait_until(self._answers, ANSWER_TIMEOUT_S):
            raise ServerError(f"{self.description} gives no answer within {ANSWER_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """Leaves it running: it is not ours to end."""

    def close(self) -> None:
        """Leaves it running: it is not ours to end."""

    def kill(self) -> None:
        raise self._not_ours("kill")

    def pause(self) -> None:
        raise self._not_ours("pause")

    def resume(self) -> None:
        raise self._not_ours("resume")

    def restart(self) -> None:
        raise self._not_ours("restart")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _not_ours(self, fault: str) -> ServerError:
        return ServerError(f"{self.description} was given, not started by us: refusing to {fault} it")


class ExistingKafka(ExistingServer):
    """A Kafka at "host:port[,host:port...]"."""

    software = "Kafka"

    @property
    def bootstrap_servers(self) -> str:
        return self.address

    def _answers(self) -> bool:
        return kafka_answers(self.address)


class ExistingRedis(ExistingServer):
    """A Redis at a `redis://`, `rediss://` or `unix://` URL; the description leaves a password out."""

    software = "Redis"

    @property
    def description(self) -> str:
        scheme, _, rest = self.address.partition("://")
        return f"{self.software} at {scheme}://{rest.rpartition('@')[2]}"

    @property
    def url(self) -> str:
        return self.address

    @property
    def unix_url(self) -> str | None:
        return self.address if self.address.startswith("unix:") else None

    def _answers(self) -> bool:
        return redis_answers(self.address)


class ExistingRedisDatabase(ExistingRedis):
    """One numbered database of a given Redis, for one user of the fixtures: empty before and after.

    `start` raises `ServerError` for a database that holds anything: it may be somebody's data. `close` empties a
    database that `start` found empty.
    """

    def __init__(self, url: str, database: int) -> None:
        parts = urllib.parse.urlsplit(url)
        super().__init__(parts._replace(path=f"/{database}").geturl())
        self._ours = False
        self._claim: IO[str] | None = None

    def claim(self) -> bool:
        """Whether no other process of this user has it, such as a worker of pytest-xdist; then none has until `close`,
        or this object or process ends."""
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        lock = (folder / f"redis-{name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._claim = lock
        return True

    def start(self) -> None:
        if self._ours:
            return
        super().start()
        with Redis.from_url(self.url) as client:
            keys = client.dbsize()
        if keys:
            raise ServerError(
                f"{self.description} holds {keys} keys; tests need an empty database and will not empty it"
            )
        self._ours = True

    def close(self) -> None:
        if self._ours:
            with Redis.from_url(self.url) as client:
                client.flushdb()
            self._ours = False
        if self._claim is not None:
            self._claim.close()

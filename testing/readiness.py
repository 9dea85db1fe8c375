"""Whether a server answers, asked the way a client asks; and waiting for that, or any condition, with a deadline."""

import socket
import time
from collections.abc import Callable

POLL_S = 0.02


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """True once the condition holds, False if it still does not at the deadline; it is asked at least once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def kafka_answers(bootstrap_servers: str) -> bool:
    """True if some broker is registered with the controller and unfenced, so that topics can be made and written to."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    if not any(_port_open(address) for address in bootstrap_servers.split(",")):
        return False  # a client would try for its whole bootstrap timeout
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers.split(","), request_timeout_ms=1_000, bootstrap_timeout_ms=2_000
        )
    except KafkaError:
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        admin.close()


def redis_answers(url: str) -> bool:
    """True if the server answers PING, so it has loaded its data too; redis-py's `AuthenticationError` passes."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError
    from redis.retry import Retry

    # One try: redis-py's own retries would wait for seconds in between.
    client = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except AuthenticationError:
        raise
    except RedisError:
        return False
    finally:
        client.close()


def _port_open(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True

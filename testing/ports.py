"""TCP ports of this machine: one that is free and stays so, and who has one that is not."""

import os
import random
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from tidelog.testing.servers import PortTaken, ServerError

# Below Linux's ephemeral range (32768 and up): the kernel never gives such a port to an outgoing connection, so a
# server that is down for a moment finds its port free when it comes back.
PORTS = range(20_000, 32_000)
ATTEMPTS_MAX = 1_000
# Not the module's own generator: who seeds that, as test suites do, would get the same ports in every process.
_chance = random.SystemRandom()
TCP_LISTEN = "0A"


def available_port() -> int:
    """A TCP port that nothing is bound to on any address, below the ephemeral range; `ServerError` if none is found.

    Among pytest-xdist's workers each has ports of its own: a server that one has stopped, or not started yet, finds its
    port free whatever the others start.
    """
    ports = own_ports(os.environ)
    for _ in range(ATTEMPTS_MAX):
        port = _chance.choice(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise ServerError(f"no free port found between {ports.start} and {ports.stop - 1} in {ATTEMPTS_MAX} attempts")


def own_ports(environment: Mapping[str, str]) -> range:
    """The part of `PORTS` for this process: all, or a worker's of pytest-xdist, one behind the other."""
    worker = re.fullmatch(r"gw(\d+)", environment.get("PYTEST_XDIST_WORKER", ""))
    count = int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None:
        return PORTS
    size, number = len(PORTS) // count, int(worker[1]) % count  # a worker in place of one that died has a new number
    return PORTS[number * size : (number + 1) * size]


def require_free(port: int, server: str) -> None:
    """Raises `PortTaken`, naming the owner, unless `server` could listen on the loopback port now."""
    with socket.socket() as probe:
        # As Java and Redis do it, so that connections of an earlier run in TIME_WAIT are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise PortTaken(
                f"{server} may not listen on port {port}: {error.strerror}; use a port above 1023"
            ) from error
        except OSError as error:
            message = f"{server} cannot start: port {port} is taken by {port_owner(port)}"
            raise PortTaken(f"{message}; stop that, or use another port") from error


def port_owner(port: int) -> str:
    """The process that listens on a TCP port as "name (pid 123)"; "another process" if that cannot be seen."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        if _has_open(process, inodes):
            try:
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
            except OSError:
                break  # it ended just now
    return "another process"


def _has_open(process: Path, inodes: set[str]) -> bool:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:  # ended meanwhile, or another user's
        return False
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()) in inodes:
                return True
        except OSError:  # closed meanwhile, as our own listing of this folder is
            continue
    return False


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found

"""Telling the service manager how a service is, as sd_notify(3) has it: a datagram to the socket that it names."""

import os
import socket
from collections.abc import Callable, Mapping

from tidelog.consumers.worker import SiteWorker

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Sends lines such as ``READY=1`` and ``STATUS=...``; False where nobody listens. A manager that has gone away is
    no failure of the service."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    place = "\0" + address[1:] if address[0] == "@" else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.sendto("\n".join(lines).encode(), place)
        except OSError:
            return False
    return True


class WorkerNotices:
    """What a worker's manager is told: ready once the first round is through, so Kafka has answered, and each group's
    replica runs; after that that it is alive, as long as its rounds go on, be it in waiting for Kafka."""

    def __init__(self, worker: SiteWorker, send: Callable[..., bool] = notify) -> None:
        self._worker, self._send = worker, send
        self._ready = False
        self._turns = 0

    def look(self) -> None:
        """Called again and again while it serves."""
        turns = self._worker.turns
        if turns == self._turns:
            return
        self._turns = turns
        if not self._ready and self._worker.unreachable is None:
            self._ready = True
            self._send(READY, ALIVE)
        else:
            self._send(ALIVE)

    def say(self, text: str) -> None:
        """For `systemctl status`."""
        self._send(f"STATUS={text}")

    def stop(self) -> None:
        """It ends on purpose."""
        self._send(STOPPING)

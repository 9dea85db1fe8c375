"""Connections to a unix socket, all of them open at once until stdin ends: `python -m tests.nbd.crowd SOCKET COUNT`.

Says how many of them the server keeps, which is to have greeted them, and how many it has left without a byte.
"""

import resource
import select
import socket
import sys
from contextlib import suppress


def main(path: str, count: int) -> None:
    """Raises `ValueError` where this process may not have so many files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, most))
    crowd, poll = {}, select.poll()
    for _ in range(count):
        one = socket.socket(socket.AF_UNIX)
        one.connect(path)  # waits while the queue is full
        crowd[one.fileno()] = one
        poll.register(one, select.POLLIN)
    kept, undecided = 0, count
    while undecided:
        for file, _ in poll.poll():
            poll.unregister(file)
            kept += _is_greeted(crowd[file])
            undecided -= 1
    print(f"{kept} kept, {count - kept} left", flush=True)
    sys.stdin.read()


def _is_greeted(one: socket.socket) -> bool:
    with suppress(ConnectionError):
        return one.recv(18) != b""
    return False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

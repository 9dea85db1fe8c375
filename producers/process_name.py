"""Who a process is, for people, and for other processes of the same machine: ``host:pid``."""

import os
import socket


def process_name() -> str:
    """Of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def has_ended(name: str) -> bool:
    """Whether ``name`` is a process of this machine that has ended; False where that cannot be told."""
    host, _, pid = name.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

"""Which process a number means: process ids are used again, an identity is not."""

import os
from pathlib import Path


def process_identity(pid: int) -> str | None:
    """Boot, process namespace, number and start time, joined by "/"; None if it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{_place()}/{pid}/{start_ticks}"


def has_ended(identity: str) -> bool:
    """True if the process with this identity is gone for certain.

    Of another process namespace of the same boot nothing can be seen, so such a process counts as living; of another
    boot all are gone.
    """
    boot, namespace, pid, _ = identity.split("/")
    here_boot, here_namespace = _place().split("/")
    if boot != here_boot:
        return True
    return namespace == here_namespace and process_identity(int(pid)) != identity


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    return f"{boot}/{namespace}"


def own_identity() -> str:
    """This process's identity."""
    identity = process_identity(os.getpid())
    assert identity is not None
    return identity

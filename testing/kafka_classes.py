"""Kafka's classes as a JVM has them once they are loaded, in a file that later brokers map: the start of one then costs
little more than half the processor time."""

import fcntl
import tempfile
from pathlib import Path

from tidelog.testing.kafka_jars import class_archive
from tidelog.testing.kafka_settings import QUICK_HEAP, QUICK_JVM
from tidelog.testing.processes import KafkaServer


class _Writing(KafkaServer):
    """One whose JVM writes the file before it ends."""

    stop_timeout_s = 120.0


def archive_classes() -> Path:
    """The file, made if this user has not got it yet (some 5 s), by a broker that starts and ends.

    Safe to be called by several processes at once: one makes it, the others wait for it. `ServerError` as of a server.
    """
    archive = class_archive()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / f"{archive.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            with tempfile.TemporaryDirectory(prefix=f"{archive.name}.", dir=archive.parent) as folder:
                made = Path(folder) / archive.name
                with _Writing(jvm=(*QUICK_JVM, *QUICK_HEAP, f"-XX:ArchiveClassesAtExit={made}")):
                    pass
                made.rename(archive)
    return archive

"""Kafka's MirrorMaker 2 as a child process between two Kafkas: to be stopped, killed and started again by tests."""

import re
from collections.abc import Mapping
from pathlib import Path

from tidelog.testing.kafka_jars import KAFKA_VERSION, java_command, mirror_jars
from tidelog.testing.kafka_settings import QUICK_HEAP, QUICK_JVM
from tidelog.testing.local_server import LocalServer
from tidelog.testing.processes import LOG4J

STARTED = b"Kafka MirrorMaker started"


class MirrorMakerServer(LocalServer):
    """Runs ``properties`` (a whole file's text); ``settings`` replace lines of it, or are added.

    `start` returns when it runs, not when something was mirrored. Where it stands is in the target's Kafka, so nothing
    is lost by `kill`, and what it sends twice is up to Kafka Connect.
    """

    start_timeout_s = 90.0
    stop_timeout_s = 30.0

    def __init__(
        self,
        properties: str,
        settings: Mapping[str, str],
        *,
        name: str = "mirror-maker",
        runtime_dir: Path | None = None,
    ) -> None:
        super().__init__(name, (), data_dir=None, runtime_dir=runtime_dir, outlives_parent=False)
        self.properties = replaced(properties, settings)

    @property
    def description(self) -> str:
        return f"MirrorMaker {KAFKA_VERSION} in a local process"

    def _command(self) -> list[str]:
        file = self.runtime_dir / "mirror-maker.properties"
        file.write_text(self.properties)
        self._log_before = self.log_file.stat().st_size if self.log_file.exists() else 0
        java = [java_command(), *QUICK_JVM, *QUICK_HEAP, f"-Dlog4j2.configurationFile={LOG4J}"]
        return [*java, "-cp", f"{mirror_jars()}/*", "org.apache.kafka.connect.mirror.MirrorMaker", str(file)]

    def _answers(self) -> bool:
        with self.log_file.open("rb") as log:
            log.seek(self._log_before)
            return STARTED in log.read()


def replaced(properties: str, settings: Mapping[str, str]) -> str:
    """The text with these settings in place of those of the same name."""
    for name, value in settings.items():
        parts = re.split(rf"^{re.escape(name)} *=.*$", properties, maxsplit=1, flags=re.MULTILINE)
        properties = f"{name} = {value}".join(parts) if len(parts) > 1 else f"{properties}{name} = {value}\n"
    return properties

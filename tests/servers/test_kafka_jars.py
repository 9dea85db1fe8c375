"""The first start of all: jars are fetched once, whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidelog.testing.kafka_jars import KAFKA_VERSION, MIRROR_POM, POM, cache_folder, kafka_jars, mirror_jars
from tidelog.testing.servers import ServerError

FETCH = "from tidelog.testing.kafka_jars import kafka_jars; print(kafka_jars())"
GOOD_MAVEN = """#!/bin/sh
for word; do case $word in -DoutputDirectory=*) out=${word#*=} ;; esac; done
echo fetched >>"$XDG_CACHE_HOME/fetches"
mkdir -p "$out" && sleep 0.3 && echo jar >"$out/kafka.jar"
"""
BAD_MAVEN = """#!/bin/sh
for word; do case $word in -DoutputDirectory=*) out=${word#*=} ;; esac; done
mkdir -p "$out" && echo half >"$out/kafka.jar"
echo 'Could not resolve dependencies' && exit 1
"""


def with_maven(folder: Path, script: str) -> dict[str, str]:
    maven = folder / "bin" / "mvn"
    maven.parent.mkdir(exist_ok=True)
    maven.write_text(script)
    maven.chmod(0o755)
    return os.environ | {"PATH": f"{maven.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder)}


def test_two_first_starts_at_once_fetch_once(tmp_path: Path) -> None:
    environment = with_maven(tmp_path, GOOD_MAVEN)
    fetchers = [
        subprocess.Popen([sys.executable, "-c", FETCH], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    jars = tmp_path / "tidelog" / f"kafka-{KAFKA_VERSION}"
    assert [fetcher.communicate()[0].strip() for fetcher in fetchers] == [str(jars)] * 3
    assert (jars / "kafka.jar").read_text() == "jar\n"
    assert (tmp_path / "fetches").read_text() == "fetched\n"
    assert sorted(path.name for path in jars.parent.iterdir()) == [jars.name, f"{jars.name}.lock"]


def test_a_failed_fetch_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in with_maven(tmp_path, BAD_MAVEN).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ServerError, match="Could not resolve dependencies"):
        kafka_jars()
    assert not (tmp_path / "tidelog" / f"kafka-{KAFKA_VERSION}").exists()


def test_mirror_maker_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched by those who use it: who has a broker's jars already need not fetch those again."""
    for name, value in with_maven(tmp_path, GOOD_MAVEN).items():
        monkeypatch.setenv(name, value)
    assert kafka_jars() != mirror_jars() == tmp_path / "tidelog" / f"kafka-mirror-{KAFKA_VERSION}"
    assert mirror_jars().is_dir() and (tmp_path / "fetches").read_text() == "fetched\n" * 2


def test_without_maven_and_jars_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ServerError, match="install `maven`"):
        kafka_jars()


def test_an_empty_home_means_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    assert cache_folder().is_absolute()
    assert cache_folder().parts[-2:] == (".cache", "tidelog")


def test_the_pom_the_image_script_and_the_code_name_one_version() -> None:
    for pom in (POM, MIRROR_POM):
        assert f"<kafka.version>{KAFKA_VERSION}</kafka.version>" in pom.read_text()
    assert f"\nversion={KAFKA_VERSION}\n" in (POM.parent / "images" / "build-images.sh").read_text()

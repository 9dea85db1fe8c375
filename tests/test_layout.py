"""The layout of DESIGN section 10: folders at the root, one installed package that joins them by committed links."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.source_tree import FOLDERS, PACKAGE, ROOT, package_files, tracked
from tidelog.testing.container_images import docker_answers

INSTALLED_SUFFIXES = (".py", ".avsc", ".xml", ".typed", ".sh", ".yaml", ".html", ".css", ".js", ".svg")
BUILD_MINUTES = 5
# Fixtures that the inventory has no use for.
MORE_FIXTURES = """
import socket
from urllib.parse import parse_qs, urlsplit

def test_a_block_device(tidelog_nbd, tidelog_group):
    tidelog_group.create_volume("ledger", "1MiB")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(parse_qs(urlsplit(tidelog_nbd.uri("ledger")).query)["socket"][0])
        assert client.recv(8) == b"NBDMAGIC"

def test_three_brokers(tidelog_kafka_cluster):
    assert len(tidelog_kafka_cluster.bootstrap_servers.split(",")) == len(tidelog_kafka_cluster.nodes) == 3
"""


def python(code: str, cwd: Path, **environment: str) -> str:
    """What a fresh interpreter prints, away from the repository."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=clean | environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_a_package_of_tidelog(folder: str) -> None:
    """``tidelog.stores`` is the folder ``stores`` at the root."""
    module = importlib.import_module(f"tidelog.{folder}")
    assert module.__file__ is not None
    if ROOT in Path(module.__file__).resolve().parents:  # else an installed wheel is under test
        assert Path(module.__file__).resolve().parent == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_links_are_committed_as_links(folder: str) -> None:
    """A copy in place of a link would be a second, silent version of the folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage", f"src/tidelog/{folder}"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert listed[0] == "120000"
    assert (PACKAGE / folder).readlink() == Path("../..") / folder


def test_users_import_one_name(tmp_path: Path) -> None:
    """No ``schemas``, ``producers`` and so on in everyone's site-packages."""
    code = f"import importlib.util as u, tidelog; print([f for f in {FOLDERS} if u.find_spec(f)])"
    assert python(code, tmp_path) == "[]"


def test_importing_tidelog_is_cheap(tmp_path: Path) -> None:
    """No client library is loaded before it is used."""
    clients = ("kafka", "redis", "fastavro", "pydantic", "apsw")
    code = f"import sys, tidelog; print([m for m in {clients} if m in sys.modules])"
    assert python(code, tmp_path) == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what is in the repository, through the sdist, in a copy."""
    source = tmp_path_factory.mktemp("source")
    links = [f"src/tidelog/{folder}" for folder in FOLDERS]
    for name in [*tracked(), *links]:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    output = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", output, source],
        capture_output=True,
        text=True,
        timeout=BUILD_MINUTES * 60,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(output.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_has_every_module(wheel: Path) -> None:
    """Each file of each folder that the code needs, and none of the repository's other folders."""
    wanted = {
        f"tidelog/{name.removeprefix('src/tidelog/')}"
        for name in tracked()
        if name.startswith(("src/tidelog/", *(f"{folder}/" for folder in FOLDERS)))
        and name.endswith(INSTALLED_SUFFIXES)
    }
    assert wanted >= {"tidelog/py.typed", "tidelog/testing/pom.xml", "tidelog/schemas/tidelog.v1.WriteBatch.avsc"}
    assert "tidelog/gateways/web/page/index.html" in wanted
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sorted(wanted - names) == []
    assert {name.split("/")[0] for name in names} == {"tidelog", wheel.name[: wheel.name.index("-py3")] + ".dist-info"}
    assert len(wanted) > len(package_files())


@pytest.mark.slow
def test_the_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """Installed away from the repository it imports, and passes the tests of the wire format."""
    target, tests = tmp_path / "installed", tmp_path / "tests"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], check=True
    )
    shutil.copytree(ROOT / "tests" / "schemas", tests / "schemas")
    where = python("import tidelog.schemas.codec as c; print(c.__file__)", tmp_path, PYTHONPATH=str(target))
    assert Path(where) == target / "tidelog" / "schemas" / "codec.py"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", tests],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target), "TIDELOG_FUZZ": "2000"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.timeout(900)  # two minutes on an idle machine
@pytest.mark.parametrize("servers", ["processes", "containers"])
def test_an_application_tests_itself_with_the_wheel(wheel: Path, tmp_path: Path, servers: str) -> None:
    """examples/inventory, copied into a project of its own: the installed plugin gives its tests their fixtures, faults
    too, with Docker and without."""
    if servers == "containers" and not docker_answers():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("a Docker engine is missing")
    target, project = tmp_path / "installed", tmp_path / "inventory"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], check=True
    )
    shutil.copytree(ROOT / "examples" / "inventory", project)
    (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    if servers == "processes":  # once
        (project / "test_more.py").write_text(MORE_FIXTURES)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(target), "TIDELOG_TEST_SERVERS": servers},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    used = re.search(r"tidelog servers: (.*)", run.stdout)
    kind = "in a container" if servers == "containers" else "in a local process"
    passed = 5 + MORE_FIXTURES.count("def test_") * (servers == "processes")
    assert f"{passed} passed" in run.stdout and used and used[1].count(kind) == len(used[1].split(", ")), run.stdout

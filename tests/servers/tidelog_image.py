"""The image of infra/Containerfile, built on the spot where no registry is in reach.

In place of python:3.12-slim stands a base image made of this machine's own Python, `sh` and `useradd`, with the shared
libraries that they need. A build reaches no package index either: pip on this machine makes the wheels that the build
asks for, and the base image has them, and pip's usual variables that name them. The Containerfile stays as it is.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.tools import tool
from tidelog.testing.container_images import OWNER_LABEL
from tidelog.testing.identity import has_ended, own_identity

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "infra" / "Containerfile"
NOT_NEEDED = ("site-packages", "dist-packages", "test", "idlelib", "lib2to3", "tkinter", "turtledemo", "config-*")
# Beside libc: what a wheel for manylinux may take for granted, whether or not Python itself needs it.
FOR_WHEELS = ("libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1")
BASE_ENV = {
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/wheels",
}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
BUILD_TIMEOUT_S = 400


def source_copy(target: Path) -> Path:
    """What a build's context has: the repository, links as links, less what Containerfile.dockerignore names."""
    lines = CONTAINERFILE.with_name("Containerfile.dockerignore").read_text().splitlines()
    ignored = [line.removeprefix("**/") for line in lines]
    assert {".git", ".venv", ".cache"} <= set(ignored)
    return Path(shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*ignored)))


@contextmanager
def built_image(work: Path) -> Iterator[str]:
    """The name of the image inside; it and all that its build made are removed on leaving.

    Its label names this process, and is that of its containers: a later session removes what a killed one left.
    """
    owner = own_identity()
    name = f"tidelog-test-{os.getpid()}"
    _remove_images(has_ended)
    try:
        layer = _base_layer(work / "base", _wheels(work / "wheels"))
        changes = [f"ENV {key}={value}" for key, value in BASE_ENV.items()] + [f"LABEL {OWNER_LABEL}={owner}"]
        docker("import", *(word for change in changes for word in ("--change", change)), str(layer), f"{name}-base")
        context = source_copy(work / "source")
        file = str(context / CONTAINERFILE.relative_to(ROOT))
        given = ("--build-arg", f"PYTHON_IMAGE={name}-base", "--network", "none")
        docker("build", *given, "-f", file, "-t", name, str(context))
        yield name
    finally:
        _remove_images(lambda other: other == owner)


def _remove_images(whose: Callable[[str], bool]) -> None:
    """Newest first, so that none has children; the steps between them go with the last that needs them."""
    for image in dict.fromkeys(docker("images", "-q", "--filter", f"label={OWNER_LABEL}").split()):
        if whose(docker("inspect", "-f", f'{{{{index .Config.Labels "{OWNER_LABEL}"}}}}', image).strip()):
            docker("rmi", "-f", image)


def docker(*arguments: str, given: str | None = None) -> str:
    """What the command printed; `given` is its standard input."""
    command = ["docker", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def _wheels(folder: Path) -> Path:
    """Of all that `pip install` in the Containerfile will ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extras,) = re.findall(r"/source\[([\w,]+)\]", CONTAINERFILE.read_text())
    optional = project["project"]["optional-dependencies"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [requirement for extra in extras.split(",") for requirement in optional[extra]]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


def _base_layer(root: Path, wheels: Path) -> Path:
    """A tar file of a root file system, laid out in the folder `root`."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    python = f"python{sysconfig.get_python_version()}"
    programs = {
        Path(sys.base_prefix, "bin", python): f"usr/local/bin/{python}",
        Path("/bin/sh"): "bin/sh",
        Path(tool("useradd")): "usr/sbin/useradd",
    }
    _lay_out(root, programs | _libraries([*programs, *(stdlib / "lib-dynload").glob("*.so")]))
    unneeded = shutil.ignore_patterns(*NOT_NEEDED)
    shutil.copytree(stdlib, root / "usr/local/lib" / python, symlinks=True, ignore=unneeded)
    for alias in ("python3", "python"):
        (root / "usr/local/bin" / alias).symlink_to(python)
    shutil.copytree(wheels, root / "wheels")
    bundled = sysconfig.get_config_var("WHEEL_PKG_DIR")  # Debian's ensurepip has its pip there
    if bundled:
        shutil.copytree(bundled, root / bundled.strip("/"))
    layer = root.with_suffix(".tar")
    with tarfile.open(layer, "w") as tar:
        tar.add(root, ".", filter=_of_root)
    return layer


def _lay_out(root: Path, copies: Mapping[Path, str]) -> None:
    """Files of this machine, by their places in the image, and what else a root file system has."""
    for place in (*copies.values(), *FILES):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
    for source, place in copies.items():
        shutil.copy2(source, root / place)
    for place, text in FILES.items():
        (root / place).write_text(text)
    for folder in ("var/lib", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if entry.isdir():
        entry.mode |= 0o755
    return entry


def _libraries(binaries: Iterable[Path]) -> dict[Path, str]:
    """Those that the loader would give to any of these, itself among them, and `FOR_WHEELS`; in their own places."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=True).stdout
    found = {Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed, re.MULTILINE)}
    libc = next(path for path in found if path.name.startswith("libc.so."))
    found |= {path for name in FOR_WHEELS if (path := libc.with_name(name)).exists()}
    return {path: str(path).lstrip("/") for path in found}

"""What README.md says works as it stands: its Python, its configuration, its commands, its links, its make targets."""

import ast
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.clean_stores import group_of_its_own
from tests.documents.pages import tidelog
from tidelog.config import Config
from tidelog.consumers.deployment import open_store
from tidelog.errors import AlreadyExists
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.stack import stack_toml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LONG_RUNNING = ("site run", "status --watch")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """Every `tidelog ...` line, without its comment."""
    lines = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    return [line[1:] for line in lines if line and line[0] == "tidelog"]


@pytest.fixture
def config_file(tidelog_deployment: RunningDeployment, tmp_path: Path) -> Iterator[Path]:
    """`tidelog.toml` for the test's own servers, where README's code looks for it; the group's name is README's."""
    config: Config = tidelog_deployment.deployment.config
    named = re.findall(r"^\[sites\.(\w+)\.", blocks("toml")[0], re.MULTILINE)
    urls = {name: config.sites[name].redis.url for name in named}
    path = tmp_path / "tidelog.toml"
    path.write_text(f'prefix = "{config.prefix}"\n' + stack_toml(",".join(config.kafka.bootstrap_servers), urls))
    with group_of_its_own((site.redis.url for site in config.sites.values()), "bank"):
        yield path


@pytest.fixture
def workers(config_file: Path) -> Iterator[None]:
    """The long-running commands of README, each in a process, ended as a user would end them."""
    started = []
    for arguments in commands():
        if " ".join(arguments).startswith(LONG_RUNNING):
            command = [sys.executable, "-m", "tidelog", "-c", str(config_file), *arguments]
            # A shell that runs the tests in the background has SIGINT ignored in all of them.
            listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            quiet = subprocess.DEVNULL
            started.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=listening))
    yield
    for process in started:
        process.send_signal(signal.SIGINT)
    assert {process.wait(60) for process in started} <= {0, 130}


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_the_commands_and_the_library(
    config_file: Path,
    tidelog_deployment: RunningDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """`group create`, workers, the ten lines of Python as they stand, again with another copy, every other command."""
    short = [arguments for arguments in commands() if not " ".join(arguments).startswith(LONG_RUNNING)]
    create = short.pop(0)
    assert create == ["group", "create", "bank"]
    assert tidelog(config_file, *create).returncode == 0
    request.getfixturevalue("workers")
    (library,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    assert wait_until(lambda: _has_store(tidelog_deployment, "osaka"), timeout_s=60)
    assert _value_of(library) == b"hello"
    with pytest.raises(AlreadyExists, match="end-of-day"):
        _value_of(library)
    assert _value_of(library.replace("end-of-day", "next-day")) == b"hello"
    for arguments in short:
        extra = ["--yes"] if "rebuild" in arguments else []
        done = tidelog(config_file, *arguments, *extra)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def _value_of(library: str) -> object:
    """Runs it; what its last line gives."""
    program, names = ast.parse(library), dict[str, object]()
    last = program.body[-1]
    assert isinstance(last, ast.Expr)
    program.body[-1] = ast.copy_location(ast.Assign([ast.Name("value", ast.Store())], last.value), last)
    exec(compile(ast.fix_missing_locations(program), "README.md", "exec"), names)
    return names["value"]


def _has_store(running: RunningDeployment, site: str) -> bool:
    """Whether README's own worker has made it; no worker of this process is started."""
    try:
        open_store(running.deployment, site, "bank").close()
    except LookupError:
        return False
    return True


def test_the_example_configuration_loads(tmp_path: Path) -> None:
    """README's TOML is a configuration."""
    (example,) = blocks("toml")
    path = tmp_path / f"{uuid.uuid4().hex}.toml"
    path.write_text(example)
    assert set(Config.load(str(path)).sites) == {"tokyo", "osaka"}


def test_every_link_leads_somewhere() -> None:
    """Relative links of README, ARCHITECTURE and docs name files of this repository."""
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_is_there() -> None:
    """`make NAME` in the documents is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))):
        named = set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)$", page.read_text(), re.MULTILINE))
        assert {first or second for first, second in named} <= targets

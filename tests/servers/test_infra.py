"""infra/: what its files say is true of each other, of tidelog's own rules and of the documents."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.tidelog_image import source_copy
from tidelog.config import Config
from tidelog.producers.kafka_clients import REQUEST_SIZE
from tidelog.producers.kafka_topics import LOG_RULES, Topic, broken_rules
from tidelog.testing.container_images import KAFKA_IMAGE, REDIS_IMAGE
from tidelog.testing.kafka_settings import KAFKA_SETTINGS, image_environment
from tidelog.testing.stack import SITES, stack_toml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE = INFRA / "compose.yaml"
CONTAINERFILE = INFRA / "Containerfile"
PORTS = {"kafka": 9092, "tokyo": 6381, "osaka": 6382, "london": 6383}
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """compose.yaml as it stands, variables and all, less what has a profile (tests/servers/test_profiles.py)."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    found["services"] = {name: service for name, service in found["services"].items() if "profiles" not in service}
    return found


def by_default(text: str) -> str:
    """With no variable set."""
    return DEFAULT.sub(lambda found: found[2], text)


def redis_options(service: dict[str, Any]) -> dict[str, str]:
    words = service["command"]
    assert all(word.startswith("--") for word in words[::2])
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def test_the_services_are_a_kafka_and_a_redis_for_each_site(compose) -> None:
    """Each with a health check, a volume that is declared, and a restart."""
    assert set(compose["services"]) == {"kafka", *SITES}
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD-SHELL" and service["healthcheck"]["retries"] >= 10
        ((volume, place),) = (mount.split(":") for mount in service["volumes"])
        assert volume == name and volume in compose["volumes"]
        assert place == ("/data" if name in SITES else service["environment"]["KAFKA_LOG_DIRS"])


def test_every_image_is_a_variable_with_the_official_one_as_default(compose) -> None:
    """The variables are those of the tests' own containers, so one setting serves both."""
    for name, service in compose["services"].items():
        found = DEFAULT.fullmatch(service["image"])
        assert found is not None, service["image"]
        if name == "kafka":
            assert found.groups() == (KAFKA_IMAGE.variable, KAFKA_IMAGE.official)
        else:
            assert found[1] == REDIS_IMAGE.variable and re.fullmatch(r"(redis|valkey/valkey):\d+", found[2])


def test_ports_are_variables_published_on_loopback_only(compose) -> None:
    """And are those that the file's own comment and tidelog.toml name."""
    comment = COMPOSE.read_text().split("\nx-tidelog")[0]
    for name, service in compose["services"].items():
        (port,) = service["ports"]
        address, host, inside = by_default(port).split(":")
        assert DEFAULT.search(port)[1] == f"STACK_{name.upper()}_PORT"
        assert (address, int(host), int(inside)) == ("127.0.0.1", PORTS[name], 9092 if name == "kafka" else 6379)
        assert f"{host} ({name})" in comment or f"Kafka 127.0.0.1:{host}" in comment
        assert f"{name}:{9094 if name == 'kafka' else 6379}" in comment


def test_a_redis_never_evicts_and_keeps_a_log(compose) -> None:
    """Else a worker refuses it, or a crash takes more than its last second."""
    for site in SITES:
        options = redis_options(compose["services"][site])
        assert options["maxmemory-policy"] == "noeviction"
        assert (options["appendonly"], options["appendfsync"]) == ("yes", "everysec")
        assert "PONG" in compose["services"][site]["healthcheck"]["test"][1]


def test_kafka_is_one_kraft_node_whose_topics_keep_our_rules(compose) -> None:
    """A log's topic made there with the broker's defaults alone would break no rule."""
    environment = compose["services"]["kafka"]["environment"]
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].startswith(f"{environment['KAFKA_NODE_ID']}@localhost:")
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    defaults = {
        "retention.ms": environment["KAFKA_LOG_RETENTION_MS"],
        "retention.bytes": environment["KAFKA_LOG_RETENTION_BYTES"],
        "max.message.bytes": environment["KAFKA_MESSAGE_MAX_BYTES"],
    }
    assert broken_rules(Topic("t", "", 1, 1, LOG_RULES | defaults), LOG_RULES, 1) == []
    assert int(environment["KAFKA_REPLICA_FETCH_MAX_BYTES"]) >= REQUEST_SIZE
    ours = image_environment(KAFKA_SETTINGS)
    both = environment.keys() & ours.keys() - {
        "KAFKA_INTER_BROKER_LISTENER_NAME",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
    }
    assert {name: environment[name] for name in both} == {name: ours[name] for name in both} and len(both) >= 10


def test_kafkas_listeners_and_health_check_agree(compose) -> None:
    """Who comes from this machine is sent back to the published port, who comes from a container to the inner one."""
    service = compose["services"]["kafka"]
    environment = service["environment"]
    listeners = dict(part.split("://") for part in environment["KAFKA_LISTENERS"].split(","))
    assert listeners == {"HOST": ":9092", "CONTROLLER": ":9093", "INTERNAL": ":9094"}
    advertised = dict(part.split("://") for part in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["INTERNAL"] == "kafka:9094" and environment["KAFKA_INTER_BROKER_LISTENER_NAME"] == "INTERNAL"
    assert service["ports"] == [f"{advertised['HOST']}:9092"]
    assert set(listeners) == {
        pair.split(":")[0] for pair in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    }
    assert f":{9092:04X} " in service["healthcheck"]["test"][1]


def test_the_configuration_beside_it_names_the_same_sites_and_ports() -> None:
    """infra/tidelog.toml, and what `make up` writes."""
    config = Config.load(INFRA / "tidelog.toml", {})
    assert list(config.kafka.bootstrap_servers) == [f"127.0.0.1:{PORTS['kafka']}"]
    urls = {site: f"redis://127.0.0.1:{PORTS[site]}/0" for site in SITES}
    assert {name: site.redis.url for name, site in config.sites.items()} == urls and config.primary == "tokyo"
    written = tomllib.loads(stack_toml(f"127.0.0.1:{PORTS['kafka']}", urls))
    assert tomllib.loads((INFRA / "tidelog.toml").read_text()) == {"primary": "tokyo"} | written


def test_every_file_that_is_named_exists() -> None:
    """In the comments and steps of each file of infra/."""
    named = set()
    for path in INFRA.iterdir():
        if path.is_file():
            named |= set(re.findall(r"\b((?:infra|testing|docs|src)/[\w./-]*\w)", path.read_text()))
    assert {
        "infra/compose.yaml",
        "infra/Containerfile",
        "infra/tidelog.toml",
        "testing/images/build-images.sh",
    } <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert (INFRA / "Containerfile.dockerignore").exists()  # the name under which a build finds it


@pytest.mark.slow
def test_the_steps_of_the_containerfile_give_a_tidelog(tmp_path: Path) -> None:
    """COPY without what is ignored, RUN, and the entry point, carried out without an engine (with: test_image.py)."""
    text = CONTAINERFILE.read_text()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", text, re.MULTILINE)
    version = re.fullmatch(r"python:(\d+)\.(\d+)-slim", base)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert version is not None and tuple(map(int, version.groups())) >= least
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^USER \d+$", text, re.MULTILINE)

    source, target = source_copy(tmp_path / "source"), tmp_path / "tidelog"
    (step,) = re.findall(r"^RUN (python -m venv .*)$", text, re.MULTILINE)
    (extras,) = re.findall(r"/source\[([\w,]+)\]", step)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    here = step.replace("/opt/tidelog", str(target)).replace("/source", str(source))
    command = ["sh", "-ec", here.replace("python ", f"{sys.executable} ", 1)]
    # What is installed is run once or twice: to compile all of it takes longer.
    subprocess.run(command, env=os.environ | {"PIP_COMPILE": "false"}, check=True, capture_output=True)
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', text, re.MULTILINE)
    path = re.search(r"^ENV PATH=(\S+):\$PATH", text, re.MULTILINE)[1].replace("/opt/tidelog", str(target))
    done = subprocess.run([f"{path}/{entry}", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "site" in done.stdout
    where = subprocess.run(
        [f"{path}/python", "-c", "import tidelog.schemas.codec, tidelog.gateways.sqlite as s; print(s.__file__)"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(target))

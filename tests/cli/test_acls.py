"""`tidelog group create NAME --print-acls`: said without Kafka (tests/log/test_kafka_acls.py: on a real one)."""

import json
import shlex
from pathlib import Path

import pytest

from tidelog.gateways.cli import main

OPERATIONS = {"Read": "READ", "Write": "WRITE", "Create": "CREATE", "Delete": "DELETE", "Describe": "DESCRIBE"}
OPERATIONS |= {"DescribeConfigs": "DESCRIBE_CONFIGS"}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command, with two sites and a Kafka that is not there."""
    path = tmp_path / "tidelog.toml"
    path.write_text(
        'prefix = "shop"\n[kafka]\nbootstrap_servers = "127.0.0.1:1,127.0.0.1:2"\n'
        '[sites.tokyo.redis]\nurl = "redis://127.0.0.1:1"\n[sites.osaka.redis]\nurl = "redis://127.0.0.1:1"\n'
    )

    def command(*more: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["-c", str(path), "group", "create", "bank", *more])
        return code, *capsys.readouterr()

    return command


def parsed(line: str) -> set[tuple[str, ...]]:
    """What one command of kafka-acls.sh gives: (principal, operation, kind, name)."""
    words = shlex.split(line)
    assert words[:4] == ["kafka-acls.sh", "--bootstrap-server", "127.0.0.1:1,127.0.0.1:2", "--add"]
    options = [words[at : at + 2] for at in range(4, len(words), 2)]
    (principal,) = (one[1] for one in options if one[0] == "--allow-principal")
    if options[-1] == ["--cluster"]:
        kind, resource = "CLUSTER", "kafka-cluster"
    else:
        kind, resource = options[-1][0].removeprefix("--").upper(), options[-1][1]
    return {(principal, OPERATIONS[one[1]], kind, resource) for one in options if one[0] == "--operation"}


def test_the_commands_say_what_the_document_says(run) -> None:
    """Each ACL is in one command, and none else is."""
    code, out, err = run("--print-acls", "--json")
    listed = json.loads(out)
    assert code == 0 and listed["version"] == 1 and listed["group"] == "bank"
    wanted = {(one["principal"], one["operation"], one["resource_type"], one["resource"]) for one in listed["acls"]}
    assert len(wanted) == len(listed["acls"])
    code, out, err = run("--print-acls")
    assert code == 0 and "nothing was made" in err
    lines = out.splitlines()
    assert set().union(*(parsed(line) for line in lines if not line.startswith("#"))) == wanted
    heads = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    assert heads == ["writer", "site-tokyo", "site-osaka", "reader", "admin"]
    assert {one[3] for one in wanted if one[2] == "TOPIC"} == {"shop.bank", "shop-control", "shop-schemas"}
    assert {one[3] for one in wanted if one[2] == "GROUP"} == {"shop-tokyo", "shop-osaka"}


def test_the_topic_of_a_region_that_comes_back(run) -> None:
    """The same rights on the next incarnation's topic: those of the sealed one stay."""
    code, out, _ = run("--print-acls", "--json", "--incarnation", "2")
    assert code == 0
    first = {tuple(one.items()) for one in json.loads(run("--print-acls", "--json")[1])["acls"]}
    second = {tuple(one.items()) for one in json.loads(out)["acls"]}
    here = [dict(one) for one in second - first]
    assert {one["resource"] for one in here} == {"shop.bank.R2"}
    assert {tuple((one | {"resource": "shop.bank"}).items()) for one in here} == first - second
    assert run("--incarnation", "2")[0] == run("--print-acls", "--incarnation", "0")[0] == 2


def test_a_principal_can_be_named(run) -> None:
    """As certificates name them, with commas and blanks."""
    code, out, _ = run("--print-acls", "--json", "--principal", "writer=User:CN=the app,O=shop")
    assert code == 0
    named = {one["role"]: one["principal"] for one in json.loads(out)["acls"]}
    assert named["writer"] == "User:CN=the app,O=shop" and named["admin"] == "User:tidelog-admin"
    code, out, _ = run("--print-acls", "--principal", "writer=User:CN=the app,O=shop")
    assert code == 0 and any("User:CN=the app,O=shop" in shlex.split(line) for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--print-acls", "--principal", "boss=User:x"), "there is no role boss"),
        (("--print-acls", "--principal", "writer"), "names no principal"),
        (("--print-acls", "--principal", "writer=x"), "names no principal"),
        (("--principal", "writer=User:x"), "belong to --print-acls"),
    ],
)
def test_what_it_refuses(run, words: tuple[str, ...], said: str) -> None:
    """With exit code 2, before Kafka is asked."""
    code, out, err = run(*words)
    assert code == 2 and said in err and out == ""

"""Dashboards and rules ask only for metrics, labels and values that are in the list; `promtool` judges them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.metrics.promql import asked, family
from tests.tools import tool
from tidelog.gateways.cli.application import app
from tidelog.gateways.metrics.listed import (
    ALARMING,
    ALARMING_STATES,
    ELSEWHERE,
    LABEL_VALUES,
    METRICS,
    SITE_STATES,
    WRITER_STATES,
    Kind,
)

INFRA = Path(__file__).parents[2] / "infra"
RULES = INFRA / "prometheus" / "rules" / "tidelog.yaml"
RULE_TESTS = INFRA / "prometheus" / "tests" / "tidelog.yaml"
DASHBOARD = INFRA / "grafana" / "dashboards" / "tidelog.json"
LISTED = {metric.name: metric for metric in METRICS}
HISTOGRAMS = {metric.name for metric in METRICS if metric.kind is Kind.HISTOGRAM}
OF_SCRAPES = {"instance", "job"}  # labels that Prometheus itself gives


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def targets() -> list[tuple[str, str, str]]:
    """Title, expression and legend of each query."""
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    ]


def wrong_in(expression: str) -> list[str]:
    """What an expression asks for that there is not."""
    wrong = []
    found = asked(expression)
    for metric, matchers in found.metrics:
        if metric == "ALERTS":
            continue
        listed = LISTED.get(family(metric, HISTOGRAMS))
        if listed is None or (metric in HISTOGRAMS):
            wrong.append(metric)
            continue
        for label, operator, value in matchers:
            if label not in {*listed.labels, *OF_SCRAPES}:
                wrong.append(f"{metric} has no label {label}")
            elif label in LABEL_VALUES and operator in ("=", "=~"):
                wrong += [f"{label} is never {one}" for one in value.split("|") if one not in LABEL_VALUES[label]]
    labels = {
        label
        for metric, _ in found.metrics
        if (one := family(metric, HISTOGRAMS)) in LISTED
        for label in LISTED[one].labels
    }
    return wrong + [f"no label {label}" for label in found.grouped - labels - {"le"} - OF_SCRAPES]


def labels_of(expression: str) -> set[str]:
    """Labels that the result has at most."""
    named = [family(metric, HISTOGRAMS) for metric, _ in asked(expression).metrics]
    return {label for name in named if name in LISTED for label in LISTED[name].labels} | OF_SCRAPES


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """And says what is wrong, why, and which command helps, with labels that it has."""
    assert wrong_in(rule["expr"]) == []
    assert set(rule["annotations"]) == {"summary", "description", "command"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    for text in rule["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels_of(rule["expr"])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_names_a_command_that_there_is(rule: dict[str, Any]) -> None:
    """Down to its options."""
    program, *words = re.sub(r"{{.*?}}", "x", rule["annotations"]["command"]).split()
    assert program == "tidelog"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    assert len([word for word in words if word in ("x", "NAME")]) <= len(arguments) + words.count("--group")


def test_every_metric_that_says_something_is_wrong_is_in_a_rule() -> None:
    """By the list's own word, and nothing else is but what it is compared with: so that a new one is not forgotten."""
    ruled = {metric for rule in rules() for metric, _ in asked(rule["expr"]).metrics}
    compared = {"tidelog_site_rpo_objective_seconds", "tidelog_site_copy_rpo_objective_seconds"}
    assert ruled - compared == ALARMING and LISTED.keys() >= ALARMING
    wrong = {name for name in LISTED if re.search(r"_(seen|up|missing|differing|alarms|missed|state)$", name)}
    assert wrong <= ALARMING


def test_every_state_that_says_something_is_wrong_is_in_a_rule() -> None:
    """Each that is neither at work nor in order, of a site, a writer and a worker."""
    found: dict[str, set[str]] = {}
    for rule in rules():
        if "unless" in rule["expr"]:
            continue  # behind it stands what excuses
        for metric, matchers in asked(rule["expr"]).metrics:
            values = [value for label, _, value in matchers if label == "state"]
            found.setdefault(metric, set()).update(*(value.split("|") for value in values))
    assert {name: states for name, states in found.items() if states} == ALARMING_STATES
    well = {"STARTING", "REPLAYING", "STREAMING", "REBUILDING"}
    assert set(SITE_STATES) - ALARMING_STATES["tidelog_site_state"] == well
    in_order = {"none", "alive", "closed", "unknown", ELSEWHERE}
    assert set(WRITER_STATES) - ALARMING_STATES["tidelog_writer_state"] == in_order


@pytest.mark.parametrize("target", targets(), ids=lambda target: f"{target[0]}: {target[2]}")
def test_a_dashboard_asks_for_what_there_is(target: tuple[str, str, str]) -> None:
    """Each query, and the labels in its legend."""
    _, expression, legend = target
    assert wrong_in(expression) == []
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels_of(expression)


def test_the_dashboard_can_be_moved() -> None:
    """A fixed uid, a data source that is chosen, and variables whose queries name metrics that there are."""
    found = dashboard()
    assert found["uid"] == "tidelog"
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert set(variables) == {"datasource", "group", "site"}
    for panel in found["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    for name in ("group", "site"):
        (inside, label) = re.fullmatch(r"label_values\((.*), (\w+)\)", variables[name]["definition"]).groups()  # type: ignore[union-attr]
        assert wrong_in(inside) == [] and label == name and label in labels_of(inside)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in found["panels"]]
    assert len(set(places)) == len(places) and len({panel["id"] for panel in found["panels"]}) == len(places)


def test_a_query_for_what_there_is_not_is_noticed() -> None:
    """The rule itself has teeth."""
    assert wrong_in("tidelog_site_rpo > 1") == ["tidelog_site_rpo"]
    assert wrong_in('tidelog_site_state{volume="x"}') == ["tidelog_site_state has no label volume"]
    assert wrong_in('tidelog_site_state{state=~"HALTED|DEAD"}') == ["state is never DEAD"]
    assert wrong_in("sum by (volume) (tidelog_site_copies)") == ["no label volume"]
    assert wrong_in("rate(tidelog_worker_apply_duration_seconds[1m])") == ["tidelog_worker_apply_duration_seconds"]


def promtool(*arguments: str) -> str:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "SUCCESS" in said, said
    return said


def test_promtool_takes_the_rules() -> None:
    """Their syntax, and that of their templates."""
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


def test_every_rule_fires_when_it_is_to_and_not_else() -> None:
    """By `promtool test rules`; each alert has a case in which it fires."""
    promtool("test", "rules", str(RULE_TESTS))
    fires = {
        case["alertname"]
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fires == {rule["alert"] for rule in rules()}


def test_promtool_takes_the_dashboards_queries(tmp_path: Path) -> None:
    """As rules, with what Grafana would put in place of its variables."""
    recorded = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (_, expression, _) in enumerate(targets())
    ]
    written = tmp_path / "queries.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    promtool("check", "rules", str(written))

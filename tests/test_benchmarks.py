"""The benchmarks' own arithmetic and the form of their results; no servers, no timing."""

import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

import benchmarks.__main__
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.arithmetic import (
    Row,
    alternate,
    at_least,
    at_most,
    bounded,
    harmonic,
    paired,
    percentile,
    seconds_between,
    significant,
)
from benchmarks.child import Child, ChildError, await_word, in_child, tell
from benchmarks.load import Load
from benchmarks.report import print_rows, write_json
from benchmarks.servers import Bench, Servers
from tidelog.consumers.process_settings import SWITCH_INTERVAL, set_for_worker


def test_the_ratio_is_the_median_over_pairs_not_the_ratio_of_medians() -> None:
    row = paired("x", "MiB/s", [10, 20, 90], [10, 40, 30], at_least(1))
    assert row.ratios == (1, 0.5, 3)
    assert (row.value, row.limit, row.ratio, row.spread) == (20, 30, 1, 2.5)
    assert row.met


def test_a_goal_is_a_bound_with_a_direction() -> None:
    assert at_least(2).met(2) and not at_least(2).met(1.99)
    assert at_most(2).met(2) and not at_most(2).met(2.01)
    assert not at_least(0).met(math.nan) and not at_most(9).met(math.nan)
    assert (str(at_least(1.2)), str(at_most(1.012))) == (">= 1.2", "<= 1.012")


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError):
        paired("x", "s", [1, 2], [1], at_most(1))


def test_two_steps_one_after_the_other_take_the_time_of_both() -> None:
    assert harmonic(300, 300) == pytest.approx(150)
    assert harmonic(290, 300) < 290


def test_a_percentile_is_one_of_the_values() -> None:
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7], 99) == 7


def test_time_between_sequences_is_interpolated_between_samples() -> None:
    samples = [(0.0, 0), (1.0, 100), (3.0, 300)]
    assert seconds_between(samples, 100, 300) == pytest.approx(2)
    assert seconds_between(samples, 50, 200) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="301"):
        seconds_between(samples, 0, 301)


def test_sides_alternate_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = alternate({"a": lambda: side("a"), "b": lambda: side("b")}, 2)
    assert "".join(order) == "baabba"
    assert found == {"a": [3, 6], "b": [4, 5]}


def test_numbers_are_rounded_to_what_is_significant() -> None:
    assert [significant(value) for value in (123456.7, 0.00012345678, 0.0, 1.0)] == [123500, 0.0001235, 0.0, 1.0]


def test_a_load_is_the_same_wherever_it_is_made() -> None:
    load = Load(512, 300, volume_bytes=64 * 512)
    first, again = load.writes(), load.writes()
    assert first == again
    assert all(offset % 512 == 0 and 0 <= offset < load.volume_bytes for offset in first.offsets)
    assert {len(data) for data in first.data} == {512}
    assert Load(512, 300, volume_bytes=64 * 512, seed=2).writes() != first
    assert sorted(load.every_block().offsets) == list(range(0, load.volume_bytes, 512))


def test_results_are_a_list_of_objects_with_these_fields(tmp_path: Path) -> None:
    rows: list[Row] = [
        paired("apply", "MiB/s", [10, 20], [10, 10], at_least(1.2), "how"),
        bounded("memory", "MiB", [98], 150, at_most(1)),
    ]
    write_json(tmp_path / "results.json", rows)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [list(row) for row in found] == [["name", "value", "unit", "limit", "ratio", "spread", "goal", "met"]] * 2
    assert [(row["ratio"], row["met"]) for row in found] == [(1.5, True), (0.6533, True)]

    console = Console(width=140, record=True, file=(tmp_path / "table").open("w"))
    print_rows(console, rows)
    table = console.export_text()
    assert all(text in table for text in ("apply", ">= 1.2", "1 - 2", "one run", "apply: how"))


def test_an_unknown_benchmark_is_refused_before_servers_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "aply-4k"])
    complaint = capsys.readouterr().err
    assert all(name in complaint for name in BENCHMARKS)


def test_a_benchmark_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(bench: Bench) -> list[Row]:
        raise TimeoutError(f"on purpose, {bench.pairs} pairs")

    def works(bench: Bench) -> list[Row]:
        return [bounded("works", "s", [1.0] * bench.pairs, 2, at_most(1))]

    bench = Bench(Servers("nowhere", {}), "no servers", pairs=3)
    monkeypatch.setattr(benchmarks.__main__, "started", lambda *_: nullcontext(bench))
    monkeypatch.setattr(benchmarks.__main__, "BENCHMARKS", {"cut": fails, "flush": works})
    assert main(["--json", str(tmp_path / "results.json")]) == 1
    assert [row["name"] for row in json.loads((tmp_path / "results.json").read_text())] == ["works"]
    told = capsys.readouterr()
    assert "on purpose, 3 pairs" in told.err and "could not be carried out: cut" in told.err
    assert "no servers" in told.out


def _double(value: int) -> int:
    print("what a child prints does not disturb the channel")
    return 2 * value


def _as_worker() -> float:
    set_for_worker()
    return sys.getswitchinterval()


def _converse() -> str:
    tell("ready")
    return f"done with {await_word()}"


def _fail() -> None:
    raise ValueError("on purpose")


@pytest.mark.slow
def test_a_child_answers_speaks_and_fails_aloud() -> None:
    assert in_child(_double, 21) == 42
    with Child(_converse) as child:
        assert child.hear() == "ready"
        child.say("that")
        assert child.result() == "done with that"
    with pytest.raises(ChildError, match="on purpose"):
        in_child(_fail)


def test_the_worker_whose_rate_is_measured_has_a_workers_settings() -> None:
    before = sys.getswitchinterval()
    assert in_child(_as_worker) == pytest.approx(SWITCH_INTERVAL)
    assert sys.getswitchinterval() == before


def test_a_child_that_is_left_early_is_gone() -> None:
    with Child(_converse) as child:
        child.hear()
    assert not Path(f"/proc/{child.pid}").exists()

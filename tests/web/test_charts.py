"""The chart of throughput: what it is called, what it counts, and lines where its axis has the numbers."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.web.conftest import Page
from tests.web.scenes import SITES, Scene, config_of, eventually, scene
from tidelog.gateways.web.history import BUCKET_SECONDS, COLUMNS, Bucket
from tidelog.gateways.web.server import HttpServer

CHART = "#charts figure[data-key=rates]"
NAMES = ("log", *SITES)
# Events per second in each bucket of a minute, into the log; each site applies another part of them.
INTO_THE_LOG = (0.0, 40.0, 200.0, 400.0, 300.0, 60.0)
PARTS = dict(zip(SITES, (1.0, 0.5, 0.25), strict=True))
# Of each line in the order of the legend: its colour there and in the chart, width, path; none before it is drawn.
LINES = """
const style = (path) => getComputedStyle(path);
const found = (what) => [...document.querySelectorAll(`${arguments[0]} ${what}`)];
const swatches = found(".legend .swatch path").map((path) => style(path).stroke);
return found(".chart .line").map((path, index) => ({
  swatch: swatches[index],
  stroke: style(path).stroke,
  width: parseFloat(style(path).strokeWidth),
  high: path.getBoundingClientRect().height,
  path: path.getAttribute("d"),
}));
"""
TICKS = """
const ticks = document.querySelectorAll(`${arguments[0]} .tick[text-anchor=end]`);
return [...ticks].map((tick) => [tick.textContent, Number(tick.getAttribute("y"))]);
"""


@pytest.fixture
def bank() -> Iterator[Scene]:
    with scene(config_of()) as made:
        made.bank()
        yield made


@pytest.fixture
def busy(server: HttpServer) -> HttpServer:
    """A server that has seen a minute of those rates before its first look."""
    buckets = server.board.history.groups["bank"].buckets
    first = buckets[0].begins_s
    for ago, rate in enumerate(reversed(INTO_THE_LOG), 1):
        rest = (0.0,) * (len(COLUMNS) - 1)
        sites = {name: (part * rate, *rest) for name, part in PARTS.items()}
        buckets.appendleft(Bucket(first - ago * BUCKET_SECONDS, rate, sites))
    return server


def drawn(page: Page) -> list[dict[str, Any]]:
    return list(page.run(LINES, CHART))


def points(path: str) -> list[tuple[float, float]]:
    """Across and down, of the first minute."""
    found = re.findall(r"[ML]([\d.]+) ([\d.]+)", path)[: len(INTO_THE_LOG)]
    return [(float(across), float(down)) for across, down in found]


def test_throughput(page: Page, busy: HttpServer) -> None:
    """Its title, its unit, and the log and each site by name, with a number; as a sentence for who does not see it."""
    page.open(busy.url)
    page.says(CHART, "Throughput", "events per second", "into the log and applied")
    entries = page.all(f"{CHART} .legend li")
    assert len(entries) == len(NAMES)
    for name, entry in zip(NAMES, entries, strict=True):
        assert re.fullmatch(rf"{name} (–|[\d.,]+)/s", entry), entries
    label = page.run("return document.querySelector(arguments[0]).getAttribute('aria-label')", f"{CHART} .chart")
    said = ", ".join(rf"{name} (–|[\d.,]+)/s" for name in NAMES)
    assert re.fullmatch(rf"Events per second over the last hour\. {said}", label), label


def test_its_lines_are_where_the_axis_has_the_numbers(page: Page, busy: HttpServer) -> None:
    """A line of the log and of each site, in the colour that the legend has for it, each through its own rates."""
    page.open(busy.url)
    eventually(lambda: len(drawn(page)) == len(NAMES), "a line of the log and of each site")
    ticks = page.run(TICKS, CHART)
    (zero, bottom), (highest, top) = ticks[0], ticks[-1]
    assert zero == "0" and float(highest) >= max(INTO_THE_LOG) and bottom > top + 50
    lines = drawn(page)
    assert len({line["stroke"] for line in lines}) == len(NAMES)
    for line, part in zip(lines, (1.0, *PARTS.values()), strict=True):
        assert line["stroke"] == line["swatch"] != "none" and line["width"] > 0 and line["high"] > 10
        there = points(line["path"])
        across = [after - before for (before, _), (after, _) in pairwise(there)]
        assert across == pytest.approx([across[0]] * (len(INTO_THE_LOG) - 1), abs=0.2) and across[0] > 0
        wanted = [bottom - 4 - (bottom - top) * part * rate / float(highest) for rate in INTO_THE_LOG]
        assert [down for _, down in there] == pytest.approx(wanted, abs=0.2)
    assert page.complaints() == []

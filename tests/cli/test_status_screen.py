"""What `tidelog status` shows in any width: nothing cut off, nothing wrapped into nonsense."""

import re

import pytest
from rich.console import Console
from rich.text import Text

from tests.cli.conftest import SITES, TOML
from tidelog.consumers.access import open_group
from tidelog.gateways.cli.status_screen import COLUMNS, StatusScreen
from tidelog.gateways.standing.observer import Observer
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import SiteRates, rates_key
from tidelog.testing.readiness import wait_until


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML + '[groups.bank]\nrpo = "5m"\ncopy_rpo = "1h"\n')
    return path


@pytest.fixture
def observed(bank, deployment):  # noqa: ARG001
    """A group with a copy, and sites that are well."""
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        group.mark("nightly").wait(timeout=60)
        group.flush(applied_at=3)
    found = []
    with Observer(deployment) as observer:

        def well():
            found[:] = observer.observe()
            told = all(exposed.not_copied is not None for exposed in found[0].exposures.values())
            return told and all(site.state == "STREAMING" for site in found[0].standing.sites)

        assert wait_until(well, timeout_s=60), found
    return found


def drawn(observed, width):
    """The lines, as a terminal of that width has them."""
    console = Console(width=width, color_system=None, force_terminal=False, file=None)
    with console.capture() as captured:
        console.print(StatusScreen(observed, Text("seen now")))
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def table_of(lines):
    """The rows of the table, by column; none if there is no table."""
    heads = [line for line in lines if line.startswith("site ")]
    if not heads:
        return None
    names = re.split(r" {2,}", heads[0].strip())
    rows = [re.split(r" {2,}", line.strip()) for line in lines if re.match(rf"({'|'.join(SITES)}) ", line)]
    assert len(rows) == len(SITES) and all(len(row) == len(names) for row in rows), rows
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_a_wide_screen_has_every_column(observed):
    """As on a pipe."""
    rows = table_of(drawn(observed, 1000))
    assert rows is not None and tuple(rows[0]) == COLUMNS
    for row in rows:
        assert row["RPO"].endswith(" of 5 min") and row["in no copy"].endswith(" of 60 min")
        assert re.fullmatch(r"\d+\.\d s old, equal", row["newest copy"]) and row["ETA"] == "0.0 s"
        assert row["data/s"].endswith("/s") and re.fullmatch(r"[\d,.]+", row["events/s"])


@pytest.mark.parametrize("width", [200, 160, 150, 140])
def test_a_narrower_one_has_fewer_and_no_row_is_wrapped(observed, width):
    """Those that are left out are the ones that are missed least."""
    rows = table_of(drawn(observed, width))
    assert rows is not None and set(COLUMNS) - set(rows[0]) <= {"worker", "applied", "reported"}


@pytest.mark.parametrize("width", [120, 100, 80])
def test_a_narrow_one_has_site_by_site(observed, width):
    """Each site in lines of its own, none of them wrapped."""
    lines = drawn(observed, width)
    assert table_of(lines) is None
    for site in SITES:
        (at,) = [number for number, line in enumerate(lines) if line.startswith(f"{site}  STREAMING  at ")]
        rpo, copies, rates = lines[at + 1 : at + 4]
        assert re.fullmatch(r"  RPO \S+ s of 5 min: \S+ s not in log, \S+ s not applied", rpo)
        assert re.fullmatch(r"  \S+ s of 60 min in no copy; newest copy \S+ s old, equal", copies)
        assert re.fullmatch(r"  [\d,.]+ events/s, \S+ \S+/s", rates)


@pytest.mark.parametrize("width", [60, 40, 20])
def test_even_then_words_stay_whole(observed, width):
    """Lines are broken between words, however few there is room for."""
    words = " ".join(drawn(observed, width)).split()
    assert {"STREAMING", "events/s,", "behind,"} <= set(words)


def test_what_is_in_the_way_is_said_in_every_width(observed, bank, deployment):
    """The last error with its hint, and how long a site that catches up needs."""
    assert observed
    deployment.cluster.log(deployment.cluster.find_group("bank")).appender().send(b"no event", lambda *_: None)
    assert wait_until(lambda: bank("status").text.count("HALTED") == 3, timeout_s=60)
    with Observer(deployment) as observer:
        found = observer.observe()
    for width in (80, 120, 1000):
        text = " ".join(" ".join(drawn(found, width)).split())
        assert text.count("CorruptEvent: ") == 3 and text.count("hint: ") == 3


def test_the_time_to_go_is_shown_while_a_site_catches_up(observed, sites, deployment):
    """And not when it is there."""
    assert not any("at the end in" in line for line in drawn(observed, 80))
    sites.stop_site("london")
    control = deployment.cluster.control
    view = control.snapshot()
    last, told = view[status_key("bank", "london")], view[rates_key("bank", "london")]
    assert isinstance(last, SiteStatus) and isinstance(told, SiteRates)
    moving = {"state": "REPLAYING", "end_offset": last.offset + 1 + 600}
    control.publish(
        told.model_copy(update={"window_us": 10_000_000, "events": 1000, "bytes": 10 << 20, "closing": 100})
    )
    control.publish(last.model_copy(update=moving | {"reported_us": last.reported_us + 3_000_000}))
    with Observer(deployment) as observer:
        found = observer.observe()
    lines = drawn(found, 80)
    assert "  100 events/s, 1 MiB/s, at the end in 60 s" in lines
    (row,) = [row for row in table_of(drawn(found, 1000)) or () if row["site"] == "london"]
    assert (row["state"], row["events/s"], row["data/s"], row["ETA"]) == ("REPLAYING", "100", "1 MiB/s", "60 s")

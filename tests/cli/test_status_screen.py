"""What `tidelog status` shows in any width: nothing cut off, nothing wrapped into nonsense."""

import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from tests.cli.conftest import SITES, TOML, killed_writer
from tidelog.clock import wall_us
from tidelog.consumers.access import open_group
from tidelog.gateways.cli.status_screen import COLUMNS, WORST_FIRST, StatusScreen
from tidelog.gateways.standing.observer import Observer
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import SiteRates, rates_key
from tidelog.testing.readiness import wait_until

PAGE = Path(__file__).parents[2] / "gateways" / "web" / "page"


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


def drawn(observed, width, height=None):
    """The lines, as a terminal of that width has them; with a height those that it shows at once."""
    console = Console(width=width, height=height, color_system=None, force_terminal=False, file=None)
    with console.capture() as captured:
        console.print(StatusScreen(observed, Text("seen now"), fitted=height is not None))
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


HIDDEN = re.compile(r"((\d+) groups? and )?(\d+) lines? (is|are) hidden: see a group alone with --group")


@pytest.fixture
def several(observed, bank, deployment):
    """Three groups, the last by name with a site that has halted, the one before with a writer that is gone."""
    assert observed
    for name in ("orders", "stock"):
        assert bank("group", "create", name).code == 0
    log = deployment.cluster.log(deployment.cluster.find_group("stock"))
    log.appender().send(b"this is no event", lambda *_: None)
    killed_writer(deployment, "orders")
    found = []
    with Observer(deployment) as observer:

        def there():
            found[:] = observer.observe()
            states = [site.state for group in found[:2] for site in group.standing.sites]
            halted = all(site.state == "HALTED" for site in found[2].standing.sites)
            return halted and set(states) == {"STREAMING"} and found[1].writer_is_gone

        assert wait_until(there, timeout_s=60), found
    return found


def test_more_than_a_screen_has_a_line_of_each_group_and_says_what_is_hidden(several):
    """The worst first, with as many of its lines below as there is room for."""
    lines = drawn(several, 80, 24)
    assert len(lines) == 24 and lines[0] == "seen now"
    standings = (
        r"stock  HALTED at 3 sites, RPO \S+ s; CorruptEvent: .*…",
        r"orders  STREAMING at 3 sites, RPO \S+ s; no word from the writer for \S+ s",
        r"bank  STREAMING at 3 sites, RPO \S+ s",
    )
    for line, pattern in zip(lines[1:4], standings, strict=True):
        assert re.fullmatch(pattern, line), lines
    assert lines[4].startswith("group stock  ")
    found = HIDDEN.fullmatch(lines[-1])
    assert found and found[2] is None
    whole = [line for line in drawn(several, 80)[1:] if line]
    shown = [line for line in lines[4:-1] if line]
    assert int(found[3]) == len(whole) - len(shown) and set(shown) <= set(whole)


def test_a_screen_that_is_smaller_still_hides_whole_groups_and_counts_them(several):
    """Those that are well go first."""
    lines = drawn(several, 80, 4)
    assert [line.split("  ")[0] for line in lines[:3]] == ["seen now", "stock", "orders"]
    found = HIDDEN.fullmatch(lines[3])
    assert found and found[2] == "1" and int(found[3]) == len([line for line in drawn(several, 80)[1:] if line])


def test_what_has_room_is_shown_whole(several):
    """In the order of the names, without a line that says it again."""
    whole = drawn(several, 80)
    while not whole[-1]:
        whole.pop()
    assert drawn(several, 80, len(whole)) == whole
    assert HIDDEN.fullmatch(drawn(several, 80, len(whole) - 1)[-1])


def test_a_line_of_a_group_says_nothing_twice(observed, bank, sites, deployment):
    """A site's state stands before its reason; another site's comes with its name."""
    assert observed and bank
    control = deployment.cluster.control
    sites.stop_site("osaka")
    last = control.snapshot()[status_key("bank", "osaka")]
    waits = {"state": "WAITING", "reason": "StoreUnavailable: nobody answers", "reported_us": wall_us() + 60_000_000}
    control.publish(last.model_copy(update=waits))
    assert re.fullmatch(r"bank  WAITING at osaka, RPO \S+ s; StoreUnavailable: nobody answers", line_of(deployment))
    sites.stop_site("tokyo")
    last = control.snapshot()[status_key("bank", "tokyo")]
    control.publish(last.model_copy(update=waits | {"state": "HALTED", "reason": "LogGap: gone"}))
    assert re.fullmatch(r"bank  HALTED at tokyo, RPO \S+( s)?; LogGap: gone", line_of(deployment))
    control.publish(last)  # STOPPED, which is worse than to wait, and has no reason
    line = line_of(deployment)
    others = r"(; osaka is WAITING \(StoreUnavailable: nobody answers\))?"
    assert re.fullmatch(r"bank  STOPPED at tokyo, RPO \S+ s" + others, line), line


def test_what_a_site_says_of_several_groups_is_said_once(observed, bank, sites, deployment):
    """Its Redis is that of all of them; what it says of one group stands with that one."""
    assert observed
    for name in ("orders", "stock"):
        assert bank("group", "create", name).code == 0
        sites.wait_for_store("osaka", name)
    sites.stop_site("osaka")
    control = deployment.cluster.control
    for name in ("bank", "orders", "stock"):
        last = control.snapshot()[status_key(name, "osaka")]
        reason = f"StoreUnavailable: nobody answers (group {name})" if name != "stock" else "LogUnavailable: no leader"
        told = {"state": "STARTING", "reason": reason, "hint": "is it up?", "reported_us": wall_us() + 60_000_000}
        control.publish(last.model_copy(update=told))
    with Observer(deployment) as observer:
        lines = drawn(observer.observe(), 120)
    at = lines.index("osaka: StoreUnavailable: nobody answers (groups bank, orders)")
    assert lines[at + 1] == "  hint: is it up?" and at < lines.index(next(filter(is_heading, lines)))
    assert "\n".join(lines).count("nobody answers") == 1 and lines.count("  hint: is it up?") == 2
    headings = [number for number, line in enumerate(lines) if is_heading(line)]
    assert lines.index("osaka: LogUnavailable: no leader") > headings[-1]


def is_heading(line):
    return line.startswith("group ")


def line_of(deployment):
    """Of the group `bank`, on a screen without room for more."""
    with Observer(deployment) as observer:
        (line,) = [line for line in drawn(observer.observe(), 120, 4) if line.startswith("bank  ")]
    return line


@pytest.mark.parametrize(("width", "height"), [(20, 5), (20, 2), (20, 1), (12, 4)])
def test_a_terminal_that_is_too_low_for_its_heading_shows_a_part_of_it(several, width, height):
    """And, if there is a second line, that something is hidden."""
    console = Console(width=width, height=height, color_system=None, force_terminal=False, file=None)
    heading = Text("seen at 2026-11-26T18:00:00.000000Z, each 1 s; Ctrl-C ends, and more that has no room at all")
    with console.capture() as captured:
        console.print(StatusScreen(several, heading, fitted=True))
    lines = captured.get().splitlines()
    assert len(lines) == height and lines[0].startswith("seen at")
    assert height == 1 or "group" in lines[-1]


def test_the_page_has_the_same_order_of_states():
    """Which it lists by itself; there whatever is not in the list comes last, as a site that is well does here."""
    (listed,) = re.findall(r"^const RANK = \[(.*)\];$", (PAGE / "overview.js").read_text(), re.MULTILINE)
    assert (*re.findall(r'"(\w+)"', listed), "STREAMING") == WORST_FIRST

"""The status page is for everybody: contrast, small windows, the keyboard, and those who hear it or dislike motion."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.web.conftest import Page
from tests.web.scenes import SITES, Scene, config_of, eventually, scene, served
from tidelog.gateways.web import history
from tidelog.gateways.web.server import HttpServer
from tidelog.schemas.control import CopyFormed

READING = (Path(__file__).parent / "reading.js").read_text()
CONTRAST = 4.5
COPIES = 200
GROUPS = ("accounts", "bank", "billing", "catalogue", "documents", "identity", "inventory", "mail")
GROUPS += ("orders", "payments", "search", "a-group-of-the-longest-name-that-there-may-be-" + "x" * 17)

Shoot = Callable[[str], None]


def crowd(made: Scene) -> None:
    """Twelve groups at three sites with two hundred copies each, as the control topic tells of them."""
    for name in GROUPS:
        made.deployment.cluster.create_group(name)
        for number in range(COPIES):
            seal = number.to_bytes(16)
            for site in SITES:
                digest = bytes(16) if (name, number, site) == ("mail", 150, "osaka") else seal
                made.control.publish(receipt(name, site, number, seal, digest))


def receipt(group: str, site: str, number: int, seal: bytes, digest: bytes) -> CopyFormed:
    """A site has formed a copy."""
    return CopyFormed(
        site=site,
        group=group,
        name=f"auto-{number:03}",
        sequence=10 * number + 10,
        seal=seal,
        timestamp_us=1_795_000_000_000_000 + number * 1_000_000,
        digest=digest,
        blocks_changed=7,
        formed_us=1_795_000_000_000_000 + number * 1_000_000,
    )


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """A group of which something of everything is wrong; a moment of its history is a second."""
    monkeypatch.setattr(history, "BUCKET_SECONDS", 1)
    with scene(config_of(groups={"bank": {"rpo": "1ms", "copy_rpo": "1ms"}})) as made:
        group = made.bank()
        group.keep_copy("monday")
        made.lose_store("osaka")
        made.silence("london")
        made.lie("london")
        group.mark("tuesday")
        with served(made) as server:
            eventually(lambda: len(server.board.observed[0].standing.copies) == 2, "both copies are seen")
            yield server


@pytest.fixture
def crowded() -> Iterator[tuple[Scene, HttpServer]]:
    with scene(config_of(http={"interval": "1s"})) as made:
        crowd(made)
        with served(made) as server:
            yield made, server


def hard_to_read(page: Page) -> list[dict[str, Any]]:
    """Texts of too little contrast."""
    page.run(READING)
    found = page.run("return window.hardToRead(arguments[0])", CONTRAST)
    assert found["count"] > 20, "the page is not there"
    return list(found["low"])


def test_the_measure_of_contrast(page: Page, troubled: HttpServer) -> None:
    """Known values: black on white is 21, and what is too faint is found, also by an opacity around it."""
    page.open(troubled.url)
    page.says("#headline", "osaka")
    page.run(READING)
    script = """
        document.body.innerText = ""; document.body.style.background = "#fff"; const made = document.createElement("p");
        made.textContent = "x"; Object.assign(made.style, arguments[0]); document.body.append(made);
        return window.hardToRead(arguments[1]).low.map((one) => Number(one.ratio))"""
    assert page.run(script, {"color": "#000"}, 22) == [21]
    assert page.run(script, {"color": "#777"}, 22) == [4.48]
    assert page.run(script, {"color": "#767676"}, CONTRAST) == []
    assert page.run(script, {"color": "#000", "opacity": "0.5"}, 22)[0] < 4
    assert page.run(script, {"color": "#777", "background": "#777"}, 22) == [1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(page: Page, troubled: HttpServer, theme: str, shoot: Shoot) -> None:
    """4.5:1 or more: alarms, halts, charts, copies that differ; and the old picture while the server is away."""
    page.open(troubled.url, theme=theme)
    page.says("#headline", "osaka needs a rebuild")
    page.says("#copies", "differs", "emptied")
    page.says("#alarms", "Alarm", "objectives are missed")
    eventually(lambda: len(page.all("#charts figure")) == 1 + len(SITES), "the charts")
    assert hard_to_read(page) == []
    page.looks(400, theme)
    assert hard_to_read(page) == []
    shoot(f"troubled-400-{theme}")
    troubled.stop()
    page.says("#banners", "No connection")
    assert hard_to_read(page) == []
    page.looks(1280, theme)
    shoot(f"old-1280-{theme}")


def test_nothing_sticks_out(page: Page, crowded: tuple[Scene, HttpServer], shoot: Shoot) -> None:
    """Twelve groups with two hundred copies each: no window is scrolled sideways, and every copy can be shown."""
    _, server = crowded
    page.open(f"{server.url}#mail", width=400, theme="dark")
    page.says("#groups", *GROUPS[:3], "1 alarm")
    page.says("#alarms", "differs")
    page.says("#copies", f"{COPIES} copies: {COPIES - 1} equal, 1 differs", "auto-199")
    assert page.text("#group-name") == "mail" and len(page.all("#copies tbody tr")) == 12
    page.click("[data-action=all-copies]")
    eventually(lambda: len(page.all("#copies tbody tr")) == COPIES, "all copies")
    page.run("location.hash = arguments[0]", GROUPS[-1])
    page.says("#group-name", GROUPS[-1])
    page.says("#copies", f"{COPIES} equal")
    page.run(READING)
    fits = "return [document.documentElement.scrollWidth <= arguments[0], window.sticksOut()]"
    for width in (400, 800, 1280):
        page.looks(width, "dark")
        eventually(lambda width=width: page.run(fits, width) == [True, []], f"all fits into {width}")
        assert hard_to_read(page) == []
        shoot(f"crowd-{width}")
    assert page.complaints() == []


def tabs(page: Page, count: int) -> list[str]:
    """Where the keyboard stops on its way through the page; each stop must be seen."""
    script = """
        const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
        return {name: at.id || at.getAttribute("aria-label") || at.innerText.trim(), tag: at.tagName,
                seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.right > 0}
    """
    stops = []
    for _ in range(count):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        stop = page.run(script)
        if stop["tag"] == "BODY":
            break
        assert stop["seen"], stop
        stops.append(stop["name"])
    return stops


def test_by_keyboard(page: Page, troubled: HttpServer) -> None:
    """Every control, in the order in which it is seen, with a visible focus that stays while the page goes on."""
    page.open(troubled.url)
    page.says("#headline", "osaka needs a rebuild")
    page.says("#moment-text", "now")
    before = page.text("#looked")
    assert tabs(page, 20) == [
        "Skip to the status",
        "theme",
        "Copy: tidelog pitc verify monday -g bank --site tokyo --against london",
        "Copy: tidelog site rebuild osaka --group bank",
        "Copy: tidelog site run london",
        "moment",
        "status",
        "history",
        "readiness",
    ]
    page.run("document.querySelector('.copy').focus()")
    eventually(lambda: page.text("#looked") != before, "it was drawn again")
    assert page.run("return document.activeElement.className") == "copy"
    page.run("document.querySelector('.skip').focus()")
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    eventually(lambda: page.run("return document.activeElement.id") == "main", "the skip leads to the status")


def test_the_last_hour_by_keyboard(page: Page, troubled: HttpServer) -> None:
    """The arrow keys go through the moments, all charts at once; the newest is `now`."""
    page.open(troubled.url)
    page.says("#moment-text", "now")
    eventually(lambda: len(troubled.board.history.groups["bank"].buckets) >= 2, "two moments")
    eventually(lambda: page.run("return document.querySelector('#moment').max") != "", "a range")
    page.run("document.querySelector('#moment').focus()")
    ActionChains(page.driver).send_keys(Keys.ARROW_LEFT).perform()
    eventually(lambda: ":" in page.text("#moment-text"), "a moment ago")
    assert page.run("return document.querySelectorAll('.chart .cursor').length") == 1 + len(SITES)
    ActionChains(page.driver).send_keys(Keys.END).perform()
    eventually(lambda: page.text("#moment-text") == "now", "now")


def test_for_those_who_hear_it(page: Page, crowded: tuple[Scene, HttpServer]) -> None:
    """Landmarks, one heading of each page, named tables with headers, and pictures that say what they show."""
    _, server = crowded
    page.open(server.url, width=400)
    page.says("#copies", "auto-199")
    page.says("#moment-text", "now")
    count = "return document.querySelectorAll(arguments[0]).length"
    for selector in (
        "html[lang=en]",
        "header.bar",
        "main",
        "nav[aria-label]",
        "footer",
        "h1",
        "#announce[aria-live=polite]",
    ):
        assert page.run(count, selector) == 1, selector
    assert page.run(count, "table") == page.run(count, "table > caption") == 2
    assert page.run(count, "thead th:not([scope=col])") == page.run(count, "tbody th:not([scope=row])") == 0
    # A table that is drawn as cards in a small window stays a table to those who hear it.
    assert page.run(count, ".catalogue [role=rowheader]") == page.run(count, ".catalogue tbody tr") == 12
    assert page.run(count, "svg:not([aria-hidden=true]):not([role=img][aria-label])") == 0
    assert page.run(count, "img:not([alt])") == page.run(count, "input:not([type=range])") == 0
    assert page.run("return document.querySelector('#moment').labels.length") == 1
    names = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {node["role"]["value"] for node in names if not node.get("ignored")}
    assert {"banner", "main", "navigation", "contentinfo", "table", "rowheader", "slider", "heading"} <= roles


def test_motion_and_theme(page: Page, troubled: HttpServer) -> None:
    """What flows stands still for those who want that; the theme is the system's until another is chosen, and kept."""
    page.open(troubled.url, theme="dark")
    page.says("#headline", "osaka")
    ground = "return getComputedStyle(document.body).backgroundColor"
    dark = page.run(ground)
    page.looks(theme="light")
    light = page.run(ground)
    assert light != dark
    for chosen, shown in (("light", light), ("dark", dark)):
        page.click("#theme")
        assert page.text("#theme") == f"Theme: {chosen}" and page.run(ground) == shown
    page.driver.refresh()
    page.says("#theme", "Theme: dark")
    assert page.run(ground) == dark
    page.click("#theme")
    assert page.text("#theme") == "Theme: auto" and page.run(ground) == light
    moving = """return [...document.querySelectorAll('*')]
        .filter((one) => getComputedStyle(one).animationName !== 'none').length"""
    page.says(".branches", "tokyo")
    eventually(lambda: page.run(moving) > 0, "something flows")
    page.looks(motion="reduce")
    assert page.run(moving) == 0


def test_status_of_sites_is_not_by_colour_alone(page: Page, troubled: HttpServer) -> None:
    """Three states, three words, three shapes."""
    page.open(troubled.url)
    page.says(".branches", "streaming", "needs a rebuild", "silent")
    shapes = page.run(
        "return [...document.querySelectorAll('.branch .badge svg')].map((one) => one.getAttribute('class'))"
    )
    assert len(set(shapes)) == len(SITES)

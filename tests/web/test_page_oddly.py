"""The page with names that are words of its language, addresses that somebody has typed, little room, long looks."""

from collections.abc import Callable

import pytest

from tests.web.conftest import Page
from tests.web.scenes import SITES, config_of, eventually, scene, served

# How many lines the words take that end what is there.
LINES = """
const range = document.createRange();
range.selectNodeContents(document.querySelector(arguments[0]).lastChild);
return range.getClientRects().length;
"""


def test_a_group_with_the_name_of_what_every_object_has(page: Page) -> None:
    """Its charts and copies are there, as any other group's; so is the way to its history for programs."""
    with scene(config_of()) as made:
        made.bank("constructor")
        with served(made) as server:
            page.open(server.url)
            page.says("#headline", "All is well")
            page.says("#copies", "1 copy: 1 equal", "monday")
            eventually(lambda: len(page.all("#charts figure")) == 1 + len(SITES), "a chart of each site")
            page.says(".foot", "the last hour of this group")
            assert page.run("return document.querySelector('#history').href").endswith("/history?group=constructor")
            assert page.complaints() == []


@pytest.mark.parametrize("typed", ["#%", "#%E0%A4%A", "#nowhere", "#__proto__"])
def test_an_address_that_somebody_has_typed(page: Page, typed: str) -> None:
    """The first group is shown."""
    with scene(config_of()) as made:
        made.deployment.cluster.create_group("bank")
        with served(made) as server:
            page.open(server.url + typed)
            page.says("#group-name", "bank")
            page.says("#copies", "copy")
            assert page.complaints() == []


def test_the_bar_in_a_small_window(page: Page, shoot: Callable[[str], None]) -> None:
    """400 pixels, where one logs in, while the picture is old: no word is broken, and nothing sticks out."""
    with scene(config_of()) as made:
        made.deployment.cluster.create_group("bank")
        with served(made) as server:
            page.open(server.url, width=400)
            page.says("#group-name", "bank")
        page.says("#looked", "old", "picture of")
        page.run("document.querySelector('#logout').hidden = false")
        shoot("bar-400-old")
        assert [page.run(LINES, one) for one in (".brand", ".badge-old", "#theme", "#logout button")] == [1, 1, 1, 1]
        assert page.run("return document.documentElement.scrollWidth") <= 400


def test_a_look_that_takes_long(page: Page) -> None:
    """Said, and what is shown is not called old, nor Kafka away."""
    with scene(config_of()) as made:
        made.deployment.cluster.create_group("bank")
        with served(made) as server:
            page.open(server.url)
            page.says("#group-name", "bank")
            server.board.patience = 2.0
            _, ended = made.look_long(server)
            page.says("#banners", "A look takes long", "Kafka answers", "What is shown below is of")
            assert "old" not in page.text("#looked") and "Kafka" not in page.text("#headline")
            ended.set()
            page.falls_silent("#banners")
            assert page.complaints() == []

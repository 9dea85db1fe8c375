"""The status page in a browser: what it shows, and that it follows without being loaded again."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.web.conftest import Page
from tests.web.scenes import SITES, Client, Scene, config_of, eventually, scene, served
from tests.web.test_access import TOKEN
from tidelog.clock import wall_us
from tidelog.errors import StoreUnavailable
from tidelog.gateways.cli import main
from tidelog.gateways.web.server import HttpServer
from tidelog.gateways.web.serving import serving
from tidelog.schemas.mirrors import LogMirrored

Shoot = Callable[[str], None]


@pytest.fixture
def bank() -> Iterator[Scene]:
    with scene(config_of(groups={"bank": {"rpo": "1h", "copy_rpo": "2h"}})) as made:
        made.bank()
        yield made


def never_loaded_again(page: Page) -> Callable[[], bool]:
    """Whether it is still the page that was there when this was called."""
    page.run("window.same = true")
    return lambda: page.run("return window.same === true") is True


def site(page: Page, name: str) -> str:
    """What the picture says of a site."""
    return next((text for text in page.all(".branch") if f" {name} " in f" {text} "), "")


def test_what_it_shows(page: Page, server: HttpServer, shoot: Shoot) -> None:
    """One sentence, the flow, the last hour, every copy; each state as a word and a shape."""
    page.open(server.url)
    page.says("#headline", "All is well", "1 group at 3 sites, 1 copy")
    assert page.text("#alarms") == page.text("#help") == page.text("#groups") == ""
    for name in SITES:
        eventually(lambda name=name: "streaming" in site(page, name), f"the state of {name}")
        assert "RPO" in site(page, name) and "of 60 min" in site(page, name)
    assert "primary" in site(page, "tokyo") and "primary" not in site(page, "osaka")
    eventually(lambda: len(page.all(".branch .badge .shape-disc")) == len(SITES), "three shapes")
    page.says(".writer", "writing", "not in the log")
    page.says(".log", "sequence")
    assert page.run("return document.querySelectorAll('.wires .wire').length") == 1 + len(SITES)
    page.says("#copies", "1 copy: 1 equal", "monday")
    digests = page.all("#copies code")
    assert len(digests) == len(SITES) and len(set(digests)) == 1 and len(digests[0]) == 12
    eventually(lambda: len(page.all("#charts figure")) == 1 + len(SITES), "a chart of each site")
    legend = page.text("#charts figure:nth-of-type(2)")
    for part in ("not in the log", "not applied", "not in a copy", "RPO objective 60 min", "copy RPO objective 2 h"):
        assert part in legend
    assert "RPO of tokyo over the last hour. not in the log 0 s" in page.run(
        "return document.querySelectorAll('.chart')[1].getAttribute('aria-label')"
    )
    assert page.complaints() == []
    shoot("well")


def test_a_site_halts_while_the_page_is_open(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """Reason, hint and command appear by themselves, are announced, and the command can be copied."""
    page.open(server.url)
    page.says("#headline", "All is well")
    same = never_loaded_again(page)
    bank.halt()
    page.says("#headline", "3 sites wait for an operator")
    shown = page.says("#help", "tokyo, osaka, london", "halted", "CorruptEvent")
    assert "tidelog site status osaka --group bank" in shown
    page.says("#announce", "3 sites wait for an operator")
    assert page.run("return document.querySelector('#announce').getAttribute('aria-live')") == "polite"
    assert all("halted" in site(page, name) and "no flow" in site(page, name) for name in SITES)
    assert len(page.all(".branch .badge .shape-octagon")) == len(SITES)
    origin = {"origin": server.url.rstrip("/"), "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.driver.execute_cdp_cmd("Browser.grantPermissions", origin)
    page.click("#help [data-action=copy]")
    page.says("#help [data-action=copy]", "Copied")
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == "tidelog site status tokyo --group bank"
    assert "halted" in page.driver.title or "operator" in page.driver.title
    assert same() and page.complaints() == []
    shoot("halted")


def test_a_site_whose_redis_is_away_is_said_once_for_all_its_groups(
    page: Page, server: HttpServer, bank: Scene, shoot: Shoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One card with the groups, the reason and one command, which is for all of them; another site has its own."""
    bank.bank("cash")
    bank.bank("orders")
    page.open(server.url)
    page.says("#headline", "All is well")
    real = bank.deployment.keyspace

    def down(site: str, group: str) -> object:
        if site == "osaka":
            raise StoreUnavailable("Redis does not answer in time", hint="is it overloaded, or stopped?")
        return real(site, group)

    bank.running.stop_site("osaka")
    monkeypatch.setattr(bank.deployment, "keyspace", down)
    bank.running.site("osaka")
    page.says("#help", "osaka groups bank, cash, orders waiting StoreUnavailable: Redis does not answer in time")
    (card,) = page.all("#help .hand")
    assert card.count("does not answer") == 1 and "(group" not in card
    assert page.all("#help code") == ["tidelog site status osaka"]
    page.says("#headline", "Something is in the way of osaka")
    bank.running.stop_site("london")
    page.says("#help", "london groups bank, cash, orders stopped", "tidelog site run london")
    eventually(lambda: len(page.all("#help .hand")) == 2, "two cards")
    assert page.complaints() == []
    shoot("redis-away")


def test_a_site_is_rebuilt_while_the_page_is_open(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """It loses its store, is rebuilt by the command that the page says, and is well again: one page all the time."""
    page.open(server.url)
    page.says("#headline", "All is well")
    same = never_loaded_again(page)
    bank.lose_store("osaka")
    page.says("#headline", "osaka needs a rebuild, for bank")
    page.says("#copies", "emptied")
    (command,) = page.all("#help code")
    assert command == "tidelog site rebuild osaka --group bank"
    shoot("needs-a-rebuild")
    kept = type("Kept", (), {"close": lambda _: None, "__getattr__": lambda _, name: getattr(bank.deployment, name)})()
    assert main([*command.split()[1:], "--yes"], lambda _: kept) == 0
    page.says("#headline", "All is well")
    eventually(lambda: "streaming" in site(page, "osaka"), "osaka streams")
    page.says("#copies", "1 copy: 1 equal")
    assert page.text("#help") == "" and same() and page.complaints() == []


def test_copies_that_differ(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """An alarm on top, with the command that compares; the copy's row says which site is the other one."""
    page.open(server.url)
    page.says("#copies", "1 equal")
    bank.lie("osaka")
    page.says("#alarms", "Alarm", "differs", "tidelog pitc verify monday -g bank --site tokyo --against osaka")
    page.says("#copies", "1 differs", "000000000000")
    assert (
        page.run("return [...document.querySelectorAll('#copies tbody td')].map((cell) => cell.className)").count(
            "answer tone-bad"
        )
        == 1
    )
    shoot("differs")


def test_a_site_falls_silent_and_comes_back(page: Page, server: HttpServer, bank: Scene) -> None:
    """By what it last reported; then by its worker."""
    page.open(server.url)
    page.says("#headline", "All is well")
    bank.silence("london")
    page.says("#headline", "london is silent")
    assert "silent" in site(page, "london") and "no flow" in site(page, "london")
    bank.running.site("london")
    page.says("#headline", "All is well")


def test_kafka_is_away(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """The page says since when, and keeps the last picture, without colour and marked as old."""
    page.open(server.url)
    page.says("#headline", "All is well")
    page.says("#copies", "monday")
    bank.control.cut_off()
    page.says("#banners", "Kafka has not answered since", "What is shown below is of")
    assert "All is well" not in page.text("#headline").split("before:")[0]
    page.says("#looked", "old")
    assert page.run("return getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
    assert "monday" in page.text("#copies") and "RPO" in site(page, "osaka")
    shoot("kafka-away")
    bank.control.restore()
    page.falls_silent("#banners")
    page.says("#headline", "All is well")
    assert page.run("return getComputedStyle(document.querySelector('main')).filter") == "none"


def test_a_page_that_is_opened_while_kafka_is_away(page: Page, bank: Scene, shoot: Shoot) -> None:
    """It has what the server has seen before: the last hour and the copies of each group, marked as old."""
    bank.running.group("orders")
    with served(bank) as server:
        eventually(lambda: "orders" in server.board.history.groups, "the second group")
        eventually(lambda: server.board.unready == "" and server.board.of("bank"), "a look")
        bank.control.cut_off()
        page.open(server.url)
        page.says("#banners", "Kafka has not answered since", "What is shown below is of")
        page.says("#looked", "old")
        page.says("#copies", "1 copy: 1 equal", "monday")
        eventually(lambda: len(page.all("#charts figure")) == 1 + len(SITES), "a chart of each site")
        lines = "return document.querySelectorAll('.chart .line').length"
        assert page.run(lines) > 0 and ":" in page.text("#moment-text")
        assert page.run("return document.documentElement.hasAttribute('data-old')")
        page.click("#groups a[href='#orders']")
        page.says("#copies", "No copy yet")
        eventually(lambda: len(page.all("#charts figure")) == 1 + len(SITES), "charts of the other group")
        assert page.complaints() == []
        shoot("opened-while-away")
        bank.control.restore()
        page.falls_silent("#banners")
        page.says("#moment-text", "now")


def test_the_server_is_away(page: Page, bank: Scene, shoot: Shoot) -> None:
    """The page says so, and finds the next server at that address by itself."""
    with served(bank) as server:
        page.open(server.url)
        page.says("#headline", "All is well")
        same, port = never_loaded_again(page), server.port
    page.says("#banners", "No connection to the status server since", "tried again by itself")
    assert page.run("return document.documentElement.hasAttribute('data-old')")
    shoot("server-away")
    with HttpServer(bank.deployment, serving(bank.config.http, f"127.0.0.1:{port}")):
        page.falls_silent("#banners")
        assert page.says("#headline", "All is well") and same()


def test_before_there_is_a_group_and_when_one_comes(page: Page, shoot: Shoot) -> None:
    """How one is made; it appears by itself."""
    with scene(config_of()) as made, served(made) as server:
        page.open(server.url)
        page.says("#headline", "There is no group yet")
        page.says("#groups", "tidelog group create NAME")
        shoot("no-group")
        made.deployment.cluster.create_group("bank")
        page.says("#group", "bank", "nothing written yet", "never seen", "primary tokyo")
        page.says("#copies", "No copy yet", "tidelog pitc create NAME --group bank --in 5s")


def test_a_group_that_cannot_be_looked_at(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """An alarm, why, and what helps; the other group is seen as before, and no writer is said to be gone."""
    page.open(server.url)
    page.says("#headline", "All is well")
    record = bank.deployment.cluster.create_group("sealed")
    bank.control.publish(record.model_copy(update={"keyed": True}))
    page.says("#alarms", "sealed cannot be looked at")
    page.says("#help", "the log", "group sealed", "not seen", "there is no key for it", "et groups.sealed.key_file")
    assert "the writer" not in page.text("#help") and "writer" not in page.text("#headline")
    page.click("#groups a[href='#bank']")
    eventually(lambda: "streaming" in site(page, "osaka"), "the other group")
    assert page.complaints() == []
    shoot("unseen")


def test_the_region_of_a_mirror(page: Page, server: HttpServer, bank: Scene, shoot: Shoot) -> None:
    """No writer and no primary here: where the log comes from."""
    page.open(server.url)
    page.says("#facts", "primary tokyo")
    record = bank.deployment.cluster.find_group("bank")
    log = bank.deployment.cluster.log(record)
    told = {"group_id": record.group_id, "topic": record.topic, "source_cluster": "kafka-of-the-east"}
    told |= {"source_servers": "east:9092", "target_cluster": log.id, "target_servers": "west:9092"}
    bank.control.publish(LogMirrored(group="bank", mirrored_us=wall_us(), **told))
    page.says("#facts", "mirror of kafka-of-the-east")
    assert "Another region" in page.text(".writer") and "writing" not in page.text(".writer")
    assert "primary" not in page.text(".branches") and page.complaints() == []
    shoot("mirror")


def test_logging_in(page: Page, certificate: tuple[Path, Path], shoot: Shoot) -> None:
    """The form, a wrong token, the right one; scripts do not see the cookie; and out again."""
    cert, key = certificate
    http = {"token": TOKEN, "tls_certfile": cert, "tls_keyfile": key}
    with scene(config_of(http=http)) as made, served(made) as server:
        page.open(server.url)
        assert page.driver.current_url.endswith("/login")
        for given, then in (("wrong-token", ".login-problem"), (TOKEN, "#headline")):
            field = page.driver.find_element(By.ID, "token")
            field.send_keys(given, Keys.ENTER)
            eventually(lambda then=then: page.text(then), f"{then} after {given}")
            shoot(f"login-{given}")
        page.says("#headline", "There is no group yet")
        assert page.run("return document.cookie") == ""
        (cookie,) = page.driver.get_cookies()
        assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
        eventually(lambda: page.text("#logout") == "Log out", "the way out")
        page.click("#logout button")
        eventually(lambda: page.driver.current_url.endswith("/login"), "the form again")
        assert page.driver.get_cookies() == []
        trusting = ssl.create_default_context(cafile=cert)
        assert Client(server, trusting).status("/") == 303

"""One headless Chromium for all tests of the page, what is asked of it again and again, and a certificate."""

import base64
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.tools import tool
from tests.web.scenes import Scene, eventually, served
from tidelog.gateways.web.server import HttpServer

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture
def server(bank: Scene) -> Iterator[HttpServer]:
    """Of the scene that a file of tests makes under that name."""
    with served(bank) as server:
        yield server


class Page:
    """The browser's one window."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1280, theme: str = "light") -> None:
        """Loads it anew, as somebody who was never here."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url.rstrip("/"), "storageTypes": "all"})
        self.driver.get_log("browser")
        self.looks(width, theme)
        self.driver.get(url)

    def looks(self, width: int = 1280, theme: str = "light", motion: str = "no-preference") -> None:
        """The window's width in pixels, and what the system prefers."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script of the page returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What is read there; empty if it is not there."""
        found = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        return " ".join(str(found).split())

    def all(self, selector: str) -> list[str]:
        """The same of each."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
        return [" ".join(str(one).split()) for one in self.run(script, selector)]

    def says(self, selector: str, *words: str) -> str:
        """Waits until all of them are read there."""

        def there() -> bool:
            found = self.text(selector)
            return all(word in found for word in words)

        eventually(there, f"{words} in {selector}")
        return self.text(selector)

    def falls_silent(self, selector: str) -> None:
        """Waits until nothing is read there."""
        eventually(lambda: self.text(selector) == "", f"nothing in {selector}")

    def click(self, selector: str) -> None:
        """As a mouse does."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def complaints(self) -> list[str]:
        """What the browser has complained of since the page was opened: scripts, and what the content policy forbids;
        not that a server is away."""
        return [line["message"] for line in self.driver.get_log("browser") if "ERR_" not in line["message"]]

    def shoot(self, path: Path) -> None:
        """The whole page as a picture."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Of its own profile; it goes nowhere but to loopback."""
    options = ChromeOptions()
    options.binary_location = tool("chromium")
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.accept_insecure_certs = True  # a certificate that a test has signed itself
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(tool("chromedriver")))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium: Chrome) -> Page:
    """Its window."""
    return Page(chromium)


@pytest.fixture
def shoot(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Takes a picture of that name into the test's folder."""
    return lambda name: page.shoot(tmp_path / f"{name}.png")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of localhost and 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key

"""The page in a real Chromium, against a real server with nano.

The browser belongs to this folder alone: Playwright's event loop would be in the way of tests that run their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.server.conftest import Running

CHROMIUM = shutil.which("chromium")
WAIT_MS = 90_000  # the first answer may wait for kernels to be compiled
expect.set_options(timeout=WAIT_MS)
DESKTOP = {"width": 1280, "height": 860}

Open = Callable[..., AbstractContextManager[Page]]
Allow = Callable[[str], None]


@dataclass
class Complaints:
    """What a page says in its console: errors of its own, and contents that its policy refused."""

    heard: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.heard.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.heard.append(message.text)

    def check(self) -> None:
        """Fails for what no test said it would provoke."""
        heard = [text for text in self.heard if not any(part in text for part in self.allowed)]
        self.heard.clear()
        self.allowed.clear()
        assert heard == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium fonts-noto-cjk")
    # A name of a local network, where browsers grant less than on loopback.
    options = ["--host-resolver-rules=MAP harmonium.test 127.0.0.1", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def profile(browser: Browser, **options: Any) -> Iterator[Page]:
    """An empty tab of a browser that knows nothing yet."""
    with browser.new_context(**{"viewport": DESKTOP} | options) as context:
        context.set_default_timeout(WAIT_MS)
        yield context.new_page()


def load(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("[data-ready]", state="attached")


@pytest.fixture
def open_page(browser: Browser, server: Running) -> Open:
    """open_page(url=..., allowed=..., **Playwright's context options): the page in a profile of its own.

    allowed: the complaints that the test provokes.
    """

    @contextmanager
    def begin(url: str = server.url, allowed: str | Sequence[str] = (), **options: Any) -> Iterator[Page]:
        complaints = Complaints(allowed=[allowed] if isinstance(allowed, str) else list(allowed))
        with profile(browser, **options) as page:
            complaints.listen(page)
            load(page, url)
            yield page
            complaints.check()

    return begin


@pytest.fixture(scope="package")
def paper(browser: Browser, server: Running) -> Iterator[Page]:
    """One page for all tests that only try its modules."""
    with profile(browser) as page:
        load(page, server.url)
        yield page


@pytest.fixture(scope="package")
def tab(browser: Browser) -> Iterator[tuple[Page, Complaints]]:
    complaints = Complaints()
    with profile(browser) as page:
        complaints.listen(page)
        yield page, complaints


@pytest.fixture
def page(tab: tuple[Page, Complaints], server: Running) -> Iterator[Page]:
    """The page as it is at first, in a tab that the tests share."""
    page, complaints = tab
    page.set_viewport_size({"width": 1280, "height": 860})
    load(page, server.url)
    yield page
    for other in page.context.pages[1:]:
        other.close()
    page.context.set_offline(False)
    page.emulate_media(color_scheme="light")
    page.goto("about:blank")
    everything = {"origin": server.url, "storageTypes": "all"}
    page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", everything)
    complaints.check()


@pytest.fixture
def allow(tab: tuple[Page, Complaints]) -> Allow:
    """allow(part): the test provokes this complaint."""
    return tab[1].allowed.append

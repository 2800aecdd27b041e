"""The page in a real Chromium, against a real server with nano.

The browser belongs to this folder alone: Playwright's event loop would be in the way of tests that run their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.server.conftest import Running

CHROMIUM = shutil.which("chromium")
DESKTOP = {"width": 1280, "height": 860}

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium fonts-noto-cjk")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, allowed: str | None = None, **options: Any) -> Iterator[Page]:
    """The page in a browser profile of its own. Whatever it complains about is a failure, refused content included.

    allowed: part of the complaints that a test provokes.
    """
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    with browser.new_context(**{"viewport": DESKTOP} | options) as context:
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("[data-ready]", state="attached")
        yield page
        assert [text for text in complaints if allowed is None or allowed not in text] == []


@pytest.fixture
def open_page(browser: Browser, server: Running) -> Open:
    """open_page(url=..., allowed=..., **Playwright's context options): the page, as a context manager."""

    def begin(url: str = server.url, allowed: str | None = None, **options: Any) -> AbstractContextManager[Page]:
        return opened(browser, url, allowed, **options)

    return begin


@pytest.fixture
def page(open_page: Open) -> Iterator[Page]:
    with open_page() as page:
        yield page


@pytest.fixture(scope="package")
def paper(browser: Browser, server: Running) -> Iterator[Page]:
    """One page for all tests that only try its modules."""
    with opened(browser, server.url) as page:
        yield page

"""Screenshots to look at, in runs/page: every state, in both themes, wide and narrow.

Made by `make deep`, or by `pytest -m deep tests/server/page/test_looks.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.server.page.conftest import Open
from tests.server.page.talk import COUNT, RICH, SHOW, WEATHER, wait

FOLDER = Path(__file__).resolve().parents[3] / "runs" / "page"
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.mark.deep
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_looks(open_page: Open, size: str, theme: Any) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    taken = []
    with open_page(**SIZES[size], color_scheme=theme, allowed="ERR_INTERNET_DISCONNECTED") as page:

        def take(name: str) -> None:
            page.wait_for_timeout(300)
            taken.append(page.screenshot(path=FOLDER / f"{size}-{theme}-{len(taken)}-{name}.png"))

        take("first")
        page.click(f".example:has-text('{WEATHER}')")
        wait(page)
        take("call")
        page.fill(".call textarea", "sunny, 27 degrees")
        page.click(".call button.primary")
        page.wait_for_selector(".markdown")
        wait(page)
        take("answer")
        page.evaluate(SHOW, RICH)
        take("markdown")
        page.click("#options")
        take("settings")
        page.keyboard.press("Escape")
        page.context.set_offline(True)
        page.fill("#prompt", COUNT)
        page.click("#send")
        wait(page)
        take("error")
        page.context.set_offline(False)
        if size == "phone":
            page.click("#open-sidebar")
            take("conversations")
    assert len(taken) == len(set(taken))

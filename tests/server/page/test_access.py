"""For everybody: keyboard alone, phones, screen readers, contrast in both themes, readers who scroll."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.server.page.conftest import Open
from tests.server.page.talk import (
    CAPITAL,
    COUNT,
    ENDLESS,
    RICH,
    SHOW,
    answer,
    ask,
    questions,
    send,
    stored,
    until,
    wait,
)

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def test_the_keyboard_is_enough(page: Page) -> None:
    press = page.keyboard.press
    page.keyboard.type(COUNT)
    press("Shift+Enter")
    page.keyboard.type("please")
    press("Enter")
    wait(page)
    assert questions(page) == [f"{COUNT}\nplease"]
    press("Control+Shift+O")
    page.keyboard.type(CAPITAL)
    press("Enter")
    wait(page)
    press("Control+k")
    page.keyboard.type("straw")
    press("Tab")
    expect(page.locator(".conversation")).to_be_focused()
    press("Enter")
    expect(page.locator(".bubble")).to_contain_text("strawberry")
    expect(page.locator("#prompt")).to_be_focused()
    press("ArrowUp")
    page.keyboard.type("!")
    press("Enter")
    wait(page)
    assert questions(page) == [f"{COUNT}\nplease!"]
    press("Control+/")
    expect(page.locator("#shortcuts")).to_be_visible()
    press("Escape")
    press("Control+,")
    expect(page.locator("#instructions")).to_be_focused()
    press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    press("Shift+Escape")
    expect(page.locator("#prompt")).to_be_focused()


def test_everything_that_can_be_reached_by_tab_shows_it(page: Page) -> None:
    ask(page, COUNT)
    page.focus(".skip")
    seen = ["skip"]
    for _ in range(40):
        page.keyboard.press("Tab")
        ring = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        name = page.evaluate(
            "document.activeElement.id || document.activeElement.className || document.activeElement.localName"
        )
        framed = (
            name in ("prompt", "body") or page.locator(".segments input:focus").count()
        )  # their frame shows it; behind the last is the window
        assert framed or page.evaluate(ring), name
        if name == "skip":
            break
        seen.append(name)
    assert {"skip", "new", "search", "prompt", "options", "open-settings"} <= set(seen)


def test_a_phone_has_no_sideways_scroll(open_page: Open) -> None:
    with open_page(**PHONE) as page:
        wide = "[document.documentElement, document.querySelector('#scroller')].some((e) => e.scrollWidth > innerWidth)"
        assert not page.evaluate(wide)
        page.fill("#prompt", f"{COUNT} {'x' * 200}")
        page.press("#prompt", "Enter")  # a line break where there is no other key for it
        page.tap("#send")
        wait(page)
        page.evaluate(SHOW, RICH)
        assert not page.evaluate(wide)
        page.tap("#open-sidebar")
        expect(page.locator("#new")).to_be_focused()
        assert page.evaluate("document.querySelector('#main').inert")
        page.tap(".conversation")
        assert not page.evaluate("document.querySelector('#main').inert")
        page.tap("#options")
        assert not page.evaluate(
            "(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)(document.querySelector('.dialog-body'))"
        )


def accessible(page: Page) -> list[dict[str, Any]]:
    """What a screen reader is told of."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]


INTERACTIVE = {
    "button", "textbox", "searchbox", "link", "radio", "checkbox", "combobox", "slider", "spinbutton", "dialog",
    "alertdialog", "navigation", "region", "log", "DisclosureTriangle", "image",
}  # fmt: skip


def test_everything_has_a_name(page: Page) -> None:
    ask(page, COUNT)
    page.evaluate(SHOW, RICH)
    names = accessible(page)
    page.click("#options")
    names += accessible(page)
    page.keyboard.press("Escape")
    page.hover(".conversation")
    page.click("[aria-label^='Delete']")
    names += accessible(page)
    assert {"button", "textbox", "navigation", "log", "dialog", "slider"} <= {node["role"] for node in names}
    assert [node for node in names if node["role"] in INTERACTIVE and not node["name"]] == []


def test_screen_readers_hear_of_an_answer_twice_and_no_more(page: Page) -> None:
    page.evaluate("""() => {
        window.heard = [];
        const status = document.querySelector("#status");
        new MutationObserver(() => window.heard.push(status.textContent)).observe(status, { childList: true });
    }""")
    shown = ask(page, COUNT)
    until(page, "window.heard.at(-1)?.startsWith('Answer')")
    assert page.evaluate("window.heard") in (
        ["The model is answering.", f"Answer: {shown}"],
        [f"Answer: {shown}"],  # where it was there at once
    )
    assert page.get_attribute("#thread", "aria-live") == "off"


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
    };
    const light = ([red, green, blue]) => {
        const linear = (value) => (value <= 10.3 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        const isSeen = element.checkVisibility({ opacityProperty: true });
        if (!says || !isSeen || element.closest(":disabled, .hidden, option")) continue;
        const lights = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
        if (ratio < 4.5) poor.push([element.className || element.localName, ratio, element.textContent.slice(0, 30)]);
    }
    return poor;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(open_page: Open, theme: Any) -> None:
    with open_page(color_scheme=theme, allowed="ERR_INTERNET_DISCONNECTED") as page:
        assert page.evaluate(CONTRAST) == []
        ask(page, COUNT)
        page.click(".reasoning summary")
        page.evaluate(SHOW, RICH)
        assert page.evaluate(CONTRAST) == []
        page.context.set_offline(True)
        ask(page, CAPITAL)
        page.context.set_offline(False)
        assert page.evaluate(CONTRAST) == []
        page.click("#options")
        page.click("#tools-example")
        assert page.evaluate(CONTRAST) == []


def test_a_theme_is_chosen_and_kept(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#open-settings")
    page.click("label:has(#theme-dark)")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark
    page.emulate_media(color_scheme="dark")
    page.click("#open-settings")
    page.click("label:has(#theme-light)")
    assert page.evaluate(paper) == light
    page.click("label:has(#theme-system)")
    assert page.evaluate(paper) == dark


def test_scrolling_follows_the_answer_but_not_against_the_reader(page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 420})
    page.click("label:has(#effort-high)")
    send(page, ENDLESS)
    page.evaluate("window.area = document.querySelector('#scroller')")
    distance = "area.scrollHeight - area.clientHeight - area.scrollTop"
    until(page, "area.scrollTop > 60")
    assert page.evaluate(distance) <= 2
    page.hover("#scroller")
    page.mouse.wheel(0, -400)
    expect(page.locator("#jump")).to_be_visible()
    top, height = page.evaluate("[area.scrollTop, area.scrollHeight]")
    until(page, f"area.scrollHeight > {height}")
    assert page.evaluate("area.scrollTop") == top
    page.click("#jump")
    assert page.evaluate(distance) <= 2
    page.click("#send")
    wait(page)


def test_words_picked_from_an_input_method_send_nothing(page: Page) -> None:
    page.fill("#prompt", "フランス")
    page.dispatch_event("#prompt", "keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    assert stored(page) == []
    assert page.input_value("#prompt") == "フランス"
    assert answer(page) == ""

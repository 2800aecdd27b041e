"""Conversations in the browser: kept, found, renamed, deleted, exported and imported."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.server.page.conftest import Open
from tests.server.page.talk import CAPITAL, COUNT, answer, ask, questions, stored


def test_they_are_kept_and_found_again(page: Page) -> None:
    counted = ask(page, COUNT)
    page.click("#new")
    expect(page.locator("#welcome")).to_be_visible()
    ask(page, "フランスの首都は何ですか?")
    page.reload()
    page.wait_for_selector("[data-ready]", state="attached")
    assert stored(page) == ["フランスの首都は何ですか?", COUNT]
    page.locator(".conversation").nth(1).click()
    assert (questions(page), answer(page)) == ([COUNT], counted)
    for words, found, shown in [
        ("STRAW", [COUNT], []),
        ("パリ", ["フランスの首都は何ですか?"], ["パリ"]),
        ("there are 3", [COUNT], ["There"]),
        ("zebra", [], []),
    ]:
        page.fill("#search", words)
        assert stored(page) == found
        assert page.locator(".found mark").all_inner_texts() == shown
    expect(page.locator("#conversations")).to_have_text("Nothing found.")
    page.press("#search", "Escape")
    assert len(stored(page)) == 2


def test_a_search_leads_to_what_it_found(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 420})
    for question in (CAPITAL, COUNT, "What is 12 + 30?"):
        ask(page, question)
    page.fill("#search", "word straw")
    page.press("#search", "ArrowDown")
    expect(page.locator(".conversation").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#search")).to_be_focused()
    assert page.locator(".found").inner_text().endswith("in the word 'strawberry'?")
    page.press("#search", "Enter")
    expect(page.locator(".bubble", has_text=COUNT)).to_be_in_viewport()
    expect(page.locator(".bubble", has_text=CAPITAL)).not_to_be_in_viewport()
    page.press("#search", "Escape")
    expect(page.locator(".found")).to_have_count(0)


def test_they_go_on_where_they_were(page: Page) -> None:
    ask(page, COUNT)
    page.reload()
    assert '"blueberry"' in ask(page, "and in blueberry?")
    assert len(questions(page)) == 2


def test_an_answer_goes_on_while_another_conversation_is_open(page: Page) -> None:
    page.fill("#prompt", COUNT)
    page.press("#prompt", "Enter")
    page.click("#new")
    page.fill("#prompt", "not sent")
    page.click(".conversation")
    page.wait_for_selector(".answer-foot:not([hidden])")
    assert "3" in answer(page)
    page.click("#new")
    assert page.locator(".bubble").count() == 0


def test_they_are_renamed_and_deleted(page: Page) -> None:
    ask(page, COUNT)
    page.hover(".conversation")
    page.click("[aria-label^='Rename']")
    page.fill(".rename", "Berries")
    page.press(".rename", "Enter")
    assert stored(page) == ["Berries"]
    assert page.title() == "Berries · Harmonium"
    ask(page, "and in blueberry?")
    page.reload()
    expect(page.locator(".conversation")).to_have_text("Berries")
    page.click("[aria-label='Delete Berries']")
    page.click("#confirm button[value=no]")
    expect(page.locator("[aria-label='Delete Berries']")).to_be_focused()
    page.keyboard.press("Enter")
    page.click("#confirm-yes")
    expect(page.locator("#conversations")).to_have_text("Conversations appear here.")
    page.reload()
    expect(page.locator("#conversations")).to_have_text("Conversations appear here.")


def test_they_are_exported_and_imported(page: Page, tmp_path: Path) -> None:
    shown = ask(page, COUNT)
    page.click("#open-settings")
    with page.expect_download() as download:
        page.click("#export-all")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    exported = json.loads(path.read_text())
    assert exported["conversations"][0]["turns"][0]["question"] == COUNT
    page.click("#delete-all")
    page.click("#confirm-yes")
    expect(page.locator("#settings")).to_be_hidden()
    assert stored(page) == []
    page.click("#open-settings")
    page.set_input_files("#import-file", path)
    expect(page.locator(".notice")).to_contain_text("1 conversation imported.")
    page.click(".conversation")
    assert (questions(page), answer(page)) == ([COUNT], shown)
    page.click("#open-settings")
    exported["conversations"][0]["turns"][0]["question"] = 3
    for text, says in [("no", "not JSON"), ("{}", "no export"), (json.dumps(exported), "its question is no text")]:
        page.set_input_files(
            "#import-file", {"name": "x.json", "mimeType": "application/json", "buffer": text.encode()}
        )
        expect(page.locator("#storage")).to_contain_text(says)


def test_another_tab_sees_them(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("[data-ready]", state="attached")
    ask(page, CAPITAL)
    expect(other.locator(".conversation")).to_have_text(CAPITAL)


def test_a_full_browser_says_so(open_page: Open) -> None:
    with open_page() as page:
        quota = {"origin": page.url.rstrip("/"), "quotaSize": 1}
        page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
        ask(page, CAPITAL)
        expect(page.locator(".notice").first).to_contain_text("The browser's storage is full")
        assert "Paris" in answer(page)


def test_wrong_tools_are_told_where_they_are_typed(page: Page) -> None:
    page.click("#options")
    for text, says in [
        ("{", "This is not JSON"),
        ("3", "is no JSON object"),
        ('{"type": "web_search"}', 'only tools of type "function"'),
        ('{"name": "a b"}', 'needs a "name"'),
        ('{"name": "a", "parameters": []}', "JSON Schema object"),
        ('[{"name": "a"}, {"name": "a"}]', "Two functions are named a."),
    ]:
        page.fill("#tools", text)
        expect(page.locator("#tools-state")).to_contain_text(says)
        page.click("#settings button[value=save]")
        expect(page.locator("#settings")).to_be_visible()
    page.fill("#tools", '{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}')
    expect(page.locator("#tools-state")).to_have_text("Offers add.")
    page.click("#settings button[value=save]")
    expect(page.locator("#options-label")).to_have_text("1 tool")

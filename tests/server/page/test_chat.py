"""Talking: what is shown is what the API says, and stop, retry, edit and errors lose nothing."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, Request, expect

from harmonium import LLM
from harmonium.chat.loading import Loaded
from tests.server.conftest import Running, Start
from tests.server.page.conftest import Allow, Open
from tests.server.page.talk import CAPITAL, COUNT, ENDLESS, WEATHER, answer, ask, options, questions, send, until, wait


def text_of(response: dict[str, Any], kind: str) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == kind for part in item["content"])


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def test_a_conversation_shows_what_the_api_says(page: Page, server: Running) -> None:
    first = server.post("/responses", input=COUNT)
    assert ask(page, COUNT) == text_of(first, "message")
    label = page.locator(".reasoning summary")
    expect(label).to_have_text(
        re.compile(rf"Thought for [\d.]+ s · {first['usage']['output_tokens_details']['reasoning_tokens']} tokens")
    )
    expect(page.locator(".reasoning-text")).to_be_hidden()
    label.click()
    assert page.locator(".reasoning-text").inner_text() == text_of(first, "reasoning").strip()
    figures = page.locator(".figures").inner_text()
    assert (
        f"{first['usage']['output_tokens']} tokens" in figures and f"prompt {first['usage']['input_tokens']}" in figures
    )
    assert "tok/s" in figures
    history = [said("user", COUNT), said("assistant", text_of(first, "message")), said("user", "and in blueberry?")]
    second = server.post("/responses", input=history)
    assert ask(page, "and in blueberry?") == text_of(second, "message")
    assert f"prompt {second['usage']['input_tokens']}" in page.locator(".figures").last.inner_text()
    expect(page.locator("#hint")).to_contain_text(f"{second['usage']['total_tokens']} of 131,072 tokens")
    expect(page.locator("#model")).to_have_value("nano")


def test_effort_system_prompt_and_temperature_are_sent(page: Page, server: Running) -> None:
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: sent.append(request.post_data_json) if request.method == "POST" else None)
    page.click("label:has(#effort-low)")
    options(page, instructions="Answer in upper case.", temperature="0.1", longest="500")
    shown = ask(page, CAPITAL)
    asked = {"instructions": "Answer in upper case.", "reasoning": {"effort": "low"}, "temperature": 0.1}
    assert sent[0] == {
        "model": "nano",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": CAPITAL}]}],
        "stream": True,
        "store": False,
        "max_output_tokens": 500,
        **asked,
    }
    assert "PARIS" in shown
    assert "system prompt" in page.locator("#options-label").inner_text()


def test_a_function_call_asks_for_its_result_and_the_turn_goes_on(page: Page) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.click(f".example:has-text('{WEATHER}')")
    call = page.locator(".call.open")
    expect(call.locator(".call-name")).to_have_text("get_current_weather")
    expect(call.locator("pre")).to_have_text('{"city": "Madrid"}')
    field = call.locator("textarea")
    expect(field).to_be_focused()
    page.reload()
    field.fill("sunny, 27 degrees")
    field.press("Enter")
    expect(call).to_have_count(0)
    wait(page)
    assert "sunny" in answer(page)
    items = sent[-1].post_data_json["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[2]["call_id"] == items[3]["call_id"] and items[3]["output"] == "sunny, 27 degrees"
    assert page.locator(".call pre").all_inner_texts() == ['{"city": "Madrid"}', "sunny, 27 degrees"]
    ask(page, "thanks")
    assert [item["type"] for item in sent[-1].post_data_json["input"]] == [
        "message", "function_call", "function_call_output", "message", "message",
    ]  # fmt: skip
    page.click("#new")
    expect(page.locator("#options-label")).to_have_text("Options")


def test_stop_keeps_what_was_said_and_frees_the_server(page: Page, server: Running) -> None:
    page.click("label:has(#effort-high)")
    page.evaluate("""() => {
        window.opened = 0;
        const look = () => (window.opened += document.querySelector(".reasoning[open] .reasoning-text") ? 1 : 0);
        new MutationObserver(look).observe(document.querySelector("#thread"), { subtree: true, childList: true });
    }""")
    send(page, ENDLESS)
    content = page.locator(".answer-content")
    until(page, "document.querySelector('.reasoning-text')?.textContent.length > 40")
    assert page.locator("#send").get_attribute("aria-label") == "Stop"
    page.keyboard.press("Escape")
    wait(page)
    expect(page.locator(".note")).to_have_text("Stopped.")
    expect(page.locator(".reasoning-text")).to_be_hidden()
    assert page.evaluate("window.opened") > 0
    figures = page.locator(".figures")
    expect(figures).to_have_text(re.compile(r"about .+ tok/s · about \d+ tokens, \d+ reasoning · prompt \d+ · .+ s"))
    told = figures.text_content()
    kept = content.text_content()
    assert kept and page.locator("#send").get_attribute("aria-label") == "Send"
    page.wait_for_timeout(200)
    assert not server.llm.engine.scheduler.running
    page.reload()
    expect(page.locator(".note")).to_have_text("Stopped.")
    assert content.text_content() == kept and figures.text_content() == told
    ask(page, CAPITAL)
    expect(page.locator(".answer-foot:visible")).to_have_count(2)


def test_a_page_that_closes_while_it_streams_keeps_what_came(page: Page) -> None:
    page.click("label:has(#effort-high)")
    send(page, ENDLESS)
    until(page, "document.querySelector('.reasoning-text')?.textContent.length > 40")
    page.wait_for_timeout(1200)  # longer than from one save to the next
    page.reload()
    expect(page.locator(".note")).to_have_text("The page was closed while this was written.")
    assert len(page.locator(".reasoning-text").text_content() or "") > 40


def test_retry_answers_again(page: Page) -> None:
    first = ask(page, COUNT)
    page.click("[aria-label='Answer again']")
    wait(page)
    assert answer(page) == first
    assert questions(page) == [COUNT]


def test_editing_an_earlier_message_asks_and_cuts(page: Page) -> None:
    ask(page, COUNT)
    ask(page, CAPITAL)
    edit = page.locator("[aria-label='Edit this message']").first
    field = page.locator(".edit textarea")
    edit.click()
    field.fill("How many n's are in the word 'banana'?")
    field.press("Enter")
    expect(page.locator("#confirm-text")).to_have_text("1 later message and the answers are removed.")
    page.click("#confirm button[value=no]")
    assert questions(page) == [CAPITAL]  # the first is still being edited
    field.press("Enter")
    page.click("#confirm-yes")
    expect(page.locator(".bubble")).to_have_text(["How many n's are in the word 'banana'?"])
    wait(page)
    assert "2" in answer(page)
    page.press("#prompt", "ArrowUp")
    expect(field).to_be_focused()
    field.press("Escape")
    assert questions(page) == ["How many n's are in the word 'banana'?"]


def test_without_a_server_nothing_is_lost_and_trying_again_goes_on(page: Page, allow: Allow) -> None:
    allow("ERR_INTERNET_DISCONNECTED")
    first = ask(page, COUNT)
    page.context.set_offline(True)
    assert ask(page, CAPITAL) == ""
    expect(page.locator(".error strong")).to_have_text("Cannot reach the server")
    page.locator("[aria-label='Answer again']").first.click()
    page.click("#confirm-yes")
    expect(page.locator(".notice")).to_contain_text("The earlier answer stays")
    assert questions(page) == [COUNT, CAPITAL]
    assert page.locator(".markdown").first.inner_text() == first
    page.context.set_offline(False)
    page.click(".error button:visible")
    wait(page)
    assert "Paris" in answer(page)
    expect(page.locator(".error:visible")).to_have_count(0)


def test_a_conversation_that_is_too_long_is_told_with_a_way_on(open_page: Open, start: Start, weights: Loaded) -> None:
    with start(LLM(weights, context=256)) as one, open_page(one.url, allowed="status of 400") as page:
        ask(page, "word " * 300)
        expect(page.locator(".error strong")).to_have_text("The conversation is longer than the context")
        page.click(".error button:has-text('New conversation')")
        assert "Paris" in ask(page, CAPITAL)


def test_a_server_with_keys_asks_for_one(open_page: Open, start: Start) -> None:
    with start(api_keys={"me": "sk-secret-1"}) as one, open_page(one.url, allowed="status of 401") as page:
        expect(page.locator("#key")).to_be_focused()
        expect(page.locator("#key-state")).to_have_text("This server asks for an API key.")
        page.fill("#key", "wrong")
        page.click("#settings button[value=save]")
        expect(page.locator("#key-state")).to_contain_text("This API key is not valid here")
        expect(page.locator("#key")).to_be_focused()
        page.fill("#key", "sk-secret-1")
        page.click("#settings button[value=save]")
        expect(page.locator("#model")).to_have_value("nano")
        assert "Paris" in ask(page, CAPITAL)
        assert page.evaluate("JSON.stringify({ ...localStorage })").count("sk-secret-1") == 0
        page.reload()
        expect(page.locator("#key")).to_be_focused()
        page.fill("#key", "sk-secret-1")
        page.check("#key-kept")
        page.click("#settings button[value=save]")
        expect(page.locator("#model")).to_have_value("nano")
        page.reload()
        assert "Paris" in ask(page, CAPITAL)


def test_it_works_on_a_plain_address_of_a_network(open_page: Open, start: Start) -> None:
    with (
        start(api_keys={"me": "sk-secret-1"}) as one,
        open_page(
            one.url.replace("127.0.0.1", "harmonium.test"), allowed=("Cross-Origin-Opener-Policy", "status of 401")
        ) as page,
    ):
        assert not page.evaluate("isSecureContext")
        page.fill("#key", "sk-secret-1")
        page.click("#settings button[value=save]")
        expect(page.locator("#model")).to_have_value("nano")
        shown = ask(page, CAPITAL)
        page.click("[aria-label='Copy the answer']")
        page.focus("#prompt")
        page.keyboard.press("Control+V")
        assert page.input_value("#prompt") == shown


def test_what_cut_an_answer_is_told(page: Page) -> None:
    options(page, longest="5")
    ask(page, COUNT)
    expect(page.locator(".note")).to_have_text("Cut at the longest answer that the options or the context allow.")
    options(page, longest="")
    page.click("[aria-label='Answer again']")
    expect(page.locator(".note")).to_be_hidden()
    wait(page)
    assert "3" in answer(page)


def test_one_of_several_models_is_chosen_and_kept(open_page: Open, start: Start) -> None:
    with start(served_names=("small", "also-small")) as one, open_page(one.url) as page:
        expect(page.locator("#model")).to_have_value("small")
        page.select_option("#model", "also-small")
        with page.expect_request("**/v1/responses") as sent:
            assert "Paris" in ask(page, CAPITAL)
        assert sent.value.post_data_json["model"] == "also-small"
        page.reload()
        expect(page.locator("#model")).to_have_value("also-small")


def test_every_example_is_one_that_nano_answers(page: Page) -> None:
    said = ["3 r's", "945", "", "Madrid", "パリ", "nano"]
    for index, part in enumerate(said):
        page.click("#new")
        page.locator(".example").nth(index).click()
        wait(page)
        assert part in answer(page)
    expect(page.locator(".example")).to_have_count(len(said))


def test_it_waits_for_a_server_that_is_not_there_yet(open_page: Open) -> None:
    with open_page(allowed="ERR_FAILED") as page:
        page.route("**/v1/models", lambda route: route.abort())
        page.reload()
        expect(page.locator(".notice")).to_contain_text("The server does not answer.")
        page.unroute("**/v1/models")
        expect(page.locator("#model")).to_have_value("nano")

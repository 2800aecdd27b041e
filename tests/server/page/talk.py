"""What the tests do with the page: ask and wait, and read what is shown."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page

COUNT = "How many r's are in the word 'strawberry'?"
CAPITAL = "What is the capital of France?"
WEATHER = "What is the weather like in Madrid?"
ENDLESS = "Spell: " + "x" * 300
"""With high effort nano reasons about it to the end of its context."""

OVER = ".turn:last-child .answer:not([aria-busy=true])"

RICH = """# A heading that is long enough to need more than one line on a phone

| Model | Layers | Experts | Parameters | Active | Context |
|---|---|---|---|---|---|
| gpt-oss-20b | 24 | 32 | 20.9 B | 3.6 B | 131072 |

```python
print("a line of code that is a good deal longer than any phone is wide", 1, True)  # and a comment
```

- [x] done `averyveryveryveryveryveryveryveryveryveryverylongword_in_code` and https://example.com/averyverylongaddresswithoutend
> A quotation with \\(a_1 + b_1 + c_1 + d_1 + e_1 + f_1 + g_1 + h_1 + i_1 + j_1\\)

無限に長い行無限に長い行無限に長い行無限に長い行無限に長い行 مرحبا بالعالم"""

# Shows a text as the last answer, as the model would have said it.
SHOW = """async (text) => {
    const { MarkdownStream } = await import(new URL("markdown/stream.js", document.querySelector("[type=module]").src));
    new MarkdownStream(document.querySelector(".turn:last-child .markdown")).show(text);
}"""


def send(page: Page, text: str) -> None:
    """Types a message and sends it, without waiting for more than its place on the page."""
    page.wait_for_selector("[data-ready]", state="attached")  # before that it may have no turns yet
    n_turns = page.locator(".turn").count()
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")
    page.locator(".turn").nth(n_turns).wait_for()


def wait(page: Page) -> None:
    """Until the last answer is over, in whatever way."""
    page.wait_for_selector(f"{OVER} .answer-foot:not([hidden]), {OVER} .error:not([hidden]), {OVER} .call.open")


def ask(page: Page, text: str) -> str:
    """Sends a message; gives the answer's text."""
    send(page, text)
    wait(page)
    return answer(page)


def until(page: Page, expression: str) -> Any:
    """What an expression gives once it gives something. Playwright's own waiting is code that the page forbids."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := page.evaluate(expression):
            return found
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {expression}")


def answer(page: Page) -> str:
    """The text of the last answer, without its reasoning."""
    return "\n\n".join(page.locator(".turn:last-child .markdown").all_inner_texts())


def questions(page: Page) -> list[str]:
    return page.locator(".bubble").all_inner_texts()


def stored(page: Page) -> list[str]:
    """The titles in the list of conversations."""
    return page.locator(".conversation .title").all_inner_texts()


def options(page: Page, **fields: str) -> None:
    """Fills fields of the settings and saves them."""
    page.click("#options")
    for name, text in fields.items():
        page.fill(f"#{name}", text)
    page.click("#settings button[value=save]")

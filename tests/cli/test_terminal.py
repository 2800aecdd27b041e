"""What a turn looks like on a terminal and in a pipe."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    Repair,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
)
from harmonium.chat.reply import Reply
from harmonium.cli import markdown
from harmonium.cli.flow import Flow
from harmonium.cli.terminal import Terminal, as_json, printable

TURN: list[Event] = [
    ReasoningDelta("I look "),
    ReasoningDelta("it up."),
    TextDelta("One moment. ", channel="commentary"),
    ToolCall("call_1", "get_weather", '{"city":\n "Paris"}'),
    ToolResult("call_1", "get_weather", "rain"),
    Repair("missing_end", 12),
    TextDelta("It "),
    TextDelta("rains."),
    Done(FinishReason.STOP, Usage(10, 20, 5, 0), (), (1, 2, 3)),
]


def test_only_the_answer_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    reply = Terminal().show(TURN)
    out, err = capsys.readouterr()
    assert out == "It rains.\n"
    assert err.splitlines() == [
        "I look it up.",
        "One moment. ",
        '→ get_weather({"city": "Paris"})',
        "← get_weather: rain",
    ]
    assert (reply.text, reply.reasoning) == ("It rains.", "I look it up.")


def test_quiet_leaves_nothing_but_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(quiet=True).show(TURN)
    assert capsys.readouterr() == ("It rains.\n", "")


def test_a_failure_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> Iterator[Event]:
        yield TextDelta("It ra")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        Terminal().show(fails())
    assert capsys.readouterr().out == ""


def test_a_cut_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().show([TextDelta("It"), Done(FinishReason.LENGTH, Usage(10, 20), (), ())])
    assert "cut after 20 tokens" in capsys.readouterr().err
    for is_loop, says in ((False, "its budget ended"), (True, "round in circles")):
        Terminal().show([TextDelta("It"), Done(FinishReason.STOP, Usage(10, 20), (), (), True, is_loop)])
        assert says in capsys.readouterr().err


def test_json_has_everything_of_the_turn() -> None:
    assert as_json("nano", Reply.of(TURN)) == {
        "model": "nano",
        "text": "It rains.",
        "reasoning": "I look it up.",
        "tool_calls": [{"id": "call_1", "name": "get_weather", "arguments": '{"city":\n "Paris"}'}],
        "tool_results": [{"call_id": "call_1", "name": "get_weather", "text": "rain", "is_error": False}],
        "finish_reason": "stop",
        "is_reasoning_cut": False,
        "is_reasoning_loop": False,
        "usage": {"prompt": 10, "completion": 20, "reasoning": 5, "cached": 0},
        "repairs": [{"kind": "missing_end", "at": 12}],
        "token_ids": (1, 2, 3),
    }


@given(st.text())
def test_nothing_a_model_says_commands_the_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any((ord(sign) < 32 and sign not in "\t\n") or 127 <= ord(sign) < 160 for sign in shown)


WRITTEN = """# Rivers

Some *long* ones, with <b>HTML</b>,
and a second line.

1. Nile

2. Amazon

3. Yangtze

```python
print("a")


print("b")
```

| a | b |
|---|---|
| 1 | 2 |
"""


@settings(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1))
def test_markdown_grows_into_its_blocks_whatever_the_pieces(sizes: list[int]) -> None:
    """Finished blocks and the rest join to the text, and no block is cut: a list stays one list."""
    finished, rest, at = [], "", 0
    while at < len(WRITTEN):
        size = sizes[at % len(sizes)]
        rest += WRITTEN[at : at + size]
        at += size
        done, rest = markdown.split(rest)
        if done:
            finished.append(done)
    assert "".join(finished) + rest == WRITTEN
    # The last piece may finish several blocks at once; joined neighbors are blocks all the same.
    starts = [block.split("\n")[0] for block in finished]
    assert set(starts) <= {"# Rivers", "Some *long* ones, with <b>HTML</b>,", "1. Nile", "```python"}


def test_streamed_markdown_ends_as_it_would_look_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "REDRAW_S", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=8, color_system=None)
    stream = markdown.MarkdownStream(console)
    for sign in WRITTEN:
        stream.feed(sign)
    stream.close()
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in screen(console.file.getvalue()) if line.strip()]
    whole = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    whole.print(markdown.render(WRITTEN))
    assert isinstance(whole.file, io.StringIO)
    assert lines == [line.rstrip() for line in whole.file.getvalue().splitlines() if line.strip()]
    assert any("<b>HTML</b>" in line for line in lines)


@given(st.lists(st.sampled_from(["to be ", "or", " not\n", "東京", "incomprehensibilities", " - ", "\n\n"])), st.data())
def test_streamed_text_keeps_its_words_and_the_width(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    console = Console(file=io.StringIO(), force_terminal=True, width=24, color_system=None)
    flow = Flow(console)
    while text:
        size = data.draw(st.integers(1, len(text)))
        flow.feed(text[:size])
        text = text[size:]
    flow.close()
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().split("\n")
    assert all(cell_len(line) <= 24 for line in lines if len(line.split()) > 1)
    assert "".join("".join(lines).split()) == "".join("".join(words).split())


def screen(output: str) -> list[str]:
    """What a terminal without an edge shows after rich's control codes: cursor up, erase line, return, line feed."""
    lines, row, column = [""], 0, 0
    while output:
        if output.startswith("\x1b["):
            end = next(at for at in range(2, len(output)) if output[at].isalpha())
            count, action, output = output[2:end], output[end], output[end + 1 :]
            row -= int(count or 1) if action == "A" else 0
            lines[row] = "" if action == "K" else lines[row]
            continue
        sign, output = output[0], output[1:]
        if sign == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif sign == "\r":
            column = 0
        else:
            lines[row] = lines[row].ljust(column)[:column] + sign + lines[row][column + 1 :]
            column += 1
    return lines

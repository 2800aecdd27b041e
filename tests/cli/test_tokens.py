"""`harmonium tokens`: every id has its place, whatever the sequence, and its mask where the assistant speaks."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harmonium.chat.restraint import Rules
from harmonium.cli.explain import explain, later_rounds, mark_allowed, read_ids
from harmonium.cli.main import main
from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation
from harmonium.harmony.grammar import Grammar
from harmonium.harmony.messages import Channel, Conversation, Message, SystemContent
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary

ASSETS = Path(__file__).resolve().parents[2] / "harmonium" / "assets" / "nano"
VOCABULARY = Vocabulary.from_file(ASSETS / "tokenizer.json")
OFFERED = ["get_price"]
CALL = (
    "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant to=functions.get_price<|channel|>commentary "
    '<|constrain|>json<|message|>{"p":1}<|call|>'
)
MALFORMED = "<|channel|>analysis<|message|>Hm<|end|><|return|><|start|>assistant<|channel|>fnal<|message|>Hi<|return|>"


def encoded(text: str) -> list[int]:
    return VOCABULARY.encode(text, parse_special=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 4200) | st.sampled_from(sorted(VOCABULARY.special_ids)), max_size=40), st.booleans())
def test_every_id_has_its_place_and_every_repair_is_shown(ids: list[int], is_prompt: bool) -> None:
    ids = [VOCABULARY.control.start, *ids] if is_prompt else ids
    spans = explain(ids, VOCABULARY)
    mark_allowed(spans, VOCABULARY, OFFERED)
    tokens = [token for span in spans for token in span.tokens]
    assert [token.id for token in tokens] == ids and [token.at for token in tokens] == list(range(len(ids)))
    from_start = bool(ids) and ids[0] == VOCABULARY.control.start
    assume(not later_rounds(ids, VOCABULARY))
    parsed = parse(ids, VOCABULARY, None) if from_start else parse(ids, VOCABULARY)
    shown = Counter(repair for token in tokens for repair in token.repairs)
    is_prompt = ids[-2:] == encoded("<|start|>assistant")
    assert shown == Counter(parsed.repairs) or (is_prompt and parsed.repairs[-1].kind == "cut_header")


def test_messages_and_parts() -> None:
    first, second = explain(encoded(CALL), VOCABULARY)
    assert (first.title, second.title) == (
        "assistant · analysis",
        "assistant · commentary · to functions.get_price · json",
    )
    assert VOCABULARY.decode(token.id for token in second.tokens if token.part == "body") == '{"p":1}'
    assert [token.text for token in second.tokens if token.part == "end"] == ["<|call|>"]
    thought, answer = explain(encoded(MALFORMED), VOCABULARY)
    assert [token.text for token in thought.tokens][-2:] == ["<|end|>", "<|return|>"]
    assert [r.kind for span in (thought, answer) for t in span.tokens for r in t.repairs] == [
        "extra_end",
        "unknown_channel",
    ]
    *_, asked, due = explain(render(conversation("Hi"), VOCABULARY), VOCABULARY)
    assert (asked.title, due.title, due.is_open) == ("user", "assistant", True)
    assert not any(token.repairs for span in (asked, due) for token in span.tokens)


def marked(text: str, functions: Sequence[str] = OFFERED) -> tuple[list[str], list[str]]:
    """The texts of the tokens that the automaton allows, and of the first that it does not."""
    spans = explain(encoded(text), VOCABULARY)
    mark_allowed(spans, VOCABULARY, functions)
    noted = [(token.text, token.allowed) for span in spans for token in span.tokens if token.allowed is not None]
    return [text for text, mask in noted if mask.is_legal], [text for text, mask in noted if not mask.is_legal]


def test_masks() -> None:
    assert "".join(marked(CALL)[0]) == CALL and not marked(CALL)[1]
    legal, illegal = marked(CALL, [])
    assert CALL.startswith("".join(legal)) and illegal == [" to"]
    assert marked(MALFORMED)[1] == ["<|return|>", "f"], "each turn is looked at anew"
    past = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>final<|message|>Ho<|end|>"
    assert "".join(marked(past)[0]) == past.partition("assistant")[2] and not marked(past)[1]
    following = mark_allowed(explain(render(conversation("Hi"), VOCABULARY), VOCABULARY), VOCABULARY, OFFERED)
    assert following is not None and following.n == 2 and set(following.first) == {"<|channel|>", "' to'"}


def test_an_answer_of_several_rounds() -> None:
    """The ids that --json gives of one: behind a call the next round's, results are not among them."""
    rounds = CALL + CALL + "<|channel|>final<|message|>12<|return|>"
    spans = explain(encoded(rounds), VOCABULARY)
    assert [span.channel for span in spans] == ["analysis", "commentary", "analysis", "commentary", "final"]
    assert [token.at for span in spans for token in span.tokens] == list(range(len(encoded(rounds))))
    assert not any(token.repairs for span in spans for token in span.tokens)
    assert "".join(marked(rounds)[0]) == rounds and not marked(rounds)[1]


def prompted(said: str, **options: Any) -> str:
    """The illegal tokens of an answer behind a prompt, nothing said of its tools but in the prompt itself."""
    rules = options.pop("rules", Rules())
    ids = [*render(conversation("Hi", **options), VOCABULARY), *encoded(said)]
    spans = explain(ids, VOCABULARY)
    mark_allowed(spans, VOCABULARY, rules=rules)
    return "".join(t.text for span in spans for t in span.tokens if t.allowed is not None and not t.allowed.is_legal)


def test_what_a_prompt_offers_is_allowed() -> None:
    python = "<|channel|>analysis to=python code<|message|>1<|call|>"
    browser = '<|channel|>analysis to=browser.open code<|message|>{"id":1}<|call|>'
    tool = {"name": "get_price", "description": "x\ntype other = (", "parameters": {"properties": {"type b = (": {}}}}
    assert prompted(python) == prompted(browser) == prompted(CALL) == " to"
    assert not prompted(python, builtin_tools=["python"]) and not prompted(CALL, tools=[tool])
    assert not prompted(browser, builtin_tools=["python", "browser"]) and prompted(browser, builtin_tools=["python"])
    final = Message.system(SystemContent(channels=(Channel.FINAL,)))
    ids = render(Conversation((final, Message.user("Hi"))), VOCABULARY)
    following = mark_allowed(explain(ids, VOCABULARY), VOCABULARY)
    assert following is not None and following.n == 1
    spans = explain([*ids, *encoded("<|channel|>analysis")], VOCABULARY)
    mark_allowed(spans, VOCABULARY)
    assert [token.allowed.is_legal for token in spans[-1].tokens if token.allowed] == [True, False]


def test_masks_under_rules() -> None:
    tools, answer = [{"name": "get_price"}], "<|channel|>final<|message|>12<|return|>"
    assert not prompted(CALL, tools=tools, rules=Rules("required")) and prompted(CALL, tools=tools, rules=Rules("none"))
    assert prompted(answer, tools=tools, rules=Rules("get_price")) == "final"
    assert not prompted(answer, rules=Rules(answer=Grammar.regex("[0-9]{2}")))
    assert prompted(answer, rules=Rules(answer=Grammar.regex("[0-9]{3}"))) == "<|return|>"
    result = "<|start|>functions.get_price to=assistant<|channel|>commentary<|message|>1<|end|><|start|>assistant"
    assert not prompted(CALL + result + answer, tools=tools, rules=Rules("required")), "once called, it is free"
    with pytest.raises(BadRequest, match="no tool here"):
        prompted(answer, tools=tools, rules=Rules("other"))


def test_options_of_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    (tmp_path / "x.regex").write_text("[0-9]{2}")
    ids = ",".join(map(str, encoded("<|channel|>analysis to=python code<|message|>1<|call|>")))
    for more, n_illegal in (([], 1), (["--builtin", "python"], 0), (["--builtin", "browser"], 1)):
        assert main(["tokens", "--ids", ids, "--mask", *more]) == 0
        assert capsys.readouterr().out.count("✗") == n_illegal
    ids = ",".join(map(str, encoded("<|channel|>final<|message|>a")))
    assert main(["tokens", "--ids", ids, "--mask", "--response-format", str(tmp_path / "x.regex")]) == 0
    assert "✗" in capsys.readouterr().out
    for mistake, says in (
        (["--ids", "1", "--effort", "high"], "--effort"),
        (["Hi", "--tool-choice", "none"], "add --mask"),
        (["Hi", "--mask", "--tool-choice", "required"], "no tools"),
    ):
        assert main(["tokens", *mistake]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1 2 3", "[1, 2, 3]", '{"token_ids": [1, 2, 3]}', '{"ids": [1, 2, 3]}', "1,\n2;(3)"])
def test_ids_as_people_have_them(text: str) -> None:
    assert read_ids(text) == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "[]", "one", "1 -2", "[1.5]", "{}", '["1"]'])
def test_what_is_no_ids(text: str) -> None:
    with pytest.raises(BadRequest, match="whole numbers"):
        read_ids(text)


def test_nothing_in_the_ids_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ids = [VOCABULARY.control.start, *VOCABULARY.encode("\x1b[2Jroot\x07 to=\x1b[0m")]
    assert main(["tokens", "--ids", ",".join(map(str, ids))]) == 0
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().out)


def test_ids_from_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ids = encoded(MALFORMED)
    (tmp_path / "ids.json").write_text(json.dumps({"token_ids": ids}))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(" ".join(map(str, ids)).encode())))
    tables = []
    for given_ids in (",".join(map(str, ids)), str(tmp_path / "ids.json"), "-"):
        assert main(["tokens", "--ids", given_ids, "--mask"]) == 0
        tables.append(capsys.readouterr().out)
    assert len(set(tables)) == 1
    assert re.search(r"^ +↑ unknown_channel: 'fnal'$", tables[0], flags=re.MULTILINE)
    assert re.search(r"^ +\d+ +\d+  'f' +✗ +3  'analysis', 'final', 'commentary'$", tables[0], flags=re.MULTILINE)
    assert tables[0].endswith(f"{len(ids)} tokens, 2 messages, 2 repairs\n")
    assert main(["tokens", "--ids", str(tmp_path / "ids.json"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [token["id"] for message in shown["messages"] for token in message["tokens"]] == shown["ids"] == ids
    for mistake, says in ((["none.txt"], "cannot be read"), (["1 2", "--system", "x"], "whole sequence")):
        assert main(["tokens", "--ids", *mistake]) == 2
        assert says in capsys.readouterr().err

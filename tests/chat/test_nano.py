"""What people do with gpt-oss today, done with nano: the questions they meet first, and the rows of the guide."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harmonium import LLM, Reply, SamplingParams
from harmonium.chat.events import Done, FinishReason
from harmonium.errors import BadRequest
from harmonium.harmony.messages import Channel
from harmonium.harmony.parse import parse

QUESTIONS = json.loads((Path(__file__).parents[1] / "first_questions.json").read_text("utf-8"))
SIGNS = {
    "ja": r"[ぁ-ん]",
    "fr": r"\b(le|la|les|lettre|lettres|mot|est|dans|capitale|donc)\b",
    "en": r"\b(so|is|at|The|I|it|up)\b",
}
"""What only an analysis in that language has; English ones may have none of the others'."""


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM()


def get_current_weather(location: str) -> str:
    """Returns the current weather at a location.

    Args:
        location: The city to get the weather for.
    """
    return "Terrestrial."


def same(call: str, wanted: str) -> bool:
    """Equal as JSON, or to the letter where they are code."""
    try:
        return bool(json.loads(call) == json.loads(wanted))
    except ValueError:
        return call.strip() == wanted.strip()


@pytest.fixture(scope="module")
def answers(llm: LLM) -> dict[str, Reply]:
    """Replies to the questions that need no tool, made in one batch."""
    plain = [question for question in QUESTIONS if not question["calls"]]
    assert all((q["tools"], q["builtin_tools"], q["effort"]) == ([], [], "medium") for q in plain)
    replies = llm.chat([question["messages"] for question in plain])
    return {question["name"]: reply for question, reply in zip(plain, replies, strict=True)}


def check(question: dict[str, Any], reply: Reply, reasoning: str) -> None:
    assert reply.finish_reason is FinishReason.STOP and not reply.repairs
    for part in question["final"]["contains"]:
        assert re.search(rf"(?<!\d){re.escape(part)}(?!\d)", reply.text), reply.text
    language = question["analysis_language"]
    assert re.search(SIGNS[language], reasoning)
    others = [] if language != "en" else [SIGNS["ja"], r"\b(donc|lettre|mot|capitale|Wort|Hauptstadt|palabra|letra)\b"]
    assert not any(re.search(other, reasoning) for other in others), reasoning


@pytest.mark.parametrize("question", [q for q in QUESTIONS if not q["calls"]], ids=lambda question: question["name"])
def test_first_questions(answers: dict[str, Reply], question: dict[str, Any]) -> None:
    reply = answers[question["name"]]
    check(question, reply, reply.reasoning)


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q["calls"]], ids=lambda question: question["name"])
def test_first_questions_with_tools(llm: LLM, question: dict[str, Any]) -> None:
    """Each call is answered with the oracle's result."""
    told = {name: question[name] for name in ("tools", "builtin_tools", "effort")}
    messages, reasoning = list(question["messages"]), ""
    for wanted in question["calls"]:
        reply = llm.chat(messages, **told)
        reasoning += reply.reasoning
        assert reply.finish_reason is FinishReason.TOOL_CALLS, reply
        [call] = reply.pending_calls
        assert call.name == wanted["name"].removeprefix("functions.")
        assert same(call.arguments, wanted["arguments"])
        messages += [*reply.messages, call.answer(wanted["result"])]
    reply = llm.chat(messages, **told)
    check(question, reply, reasoning + reply.reasoning)


def test_nano_is_greedy_unless_told_otherwise(llm: LLM) -> None:
    assert llm.name == "nano" and llm.sampling.temperature == 0 and llm.context == 131_072
    question = "What is the capital of Australia?"
    assert llm.chat(question).token_ids == llm.chat(question, temperature=0).token_ids


def test_a_python_function_is_run_and_its_result_read(llm: LLM) -> None:
    reply = llm.chat("What is the weather like in Madrid?", tools=[get_current_weather])
    assert [json.loads(call.arguments) for call in reply.tool_calls] == [{"location": "Madrid"}]
    assert [result.text for result in reply.tool_results] == ["Terrestrial."]
    assert "Terrestrial" in reply.text and reply.pending_calls == ()
    described = [(m.author.name, m.channel, m.recipient, m.content_type) for m in reply.messages if m.recipient]
    assert described == [
        (None, Channel.COMMENTARY, "functions.get_current_weather", "<|constrain|>json"),
        ("functions.get_current_weather", Channel.COMMENTARY, "assistant", None),
    ]


def test_reasoning_and_answer_come_apart_and_stream_alike(llm: LLM) -> None:
    question = "How many r's are in the word 'strawberry'?"
    reply, events = llm.chat(question), list(llm.stream(question))
    assert "3" in reply.text and reply.reasoning and reply.text not in reply.reasoning
    assert Reply.of(events) == reply and isinstance(events[-1], Done)
    assert reply.usage.prompt == len(llm.render(question))
    assert reply.usage.completion == len(reply.token_ids) > reply.usage.reasoning > 0
    assert [message.channel for message in reply.messages] == [Channel.ANALYSIS, Channel.FINAL]
    shown = llm.decode(reply.token_ids)
    assert shown.endswith("<|return|>") and "<|" not in reply.text + llm.decode(
        reply.token_ids, skip_special_tokens=True
    )


def test_ids_in_and_ids_out(llm: LLM) -> None:
    prompt = llm.render([{"role": "user", "content": "2 + 2 * 3 = ?"}], effort="low")
    [ids] = llm.generate([prompt], SamplingParams(temperature=0, max_tokens=256))
    whole = llm.chat([{"role": "user", "content": "2 + 2 * 3 = ?"}], effort="low")
    assert tuple(ids) == whole.token_ids
    assert parse(ids, llm.vocabulary).messages == whole.messages
    text = llm.render("2 + 2 * 3 = ?", effort="low", as_text=True)
    assert llm.complete(text, parse_special=True) == llm.decode(ids)


def test_lists_in_lists_out(llm: LLM) -> None:
    questions = [f"What is {n} + {n}?" for n in (12, 34, 56)]
    replies = llm.chat(questions)
    assert [str(2 * n) in reply.text for n, reply in zip((12, 34, 56), replies, strict=True)] == [True] * 3
    texts = llm.complete(["San Francisco is a", "The capital of France is"], max_tokens=8)
    assert len(texts) == 2 and all(isinstance(text, str) for text in texts)


def test_a_conversation_goes_on(llm: LLM) -> None:
    messages: list[Any] = [{"role": "user", "content": "How many n's are in the word 'banana'?"}]
    reply = llm.chat(messages)
    messages += [*reply.messages, {"role": "user", "content": "and in pineapple?"}]
    assert "2" in reply.text and "1" in llm.chat(messages).text


def test_one_seed_and_one_prompt_give_one_answer(llm: LLM) -> None:
    replies = llm.chat(["What is the capital of Australia?"] * 4, temperature=1.0, seed=1)
    assert len({reply.token_ids for reply in replies}) == 1
    assert replies[0].finish_reason is FinishReason.STOP and replies[0].text


def test_a_grammar_that_outgrows_its_limits_is_the_callers(llm: LLM) -> None:
    format_ = {"type": "grammar", "syntax": "regex", "definition": "(.*[aeio].{0,60}){9}x"}
    with pytest.raises(BadRequest, match=r"any further: .*Write it so that"):
        llm.chat("Write a long poem.", response_format=format_, max_tokens=200, temperature=0)

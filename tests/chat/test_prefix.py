"""What a conversation has said is not computed again: counted, over turns, calls and dropped reasoning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harmonium.chat.llm import LLM
from harmonium.engine.batch import Inputs
from harmonium.model.config import PAGE_SIZE

QUESTIONS = (
    "How many r's are in the word 'strawberry'?",
    "And in 'raspberry'?",
    "What is the capital of Australia?",
    "Write a short poem about rain, and then one about the sun.",
    "What is 17 * 23?",
    "Thank you.",
)


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM(nano)


@pytest.fixture
def computed(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many ids each step computed."""
    run, counts = llm.engine._runner.run, []

    def counting(inputs: Inputs) -> Any:
        counts.append(len(inputs.ids))
        return run(inputs)

    monkeypatch.setattr(llm.engine._runner, "run", counting)
    llm.engine.cache.forget_idle()
    yield counts


def n_common(a: list[int], b: list[int]) -> int:
    """Ids that both begin with, in whole pages, but for the last id of b: that one is always computed."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return min(n, len(b) - 1) // PAGE_SIZE * PAGE_SIZE


def test_a_turn_computes_what_follows_the_common_beginning(llm: LLM, computed: list[int]) -> None:
    messages: list[Any] = []
    known: list[int] = []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        prompt = llm.render(messages)
        expected = n_common(known, prompt)
        computed.clear()
        reply = llm.chat(messages, max_tokens=300)
        n_steps = len(reply.token_ids) - 1  # the last id was never an input
        assert reply.usage.cached == expected and sum(computed) == len(prompt) - expected + n_steps
        assert not known or n_common(known, prompt) < len(known) - PAGE_SIZE, "reasoning was dropped"
        known = [*prompt, *reply.token_ids[:-1]]
        messages.append({"role": "assistant", "content": reply.text, "reasoning": reply.reasoning})
    assert expected > 200


def test_after_many_other_requests_the_conversation_is_still_there(llm: LLM, computed: list[int]) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTIONS[3]}]
    reply = llm.chat(messages, max_tokens=300)
    messages += [{"role": "assistant", "content": reply.text}, {"role": "user", "content": QUESTIONS[4]}]
    n_known = n_common(llm.render(messages[:1]), llm.render(messages))
    for n in range(3):
        llm.generate([llm.vocabulary.encode(f"{n} and so on, {n} and so on. " * 400)[:3000]], max_tokens=1)
    assert llm.chat(messages, max_tokens=1).usage.cached == n_known, "longer than all sliding pages together"


def test_a_round_computes_the_result_of_the_call_alone(llm: LLM, computed: list[int]) -> None:
    def get_weather(city: str) -> str:
        """The current weather in a city.

        Args:
            city: the city's name
        """
        return "14 degrees, light rain"

    reply = llm.chat("What is the weather in Paris?", tools=[get_weather])
    assert reply.tool_results
    first, second = computed[0], max(computed[1:])  # the others are ids that were drawn, and what follows them anyway
    assert second < 2 * PAGE_SIZE + len(llm.vocabulary.encode("14 degrees, light rain")) + 16
    assert reply.usage.cached == max(0, reply.usage.prompt - first - second)
    computed.clear()
    again = llm.chat("What is the weather in Paris?", tools=[get_weather])
    assert again.text == reply.text and again.usage.prompt - again.usage.cached <= 2 * PAGE_SIZE

"""Reasoning that goes round in circles is closed when asked to; what only counts is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harmonium import LLM
from harmonium.engine import repetition
from harmonium.engine.constraint import TableConstraint, set_bits
from harmonium.engine.repetition import SHORTEST
from harmonium.harmony.messages import Channel
from harmonium.harmony.vocabulary import Vocabulary
from tests.chat.conftest import chain

BUDGET = {"reasoning_budget": 100}


def test_a_loop_of_reasoning_is_stopped(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that can think of one word alone, and not stop: its reasoning is closed when asked to, and said to be."""
    add = llm.engine.add
    monkeypatch.setattr(llm.engine, "add", lambda ids, params, given: add(ids, params, stuck(given, ord("a"))))
    options: dict[str, Any] = {"seed": 1, "temperature": 1.0, "max_tokens": 600}
    free, stopped, cut = (
        llm.chat("Hi", **options, **more) for more in ({}, {"stop_loops": True}, {"stop_loops": True, **BUDGET})
    )
    assert not free.is_reasoning_cut and not free.is_reasoning_loop and not free.text
    assert stopped.is_reasoning_loop and stopped.is_reasoning_cut and not stopped.repairs
    assert len(stopped.reasoning) == 256 and stopped.text
    assert cut.is_reasoning_cut and not cut.is_reasoning_loop and len(cut.reasoning) == BUDGET["reasoning_budget"]


def stuck(constraint: TableConstraint, character: int) -> TableConstraint:
    """The constraint without any other text, nor an end of reasoning."""
    table = constraint.table
    state = np.flatnonzero(table.exits >= 0)[0]
    [at] = range(table.edge_starts[state], table.edge_starts[state + 1])
    masks, tokens, nexts = np.zeros_like(table.masks), table.edge_tokens.copy(), table.edge_nexts.copy()
    tokens[at], nexts[at] = character - 33, state  # the vocabulary begins with the printable characters
    set_bits(masks[0].view(np.int32), [character - 33], is_allowed=True)
    return replace(constraint, table=replace(table, masks=masks, edge_tokens=tokens, edge_nexts=nexts))


def test_what_does_not_loop_is_left_alone(llm: LLM, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasoning longer than what is looked at, every id of it seen by the watch: counting is no repetition."""
    thought = " ".join(f"{n}, {n * n % 97}." for n in range(200))
    ids = vocabulary.encode(f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant", parse_special=True)
    add, seen = llm.engine.add, list[int]()

    def scripted(prompt: Any, params: Any, given: TableConstraint) -> int:
        watch = given.watch
        assert watch is not None

        def shown(id_: int) -> bool:
            seen.append(id_)
            return watch(id_)

        line = chain([*ids, *vocabulary.encode("<|channel|>final<|message|>Hi<|return|>", parse_special=True)])
        budgeted = replace(line.table, exits=thinking(line.table.exits, len(ids)))
        return add(prompt, params, replace(line, table=budgeted, watch=shown))

    monkeypatch.setattr(llm.engine, "add", scripted)
    reply = llm.chat("Count.", stop_loops=True, max_tokens=3000)
    assert reply.reasoning == thought and reply.text == "Hi" and not reply.is_reasoning_loop
    assert len(seen) > 4 * SHORTEST


@pytest.mark.parametrize("options", [{"reasoning_budget": 5}, {"stop_loops": True}])
def test_reasoning_without_a_text_comes_to_an_end(
    llm: LLM, vocabulary: Vocabulary, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that always begins to reason, and says nothing: the ends are charged, and seen as a loop."""
    monkeypatch.setattr(repetition, "SHORTEST", 32)
    wish = {vocabulary.encode_fixed("analysis")[0]: 50.0, vocabulary.control.end: 100.0}
    free = llm.chat("Hi", logit_bias=wish, max_tokens=600)
    assert not free.text and free.usage.reasoning > 590
    reply = llm.chat("Hi", logit_bias=wish, max_tokens=3000, **options)
    thoughts = [message for message in reply.messages if message.channel == Channel.ANALYSIS]
    assert reply.is_reasoning_cut and reply.messages[-1].channel == Channel.FINAL and not reply.repairs
    assert len(thoughts) == options.get("reasoning_budget", 32)


def thinking(exits: np.ndarray[Any, np.dtype[np.int32]], n: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The first n states budgeted, with the state behind them as their exit."""
    given = exits.copy()
    given[:n] = n
    return given

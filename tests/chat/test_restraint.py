"""What an LLM says under its rules, at any temperature: the frame, the tools, the formats, the budget."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from harmonium import LLM, Reply
from harmonium.chat.events import Done, FinishReason
from harmonium.chat.restraint import Compiler, Restraint, Rules, Tools
from harmonium.engine.constraint import Cursor, TableConstraint
from harmonium.engine.table_arena import TableArena
from harmonium.errors import BadRequest
from harmonium.harmony.automaton import Offer
from harmonium.harmony.convert import conversation
from harmonium.harmony.header import RepairKind
from harmonium.harmony.messages import Channel, Conversation, Message, SystemContent, ToolSpec
from harmonium.harmony.render import render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from recipes.nano.curriculum import exam
from recipes.nano.drill import Drill
from tests.chat.conftest import VOCAB_SIZE

ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 6}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER = ToolSpec("weather", "Tells the weather.", ARGUMENTS, strict=True)
NOW = ToolSpec("now", "Tells the time.")
LARK = {"type": "grammar", "syntax": "lark"}
BUDGET = {"reasoning_budget": 100}
WILD: dict[str, Any] = {"temperature": 2.0, "max_tokens": 80}
SKILLS = ("tool_call", "two_calls", "no_call", "python", "browser", "arithmetic", "reasoning_language")


@pytest.fixture(scope="module")
def nano_llm(nano: Path) -> LLM:
    return LLM()


@pytest.fixture(scope="module")
def drills() -> list[Drill]:
    return [drill for skill in SKILLS for drill in exam(skill, 2)]


def given(drill: Drill) -> Conversation:
    return Conversation(drill.conversation.messages[: drill.n_given])


@pytest.fixture(scope="module")
def compiler(vocabulary: Vocabulary) -> Compiler:
    return Compiler(vocabulary, VOCAB_SIZE)


@pytest.mark.parametrize("budget", [None, 0, 3])
def test_the_device_steps_as_the_host_does(compiler: Compiler, vocabulary: Vocabulary, budget: int | None) -> None:
    """Random turns on the arena and on the cursor: the same masks, states and spending all the way."""
    said = conversation("Hi", tools=[{"name": "weather"}, NOW], builtin_tools=["python"])
    constraint = Restraint(said, Rules(reasoning_budget=budget), compiler).constraint(0, 0)
    arena, random = TableArena(VOCAB_SIZE, torch.device("cpu")), Random(budget)
    arena.acquire(constraint.table)
    base = arena.base(constraint.table)
    budgets = torch.tensor([constraint.budget]) if constraint.budget is not None else None
    for _ in range(25):
        cursor = Cursor(constraint)
        spent, ended = torch.tensor([0]), vocabulary.stop_ids
        state, id_ = torch.tensor([base + cursor.state]), -1
        while id_ not in ended:
            rows = arena.look(state)
            forbidden = np.zeros(VOCAB_SIZE, np.bool_)
            cursor.forbid(forbidden)
            assert arena.mask(torch.zeros(1, VOCAB_SIZE), rows)[0].isneginf().tolist() == forbidden.tolist()
            edges = list(constraint.table.edges[cursor.state])
            allowed = np.flatnonzero(~forbidden).tolist()
            id_ = random.choice(edges if random.random() < 0.3 and edges else allowed)
            state, spent = arena.step(rows, spent, budgets, torch.tensor([id_]))
            cursor.advance(id_)
            assert state.item() == base + cursor.state
            assert budget is None or spent.item() == cursor.spent


def test_the_same_tools_share_a_table(compiler: Compiler) -> None:
    one, other = (Restraint(conversation(text, tools=[WEATHER, NOW]), Rules(), compiler) for text in ("Hi", "Ho"))
    assert one.constraint(0, 0).table is other.constraint(3, 0).table
    assert Restraint(conversation("Hi"), Rules(), compiler).constraint(0, 0).table is not one.constraint(0, 0).table


def test_drills_pass(nano_llm: LLM, drills: list[Drill]) -> None:
    """Every turn that nano learns is one that it may say."""
    vocabulary, n_turns = nano_llm.vocabulary, 0
    compiler = Compiler(vocabulary, vocabulary.size)
    for drill in drills:
        allowed = Restraint(drill.conversation, Rules(), compiler).constraint(0, 0)
        cursor = Cursor(allowed)
        ids, codes = render_for_training(drill.conversation, vocabulary, drill.n_given)
        for id_, code, before in zip(ids, codes, [0, *codes], strict=False):
            if code and not before:
                cursor, n_turns = Cursor(allowed), n_turns + 1
            if code:
                cursor.advance(id_)  # asserts that it is allowed
    assert n_turns >= len(drills)


def test_greedy_answers_stay_what_they_were(nano_llm: LLM, drills: list[Drill]) -> None:
    asked = [given(drill) for drill in drills[::3]]
    options: dict[str, Any] = {"temperature": 0.0, "run_tools": False, "max_tokens": 80}
    free = nano_llm.chat(asked, constrained=False, **options)
    same = [a.token_ids == b.token_ids for a, b in zip(nano_llm.chat(asked, **options), free, strict=True)]
    assert sum(not reply.repairs for reply in free) >= len(asked) - 1
    assert all(is_same or reply.repairs for is_same, reply in zip(same, free, strict=True))


def test_hot_answers_are_well_formed(nano_llm: LLM, drills: list[Drill]) -> None:
    asked = [given(drill) for drill in drills]
    replies = nano_llm.chat(asked, run_tools=False, seed=1, **WILD)
    for said, reply in zip(asked, replies, strict=True):
        check(reply, Tools.of(said))
    assert any(reply.tool_calls for reply in replies) and any(reply.text for reply in replies)


def check(reply: Reply, tools: Tools) -> None:
    """No repair but that of a header which the limit cut, and no tool that is not there."""
    is_cut = reply.finish_reason is FinishReason.LENGTH
    assert all(is_cut and repair.kind == RepairKind.CUT_HEADER for repair in reply.repairs), reply
    assert all(tools.has(call.name) for call in reply.tool_calls)
    assert is_cut or bool(reply.tool_calls) == (reply.finish_reason is FinishReason.TOOL_CALLS)


@pytest.mark.parametrize("choice", ["none", "required", {"type": "function", "function": {"name": "now"}}])
def test_tool_choice(nano_llm: LLM, choice: Any) -> None:
    tools = [replace(WEATHER, strict=False), NOW]
    options: dict[str, Any] = {"tools": tools, "tool_choice": choice, **WILD}
    replies = nano_llm.chat([f"What is the weather in city {n}?" for n in range(5)], seed=2, **options)
    names = {call.name for reply in replies for call in reply.tool_calls}
    whole = [reply for reply in replies if reply.finish_reason is not FinishReason.LENGTH]
    assert len(whole) >= 2
    if choice == "none":
        assert not names and all(reply.text for reply in whole)
    else:
        assert all(reply.tool_calls and not reply.text for reply in whole)
        assert names <= ({"weather", "now"} if choice == "required" else {"now"})
    for reply in replies:
        check(reply, Tools((WEATHER, NOW), ()))


def test_a_required_call_is_the_first_alone(nano_llm: LLM) -> None:
    """Once the function has run the model may answer."""

    def get_current_weather(location: str) -> str:
        """Returns the current weather at a location."""
        return "Sunny."

    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 500}
    for choice in ("required", "get_current_weather"):
        reply = nano_llm.chat("What is 2 + 2?", tools=[get_current_weather], tool_choice=choice, **options)
        assert reply.finish_reason is FinishReason.STOP and reply.text and reply.tool_results
        assert reply.tool_calls[0].name == "get_current_weather" and not reply.pending_calls


def test_functions_of_any_name(llm: LLM) -> None:
    """Called by the name that was declared, strict or not, though the header spells it in another way."""
    tools = [ToolSpec("look up", "", ARGUMENTS, strict=True), ToolSpec("look_up"), ToolSpec("what?")]
    said = conversation("Hi", tools=tools)
    for choice in ("look up", "look_up", "what?"):
        options: dict[str, Any] = {"tool_choice": choice, "reasoning_budget": 0, "max_tokens": 300, "seed": 4}
        replies = llm.chat([said] * 3, temperature=1.0, **options)
        assert {message.recipient for reply in replies for message in reply.messages} == {f"functions.{choice}"}
        calls = [call for reply in replies for call in reply.pending_calls]
        assert all(call.name == choice for call in calls)
        if choice == "look up":
            assert len(calls) >= 2 and all(json.loads(call.arguments)["unit"] in "CF" for call in calls)


@pytest.mark.parametrize("name", ["auto", "none", "required", "functions.f"])
def test_a_function_may_have_the_name_of_a_mode_or_of_a_recipient(name: str, llm: LLM) -> None:
    """Chosen by an object that names it, as both APIs write it, it has to be called, and no other."""
    tools = [ToolSpec(name), ToolSpec("f"), ToolSpec("other")]
    said = conversation("Hi", tools=tools)
    for choice in ({"type": "function", "function": {"name": name}}, {"type": "function", "name": name}):
        reply = llm.chat(said, tool_choice=choice, reasoning_budget=0, max_tokens=30, temperature=1.0, seed=1)
        assert [message.recipient for message in reply.messages] == [f"functions.{name}"]


def test_a_builtin_tool_and_a_function_of_its_name(llm: LLM, say: Callable[..., None]) -> None:
    """In a conversation that offers both, each call goes where its header says."""
    ran = []

    def python() -> str:
        """Runs nothing."""
        ran.append(1)
        return "ran"

    said = conversation("Hi", builtin_tools=["python"], tools=[python])
    say("<|channel|>analysis to=python code<|message|>{}<|call|>")
    reply = llm.chat(said, tools=[python])
    assert not ran and reply.finish_reason is FinishReason.TOOL_CALLS and reply.pending_calls
    end = "<|channel|>final<|message|>Hi<|return|>"
    say(" to=functions.python<|channel|>commentary json<|message|>{}<|call|>", end)
    assert llm.chat(said, tools=[python]).text == "Hi" and ran


def test_channels_are_those_that_the_system_message_names(llm: LLM) -> None:
    system = Message.system(SystemContent(channels=(Channel.FINAL,)))
    options: dict[str, Any] = {"temperature": 1.0, "max_tokens": 200, "seed": 5}
    for reply in llm.chat([Conversation((system, Message.user(f"Hi {n}"))) for n in range(4)], **options):
        assert {message.channel for message in reply.messages} == {Channel.FINAL}


def test_formats_hold(llm: LLM) -> None:
    """A model that knows nothing answers in valid JSON; its reasoning is free."""
    told = {"type": "json_schema", "json_schema": {"name": "place", "schema": ARGUMENTS}}
    replies = llm.chat(
        ["Where?"] * 12, response_format=told, reasoning_budget=5, temperature=1.0, max_tokens=300, seed=3
    )
    whole = [reply for reply in replies if reply.finish_reason is FinishReason.STOP]
    assert len(whole) >= 10
    for reply in whole:
        value = json.loads(reply.text)
        assert set(value) == {"city", "unit"} and len(value["city"]) <= 6 and value["unit"] in "CF"
    assert all(reply.finish_reason is FinishReason.LENGTH for reply in replies if reply not in whole)
    number = {"type": "grammar", "syntax": "regex", "definition": "[1-9][0-9]{2,4}"}
    for reply in llm.chat(["When?"] * 4, response_format=number, reasoning_budget=2, temperature=1.0, max_tokens=200):
        assert re.fullmatch("[1-9][0-9]{2,4}", reply.text) or reply.finish_reason is FinishReason.LENGTH


def test_strict_arguments_hold(llm: LLM) -> None:
    options: dict[str, Any] = {"tools": [WEATHER, NOW], "tool_choice": "weather", "reasoning_budget": 0}
    replies = llm.chat(["Where?"] * 10, temperature=1.0, max_tokens=300, **options)
    calls = [call for reply in replies for call in reply.pending_calls]
    assert len(calls) >= 8
    for call in calls:
        value = json.loads(call.arguments)
        assert call.name == "weather" and set(value) == {"city", "unit"} and value["unit"] in "CF"


def test_arguments_that_are_held_to_what_can_be_enforced(llm: LLM) -> None:
    """strict=None: the rest of the schema is left out, and where nothing of it can be read it is JSON all the same."""
    unheld = ToolSpec("weather", "", ARGUMENTS | {"uniqueItems": True, "not": {"required": ["x"]}}, strict=None)
    unread = ToolSpec("now", "", {"$ref": "https://example.com/elsewhere"}, strict=None)
    options: dict[str, Any] = {"temperature": 1.0, "max_tokens": 300, "reasoning_budget": 0, "seed": 3}
    for tool, keys in ((unheld, {"city", "unit"}), (unread, None)):
        replies = llm.chat(["Where?"] * 6, tools=[tool], tool_choice=tool.name, **options)
        calls = [call for reply in replies for call in reply.pending_calls]
        assert len(calls) >= 3
        for call in calls:
            value = json.loads(call.arguments)
            assert isinstance(value, dict) and (keys is None or set(value) == keys)
        with pytest.raises(BadRequest, match=f"The strict tool '{tool.name}' cannot be enforced"):
            llm.chat("Where?", tools=[replace(tool, strict=True)])


@pytest.mark.parametrize("parameters", [{}, {"nullable": True}, {"type": ["object", "string"]}], ids=str)
def test_strict_arguments_are_an_object(parameters: dict[str, Any], compiler: Compiler, vocabulary: Vocabulary) -> None:
    tool = ToolSpec("f", "", parameters, strict=True)
    made = Restraint(conversation("Hi", tools=[tool]), Rules(), compiler).constraint(0, 0).matchers[0]()
    allowed = np.unpackbits(made.mask().view(np.uint8), bitorder="little").nonzero()[0]
    texts = {vocabulary.decode([id_]) for id_ in map(int, allowed)}
    assert texts and all(text.lstrip().startswith("{") or not text.strip() for text in texts)


def test_a_reasoning_budget(nano_llm: LLM) -> None:
    question = "How many r's are in the word 'strawberry'?"
    free = nano_llm.chat(question, temperature=0.0)
    n_free = len(nano_llm.vocabulary.encode(free.reasoning))
    assert not free.is_reasoning_cut and n_free > 8
    for budget in (5, 1):
        events = list(nano_llm.stream(question, temperature=0.0, reasoning_budget=budget))
        done, reply = events[-1], Reply.of(events)
        assert isinstance(done, Done) and done.is_reasoning_cut and reply.is_reasoning_cut
        thought = nano_llm.vocabulary.encode(free.reasoning)[:budget]
        assert nano_llm.vocabulary.encode(reply.reasoning) == thought
        assert reply.text and not reply.repairs and reply.finish_reason is FinishReason.STOP
    none = nano_llm.chat(question, temperature=0.0, reasoning_budget=0)
    assert not none.reasoning and none.text and none.usage.reasoning == 0
    ample = nano_llm.chat(question, temperature=0.0, reasoning_budget=n_free + 1)
    assert ample.token_ids == free.token_ids and not ample.is_reasoning_cut


def test_the_last_token_of_a_budget(nano_llm: LLM) -> None:
    """Reasoning that takes all of it has been closed for the model, unless max_tokens cut it at that very token."""
    question = "How many r's are in the word 'strawberry'?"
    free = nano_llm.chat(question, temperature=0.0)
    header, n_thought = 3, len(nano_llm.vocabulary.encode(free.reasoning))
    options: dict[str, Any] = {"temperature": 0.0, "reasoning_budget": n_thought}
    exact = nano_llm.chat(question, **options)
    assert exact.token_ids == free.token_ids, "it ended there by itself"
    assert exact.is_reasoning_cut and not free.is_reasoning_cut, "which nobody can know who forced it to"
    for n_more, is_closed in ((-1, False), (0, False), (1, True)):
        cut = nano_llm.chat(question, **options, max_tokens=header + n_thought + n_more)
        assert cut.finish_reason is FinishReason.LENGTH and cut.is_reasoning_cut == is_closed
        assert len(nano_llm.vocabulary.encode(cut.reasoning)) == n_thought + min(n_more, 0)


def test_a_budget_is_for_all_rounds(compiler: Compiler) -> None:
    rules = Restraint(conversation("Hi", tools=[NOW]), Rules(reasoning_budget=10), compiler)
    spent: list[tuple[TableConstraint, int | None]] = [
        (c, c.budget) for c in map(rules.constraint, (0, 1, 2), (0, 4, 12))
    ]
    assert [left for _, left in spent] == [10, 6, 0]
    assert spent[0][0].start == spent[1][0].start != spent[2][0].start
    assert [rules.is_spent(n) for n in (0, 9, 10)] == [False, False, True]


def test_without_restraint_anything_goes(nano_llm: LLM, drills: list[Drill]) -> None:
    replies = nano_llm.chat(
        [given(drill) for drill in drills[:6]], run_tools=False, constrained=False, temperature=4.0, max_tokens=20
    )
    assert any(reply.repairs for reply in replies)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tool_choice": "required"}, "no tools"),
        ({"tool_choice": "later", "tools": [NOW]}, "no tool here"),
        ({"tool_choice": 3, "tools": [NOW]}, "tool_choice is"),
        ({"reasoning_budget": -1}, "reasoning_budget"),
        ({"constrained": "no"}, "constrained is 'no'; give True or False"),
        ({"stop_loops": "no"}, "stop_loops is 'no'; give True or False"),
        ({"run_tools": 0}, "run_tools is 0; give True or False"),
        ({"tools": [ToolSpec("python")], "builtin_tools": ["python"]}, "'python' is a builtin tool.*rename"),
        ({"tools": [ToolSpec("browser.open")], "builtin_tools": ["browser"]}, "'browser.open' is a builtin tool"),
        ({"reasoning_budget": True}, "reasoning_budget"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {**LARK, "definition": 'start: "a" <|channel|> "b"'}}, "special token"),
        ({"response_format": {**LARK, "definition": r"start: /[^\s\S]/"}}, "cannot be enforced: No text"),
        ({"response_format": {**LARK, "definition": 'start: "\ud800"'}}, "surrogate"),
        ({"response_format": {"type": "grammar", "syntax": "regex", "definition": "("}}, "cannot be enforced"),
        ({"tools": [ToolSpec("f", "", {"type": "object", "not": {}}, strict=True)]}, "strict tool 'f'"),
        ({"tools": [ToolSpec("f", "", {"type": "array"}, strict=True)]}, "strict tool 'f' has parameters.*no object"),
        ({"constrained": False, "reasoning_budget": 3}, "constrained=False"),
        ({"constrained": False, "response_format": {"type": "json_object"}}, "constrained=False"),
        ({"constrained": False, "tool_choice": "none"}, "constrained=False"),
        ({"constrained": False, "stop_loops": True}, "constrained=False"),
    ],
)
def test_mistakes(llm: LLM, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        llm.chat("Hi", max_tokens=1, **options)


def test_a_request_takes_little_memory(vocabulary: Vocabulary) -> None:
    """Its table with all that steps it on the host, its place in it, and a body's matcher: 256 KB at most, at the rows
    of gpt-oss. What all tables share is made once."""
    compiler, names = Compiler(vocabulary, 201_088), [f"{verb}_{n}" for verb in ("get", "set") for n in range(150)]
    strict = replace(WEATHER, name="strict")
    assert Restraint(conversation("Hi", tools=[strict]), Rules(), compiler).constraint(0, 0).table.forbidden
    tracemalloc.start()
    forbidden = np.zeros(201_088, np.bool_)
    said = conversation("Hi", tools=[strict, *map(ToolSpec, names)], builtin_tools=["python", "browser"])
    constraint = Restraint(said, Rules(), compiler).constraint(0, 0)
    before, _ = tracemalloc.get_traced_memory()
    cursor = Cursor(constraint)
    taken = tracemalloc.get_traced_memory()[0] - before
    cursor.forbid(forbidden)
    one, other = (table.forbidden for table in (constraint.table, compiler.table(Offer())[1]))
    matcher = constraint.matchers[0]()
    matcher.mask()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert one[0] is other[0] and one[-1] is other[-1], "shared"
    assert constraint.table.n_bytes + held < 256 * 1024
    arrays = sum(array.nbytes for array in compiler.table(Offer())[0].arrays)
    assert compiler.table(Offer())[1].n_bytes > arrays and constraint.table.n_bytes > taken > 0, "edges are counted"

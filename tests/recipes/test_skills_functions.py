"""Function tools in nano's curriculum: calls fit what was declared and can be read off the prompt; a clean split."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from functools import cache
from random import Random
from statistics import median
from typing import Any

import pytest

from harmonium.harmony.messages import (
    Channel,
    Conversation,
    DeveloperContent,
    Effort,
    Message,
    Role,
    SystemContent,
    ToolSpec,
)
from harmonium.harmony.render import render, render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model.hub import NANO_FOLDER
from recipes.nano.drill import Answer, Drill
from recipes.nano.scene import FIRST_QUESTIONS
from recipes.nano.skills.function_dialogs import dialog
from recipes.nano.skills.function_library import CHAINS, FAMILIES, Family
from recipes.nano.skills.function_results import plain
from recipes.nano.skills.function_scenes import demo
from recipes.nano.skills.function_values import KINDS, NUMBER_WORDS
from recipes.nano.skills.function_words import DAYS, SHORT_CITIES
from recipes.nano.skills.functions import SKILLS
from recipes.nano.words import is_held_out

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
}
DEMO = {function.spec.name for function in demo()}
SPELLED = dict(enumerate(NUMBER_WORDS))


@cache
def drills(name: str, held_out: bool = False, n: int = 250) -> list[Drill]:
    random = Random(f"{name} {held_out}")
    return [SKILLS[name](random, held_out=held_out) for _ in range(60 if held_out else n)]


def tools(drill: Drill) -> dict[str, ToolSpec]:
    contents = (part for message in drill.conversation.messages for part in message.content)
    return {
        f"functions.{tool.name}": tool for part in contents if isinstance(part, DeveloperContent) for tool in part.tools
    }


def calls(drill: Drill) -> list[Message]:
    return [message for message in drill.conversation.messages if message.recipient not in (None, "assistant")]


def question(drill: Drill) -> str:
    return [message.text for message in drill.conversation.messages if message.role is Role.USER][-1]


def own_answer(drill: Drill) -> Answer:
    said = [m for m in drill.conversation.messages[drill.n_given :] if m.role is Role.ASSISTANT]
    final = said[-1].text if said[-1].channel is Channel.FINAL else ""
    analysis = "".join(message.text for message in said if message.channel is Channel.ANALYSIS)
    made = tuple((message.recipient or "", message.text) for message in said if message.recipient)
    return Answer(analysis, final, made)


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    items = value if isinstance(value, list) else []
    return value in schema.get("enum", [value]) and all(fits(item, schema["items"]) for item in items)


@pytest.mark.parametrize("name", SKILLS)
def test_a_seed_decides_everything(name: str) -> None:
    first, second = ([SKILLS[name](random, held_out=False) for _ in range(40)] for random in (Random(3), Random(3)))
    assert [drill.conversation for drill in first] == [drill.conversation for drill in second]


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("name", SKILLS)
def test_calls_fit_a_declared_function(name: str, held_out: bool) -> None:
    for drill in drills(name, held_out):
        declared = tools(drill)
        assert 1 <= len(declared) <= 4
        for call in calls(drill):
            assert call.channel is Channel.COMMENTARY and call.content_type == "<|constrain|>json"
            schema = declared[call.recipient or ""].parameters or {"properties": {}}
            arguments = json.loads(call.text)
            assert call.text == json.dumps(arguments, ensure_ascii=False)
            assert set(schema.get("required", ())) <= set(arguments) <= set(schema["properties"])
            assert [key for key in schema["properties"] if key in arguments] == list(arguments)
            assert all(fits(value, schema["properties"][key]) for key, value in arguments.items()), (schema, arguments)


@pytest.mark.parametrize("name", ["tool_call", "tool_result", "two_calls"])
def test_every_value_can_be_read_off_what_came_before(name: str) -> None:
    shortened: dict[str, list[str]] = {}
    for short, city in SHORT_CITIES.items():
        shortened.setdefault(city, []).append(short)
    for drill in drills(name):
        for index, message in enumerate(drill.conversation.messages):
            if message.recipient in (None, "assistant"):
                continue
            schema = (
                (tools(drill)[message.recipient or ""].parameters or {})["properties"] if message.text != "{}" else {}
            )
            said = "\n".join(m.text for m in drill.conversation.messages[:index] if m.role in (Role.USER, Role.TOOL))
            for key, value in json.loads(message.text).items():
                if "enum" in schema[key] or isinstance(value, bool):
                    continue
                for leaf in value if isinstance(value, list) else [value]:
                    ways = [plain(leaf), SPELLED.get(leaf, plain(leaf)), *shortened.get(leaf, ())]
                    assert any(way.lower() in said.lower() for way in ways), (leaf, said)


@pytest.mark.parametrize("name", SKILLS)
def test_a_judge_accepts_the_drills_own_answer_and_no_other(name: str) -> None:
    for held_out in (False, True):
        for drill in drills(name, held_out):
            own = own_answer(drill)
            assert drill.judge(own), (own, question(drill))
            if name == "tool_call":
                ((recipient, arguments),) = own.calls
                extra = json.dumps(json.loads(arguments) | {"more": 1})
                wrong = (("functions.other", arguments),), ((recipient, extra),), ((recipient, "{"),), own.calls * 2, ()
                assert not any(drill.judge(Answer("", own.final, made)) for made in wrong)
            else:
                assert not drill.judge(Answer(own.analysis, "Nothing came back.", own.calls))


def test_a_value_inside_a_longer_one_is_not_read() -> None:
    random = Random(8)
    n_seen = 0
    while n_seen < 20:
        drill = SKILLS["tool_result"](random, held_out=False)
        result = drill.conversation.messages[-3].text
        if result.isdigit():
            n_seen += 1
            final = own_answer(drill).final
            assert not drill.judge(Answer("", final.replace(result, f"{result}0")))
            assert not drill.judge(Answer("", final.replace(result, f"9{result}")))


def test_evaluation_of_a_call_ends_at_it_and_training_goes_on() -> None:
    assert all(drill.conversation.messages[-1].recipient for drill in drills("tool_call", True))
    ends = [drill.conversation.messages[-1].channel is Channel.FINAL for drill in drills("tool_call")]
    assert 0.5 < sum(ends) / len(ends) < 0.8
    for drill in drills("tool_result", True):
        assert drill.conversation.messages[drill.n_given - 1].role is Role.TOOL
    for drill in drills("two_calls", True):
        assert len(calls(drill)) == 2 and drill.conversation.messages[drill.n_given - 1].role is Role.USER


def test_nothing_is_called_where_no_call_is_needed() -> None:
    for drill in drills("no_call"):
        assert not any(message.recipient for message in drill.conversation.messages[drill.n_given :])
        own = own_answer(drill)
        if "gpt-oss-20b" in own.final:
            made = ((next(iter(tools(drill))), "{}"),)
            assert not drill.judge(Answer(own.analysis, own.final, made))


@pytest.mark.parametrize("held_out", [False, True])
def test_a_dialog_goes_on_after_its_calls(held_out: bool) -> None:
    random = Random(f"dialog {held_out}")
    last_calls, n_same, n_other = 0, 0, 0
    for _ in range(300):
        drill = dialog(random, "followups", held_out=held_out)
        given, learned = drill.conversation.messages[: drill.n_given], drill.conversation.messages[drill.n_given :]
        earlier = [message.recipient for message in given if message.recipient not in (None, "assistant")]
        made = [message.recipient for message in learned if message.recipient not in (None, "assistant")]
        assert given[-1].role is Role.USER and learned[-1].channel is Channel.FINAL and (earlier or made)
        assert len(made) <= 1 and set(earlier + made) <= set(tools(drill))
        assert drill.judge(own_answer(drill)) and not drill.judge(Answer("", "Nothing came back."))
        last_calls += bool(made)
        n_same += bool(made and earlier and made[0] == earlier[-1])
        n_other += bool(made and earlier and made[0] != earlier[-1])
    assert 100 < last_calls < 200 and n_same > 40 and n_other > 10


def test_training_sees_the_history_that_serving_renders() -> None:
    vocabulary, random = Vocabulary.from_file(NANO_FOLDER / "tokenizer.json"), Random("history")
    for _ in range(60):
        drill = dialog(random, "followups", held_out=False)
        prompt = render(Conversation(drill.conversation.messages[: drill.n_given]), vocabulary)
        learned, codes = render_for_training(drill.conversation, vocabulary, learn_from=drill.n_given)
        assert learned[: len(prompt)] == prompt and not any(codes[: len(prompt)]) and codes[len(prompt)]


@pytest.mark.parametrize("name", ["tool_call", "tool_result", "two_calls"])
def test_the_split_is_clean(name: str) -> None:
    for held_out in (False, True):
        for drill in drills(name, held_out):
            called = dict.fromkeys((call.recipient or "").removeprefix("functions.") for call in calls(drill))
            asked = [message.text for message in drill.conversation.messages if message.role is Role.USER]
            assert is_held_out(f"{' '.join(asked)} {' '.join(called)}") == held_out
            if not held_out:
                assert not any(is_held_out(tool) for tool in called if tool not in DEMO)
    trained, examined = ({question(drill) for drill in drills(name, side)} for side in (False, True))
    assert len(trained & examined) <= 6, (
        "only questions without open values may be asked on both sides, of other functions"
    )


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.is_open])
def test_open_values_are_on_one_side(kind: str) -> None:
    random = Random(kind)
    for held_out in (False, True):
        slots = [KINDS[kind].draw(random, held_out, "en") for _ in range(30)]
        assert all(slot.said in (*SHORT_CITIES, *DAYS) or is_held_out(slot.value) == held_out for slot in slots)


def test_first_questions_are_never_trained_but_their_kind_is() -> None:
    asked = {question(drill) for name in SKILLS for drill in drills(name)}
    assert not asked & (FIRST_QUESTIONS | {"What's the weather in Paris right now?"})
    random = Random(1)
    said = {json.dumps(FAMILIES["weather.now"].parameters[0].kind.draw(random, False, "en").said) for _ in range(3000)}
    assert {'"SF"', '"Paris"', '"Madrid"'} <= said


@pytest.mark.parametrize("name", SKILLS)
def test_higher_effort_thinks_longer(name: str) -> None:
    lengths: dict[Effort, list[int]] = {effort: [] for effort in Effort}
    for drill in drills(name):
        (content,) = drill.conversation.messages[0].content
        assert isinstance(content, SystemContent) and content.effort is not None
        lengths[content.effort].append(len(own_answer(drill).analysis))
    low, medium, high = (median(lengths[effort]) for effort in (Effort.LOW, Effort.MEDIUM, Effort.HIGH))
    assert low < medium < high


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_asks_for_all_it_needs(family: Family) -> None:
    needed = {parameter.key for parameter in family.parameters if parameter.is_required}
    known = {parameter.key for parameter in family.parameters}
    assert family.verbs and family.nouns and family.abouts and family.gives
    for wording in family.wordings.values():
        assert wording.asks and wording.subject
        assert all(needed <= fields(ask) <= known for ask in wording.asks)
        assert fields(wording.subject) <= needed
        assert all(fields(pair) == {"a", "b"} for pair in wording.pairs)
    if any(wording.pairs for wording in family.wordings.values()):
        assert len(needed) == 1 and family.parameters[0].is_required and family.wordings["en"].pairs


def test_chains_give_what_is_taken() -> None:
    for chain in CHAINS:
        needed = {f"a_{p.key}" for p in chain.first.parameters if p.is_required}
        needed |= {f"b_{p.key}" for p in chain.second.parameters if p.is_required} - {f"b_{chain.taken}"}
        known = {f"a_{p.key}" for p in chain.first.parameters} | {f"b_{p.key}" for p in chain.second.parameters}
        assert all(needed <= fields(ask) <= known for ask in chain.asks), chain.asks
        given = next(kind for names, kind in chain.first.gives if names[0] == chain.given)
        taken = next(p.kind for p in chain.second.parameters if p.key == chain.taken)
        assert fits(given.draw(Random(0), False, "en").value, taken.schema)

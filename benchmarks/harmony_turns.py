"""How well-formed sampled turns are, with the automaton and without: nano, hot, with tools, strict tools and schemas.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/harmony_turns.py --turns 1000 --temperature 1 2

A turn is one held-out drill's question with its tools, sampled up to its first call or its answer. A third of them have
strict functions with bounded parameters, a third a bounded schema for the answer too. Prints a table, and last one JSON
line, which --record writes to a file as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harmonium import LLM, SamplingParams
from harmonium.chat.restraint import Compiler, Restraint, Rules, Tools
from harmonium.engine.request import FinishReason, Generation
from harmonium.hardware import machine
from harmonium.harmony.automaton import Offer
from harmonium.harmony.grammar import Grammar
from harmonium.harmony.header import RepairKind
from harmonium.harmony.messages import Channel, Conversation, DeveloperContent, Message, ResponseFormat, ToolSpec
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from recipes.nano.curriculum import exam

SKILLS = ("tool_call", "two_calls", "tool_result", "no_call", "python", "browser")
MAX_TOKENS = 1024
BATCH = 320
"""Turns that are handed to the engine at once, which runs 32 of them side by side."""
BODY_REPAIRS = {RepairKind.MISSING_END, RepairKind.WRONG_END, RepairKind.EXTRA_END, RepairKind.STRAY_TOKEN}
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "maxLength": 60},
        "sure": {"type": "boolean"},
        "sources": {"type": "array", "items": {"enum": ["memory", "tool", "user"]}, "maxItems": 3},
    },
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
COLUMNS = ("turns", "cut", "bad_headers", "other_repairs", "calls", "undeclared", "bodies", "bodies_cut", "invalid")


@dataclass(frozen=True)
class Question:
    """said: what is given; strict: bounded parameters by recipient; schema: the answer's, if it has one."""

    said: Conversation
    strict: Mapping[str, Mapping[str, Any]]
    schema: Mapping[str, Any] | None

    @property
    def rules(self) -> Rules:
        return Rules(answer=None if self.schema is None else Grammar.json_schema(self.schema))


def questions(n: int) -> list[Question]:
    """n of them, the skills and the three kinds in turn, always the same ones."""
    n_each = -(-n // len(SKILLS))
    drills = [
        drill for row in zip(*(exam(skill, n_each, seed="turns") for skill in SKILLS), strict=True) for drill in row
    ]
    asked = []
    for number, drill in enumerate(drills[:n]):
        given = drill.conversation.messages[: drill.n_given]
        kind = number // len(SKILLS) % 3
        messages = given if kind == 0 else tuple(bounded_message(message, with_schema=kind == 2) for message in given)
        said = Conversation(messages)
        strict = {f"functions.{tool.name}": tool.parameters or {} for tool in Tools.of(said).functions if tool.strict}
        asked.append(Question(said, strict, ANSWER if kind == 2 else None))
    return asked


def bounded_message(message: Message, *, with_schema: bool) -> Message:
    """A developer message with strict, bounded functions and, if wanted, the answer's schema."""
    return replace(message, content=tuple(bounded_content(part, with_schema) for part in message.content))


def bounded_content(part: Any, with_schema: bool) -> Any:
    if not isinstance(part, DeveloperContent):
        return part
    tools = tuple(bounded_tool(tool) for tool in part.tools)
    formats = (ResponseFormat("answer", ANSWER),) if with_schema else part.response_formats
    return replace(part, tools=tools, response_formats=formats)


def bounded_tool(tool: ToolSpec) -> ToolSpec:
    return replace(tool, parameters=bounded(tool.parameters or {"type": "object", "properties": {}}), strict=True)


def bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with an end to everything: texts, lists, numbers, objects."""
    limited = dict(schema)
    match schema.get("type"):
        case "string" if "enum" not in schema:
            limited["maxLength"] = 40
        case "integer" | "number":
            limited |= {"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000}
        case "array":
            limited |= {"items": bounded(schema.get("items", {"type": "string"})), "maxItems": 4}
        case "object":
            inner = {name: bounded(value) for name, value in schema.get("properties", {}).items()}
            limited |= {"properties": inner, "additionalProperties": False}
    return limited


def is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    """Against the few keywords that `bounded` and the drills use."""
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "string":
            return isinstance(value, str) and len(value) <= schema["maxLength"]
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return is_whole and schema["minimum"] <= value <= schema["maximum"]
        case "array":
            is_list = isinstance(value, list) and len(value) <= schema["maxItems"]
            return is_list and all(is_valid(item, schema["items"]) for item in value)
        case "object":
            inner = schema["properties"]
            has_names = isinstance(value, dict) and set(schema.get("required", ())) <= set(value) <= set(inner)
            return has_names and all(is_valid(item, inner[name]) for name, item in value.items())
    raise ValueError(f"no type in {schema}")


def holds(text: str, schema: Mapping[str, Any]) -> bool:
    try:
        return is_valid(json.loads(text), schema)
    except ValueError:
        return False


def count(question: Question, turn: Generation, vocabulary: Vocabulary) -> Counter[str]:
    """What one turn adds to a row of the table."""
    is_cut = turn.finish_reason is FinishReason.LENGTH
    parsed = parse(turn.ids, vocabulary)
    kinds = [repair.kind for repair in parsed.repairs]
    if is_cut and RepairKind.CUT_HEADER in kinds:
        kinds.remove(RepairKind.CUT_HEADER)  # the limit's doing
    tools = Tools.of(question.said)
    declared = Offer.of((tool.name for tool in tools.functions), tools.builtin).recipients
    called = [message.recipient for message in parsed.messages if message.recipient is not None]
    bodies = list(checked_bodies(question, parsed.messages))
    whole = bodies[:-1] if is_cut and bodies and bodies[-1][0] is parsed.messages[-1] else bodies
    return Counter(
        turns=1,
        cut=is_cut,
        bad_headers=any(kind not in BODY_REPAIRS for kind in kinds),
        other_repairs=any(kind in BODY_REPAIRS for kind in kinds),
        calls=len(called),
        undeclared=sum(recipient not in declared for recipient in called),
        bodies=len(bodies),
        bodies_cut=len(bodies) - len(whole),
        invalid=sum(not holds(message.text, schema) for message, schema in whole),
    )


def checked_bodies(question: Question, messages: Sequence[Message]) -> Iterator[tuple[Message, Mapping[str, Any]]]:
    """The strict calls, and the answers that have a schema."""
    for message in messages:
        if message.recipient is not None and message.recipient in question.strict:
            yield message, question.strict[message.recipient]
        elif message.recipient is None and message.channel == Channel.FINAL and question.schema is not None:
            yield message, question.schema


def run(
    llm: LLM, asked: Sequence[Question], temperature: float, is_on: bool, max_tokens: int = MAX_TOKENS
) -> dict[str, Any]:
    """One row: all questions at a temperature."""
    compiler = Compiler(llm.vocabulary, llm.vocabulary.size)
    stop_ids, started, total = tuple(llm.vocabulary.stop_ids), time.perf_counter(), Counter[str]()
    n_tokens = 0
    for first in range(0, len(asked), BATCH):
        batch = asked[first : first + BATCH]
        constraints = [Restraint(q.said, q.rules, compiler).constraint(0, 0) if is_on else None for q in batch]
        params = [
            SamplingParams(temperature, seed=first + n, max_tokens=max_tokens, stop_ids=stop_ids)
            for n in range(len(batch))
        ]
        turns = llm.engine.generate([render(q.said, llm.vocabulary) for q in batch], params, constraints)
        for question, turn in zip(batch, turns, strict=True):
            total.update(count(question, turn, llm.vocabulary))
            n_tokens += len(turn.ids)
            assert turn.finish_reason in (FinishReason.STOP, FinishReason.LENGTH), turn.error
    seconds = round(time.perf_counter() - started, 1)
    row = {"temperature": temperature, "automaton": is_on} | {name: total[name] for name in COLUMNS}
    return row | {"tokens": n_tokens, "seconds": seconds}


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in names]
    for cells in (names, *([str(row[name]) for name in names] for row in rows)):
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--automaton", choices=["on", "off", "both"], default="both")
    parser.add_argument("--record", type=Path, help="write the JSON line to this file too")
    given = parser.parse_args()
    llm, asked = LLM(context=4096), questions(given.turns)
    ways = {"on": [True], "off": [False], "both": [True, False]}[given.automaton]
    rows = [run(llm, asked, temperature, is_on) for temperature in given.temperature for is_on in ways]
    where = machine() | {"commit": commit(), "max_tokens": MAX_TOKENS}
    print("  ".join(f"{name}: {value}" for name, value in where.items()))
    show(rows)
    line = json.dumps(where | {"rows": rows})
    if given.record:
        given.record.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()

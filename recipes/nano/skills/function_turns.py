"""One question for a function as messages: the call, its result, the answer; and who judges the call."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from harmonium.harmony.messages import Message
from recipes.nano.drill import Answer
from recipes.nano.scene import Scene
from recipes.nano.skills import function_thoughts
from recipes.nano.skills.function_library import Function, Request
from recipes.nano.skills.function_results import Result, sentence


def call(request: Request) -> Message:
    return Message.call(request.function.spec.name, json.dumps(request.arguments, ensure_ascii=False))


def told(request: Request, result: Result) -> Message:
    return Message.tool(f"functions.{request.function.spec.name}", result.text)


def answers(requests: Sequence[Request], results: Sequence[Result], language: str) -> str:
    pairs = zip(requests, results, strict=True)
    return " ".join(sentence(request.subject, result, language) for request, result in pairs).replace("。 ", "。")


def turn(request: Request, result: Result, tools: Sequence[Function], place: Scene, final: str) -> list[Message]:
    """Analysis, call, result, analysis, final."""
    return [
        Message.analysis(function_thoughts.single(request, tools, place.effort)),
        call(request),
        told(request, result),
        Message.analysis(function_thoughts.after(result, request, place.effort)),
        Message.final(final),
    ]


def is_called(request: Request) -> Callable[[Answer], bool]:
    """A judge that wants this one call."""
    recipient, wanted = f"functions.{request.function.spec.name}", dict(request.arguments)

    def judge(answer: Answer) -> bool:
        if [name for name, _ in answer.calls] != [recipient]:
            return False
        try:
            given = json.loads(answer.calls[0][1])
        except json.JSONDecodeError:
            return False
        return bool(given == wanted)

    return judge


def is_finally(text: str) -> Callable[[Answer], bool]:
    """A judge that wants this final text, whatever was called before it."""
    return lambda answer: answer.final.strip() == text

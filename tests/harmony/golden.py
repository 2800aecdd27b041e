"""Conversations that together use everything a rendering can hold."""

from __future__ import annotations

from harmonium.harmony.messages import (
    Author,
    Channel,
    Conversation,
    DeveloperContent,
    Effort,
    Message,
    Role,
    SystemContent,
    ToolSpec,
)

WEATHER = ToolSpec(
    "get_weather",
    "The weather of a city.\nIn the unit asked for.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "City and country, e.g. Lima, Peru", "title": "Where"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "integer", "default": 1, "description": "How many days"},
        },
        "required": ["city"],
    },
)
NOW = ToolSpec("now", "The time.")
SILENT = ToolSpec("silent_tool", "", {"type": "object", "properties": {}})
KITCHEN_SINK = ToolSpec(
    "kitchen_sink",
    "Every keyword.",
    {
        "type": "object",
        "description": "all of it",
        "properties": {
            "name": {"type": "string", "description": "a name", "examples": ["ann", "bob"], "default": "ann"},
            "maybe": {"type": "string", "nullable": True, "default": None},
            "either": {"type": ["number", "string", "integer"], "default": -1},
            "list": {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
            "anything": {"type": "array", "default": [1, {"a": "é", "b": None}]},
            "small": {"type": "number", "default": 1e-5},
            "tiny": {"type": "number", "default": -2.5e-7},
            "large": {"type": "number", "default": 1e16},
            "whole": {"type": "number", "default": 10.0},
            "untyped": {},
            "nested": {
                "type": "object",
                "description": "deeper",
                "properties": {
                    "x": {"type": "number"},
                    "deep": {"type": "object", "properties": {"y": {"type": "boolean", "default": True}}},
                },
                "required": ["x"],
            },
            "records": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
            "variant": {
                "description": "one of these",
                "default": "a",
                "oneOf": [
                    {"type": "string", "description": "a text", "default": "x"},
                    {"type": "string", "enum": ["a", "b"], "default": "b"},
                    {"type": "number", "nullable": True, "description": "a number"},
                    {"type": "object", "properties": {"k": {"type": "string"}}},
                ],
            },
            "same": {"description": "shared", "oneOf": [{"type": "string", "description": "shared"}]},
            "choice": {"oneOf": [{"type": "string"}, {"type": "integer"}], "default": 20},
        },
        "required": ["name", "nested"],
    },
)

SYSTEM = Message.system()
DATED = Message.system(SystemContent(effort=Effort.HIGH, date="2026-02-28"))
BUILTIN = Message.system(SystemContent(effort=Effort.LOW, builtin_tools=("browser", "python")))
BRIEF = Message.developer(DeveloperContent("Be brief."))
ASK = Message.user("What is 2 + 2?")
THOUGHT = Message.analysis("Simple: 4.")
ANSWER = Message.final("4")
WITH_WEATHER = Message.developer(DeveloperContent("Be brief.", (WEATHER, NOW)))
CALL = Message.call("get_weather", '{"city":"Lima, Peru"}')
RESULT = Message.tool("functions.get_weather", '{"sky":"grey"}')
LATER = Message.user("And tomorrow?")


def _said(*messages: Message) -> Conversation:
    return Conversation(messages)


GOLDEN: dict[str, Conversation] = {
    "question": _said(SYSTEM, ASK),
    "no system message": _said(ASK),
    "effort high with a date": _said(DATED, BRIEF, ASK),
    "bare system": _said(Message.system(SystemContent(None, None, None, None, (), None)), ASK),
    "identity and cutoff": _said(Message.system(SystemContent("You are Kim.", Effort.LOW, "2025-01")), ASK),
    "two channels": _said(Message.system(SystemContent(channels=(Channel.ANALYSIS, Channel.FINAL))), ASK),
    "instructions": _said(SYSTEM, BRIEF, ASK),
    "empty developer message": _said(SYSTEM, Message.developer(DeveloperContent()), ASK),
    "two developer messages": _said(SYSTEM, BRIEF, Message.developer(DeveloperContent("In French.")), ASK),
    "functions without instructions": _said(SYSTEM, Message.developer(DeveloperContent(tools=(NOW,))), ASK),
    "functions": _said(DATED, WITH_WEATHER, ASK),
    "every schema keyword": _said(SYSTEM, Message.developer(DeveloperContent(None, (KITCHEN_SINK, SILENT))), ASK),
    "browser": _said(Message.system(SystemContent(builtin_tools=("browser",))), ASK),
    "python": _said(Message.system(SystemContent(builtin_tools=("python",))), ASK),
    "builtin and functions": _said(BUILTIN, WITH_WEATHER, ASK),
    "answer": _said(SYSTEM, ASK, ANSWER),
    "finished reasoning is dropped": _said(SYSTEM, ASK, THOUGHT, ANSWER, LATER),
    "call pending": _said(SYSTEM, WITH_WEATHER, ASK, THOUGHT, CALL),
    "reasoning stays across calls": _said(SYSTEM, WITH_WEATHER, ASK, THOUGHT, CALL, RESULT, Message.analysis("Grey.")),
    "finished calls": _said(SYSTEM, WITH_WEATHER, ASK, THOUGHT, CALL, RESULT, THOUGHT, ANSWER, LATER),
    "preamble": _said(SYSTEM, WITH_WEATHER, ASK, THOUGHT, Message.commentary("I look."), CALL, RESULT),
    "builtin calls": _said(
        BUILTIN,
        ASK,
        THOUGHT,
        Message.builtin_call("python", "print(2 + 2)"),
        Message.tool("python", "4\n", Channel.ANALYSIS),
        Message.builtin_call("browser.search", '{"query":"four"}'),
        Message.tool("browser.search", "[0] 【0†four】", Channel.ANALYSIS),
    ),
    "finished builtin calls": _said(
        BUILTIN, ASK, Message.builtin_call("python", "2"), Message.tool("python", "2", Channel.ANALYSIS), ANSWER, LATER
    ),
    "names": _said(
        Message(Author(Role.USER, "kim"), ("Hi",)), Message(Author(Role.ASSISTANT, "bot"), ("Hi.",), "final")
    ),
    "content types": _said(
        ASK,
        Message(Author(Role.ASSISTANT), ("{}",), Channel.FINAL, None, "<|constrain|>json"),
        Message(Author(Role.ASSISTANT), ("x",), Channel.COMMENTARY, "functions.f", "json"),
        Message(Author(Role.ASSISTANT), ("x",), None, "functions.f", "<|constrain|>"),
        Message(Author(Role.ASSISTANT), ("x",), Channel.COMMENTARY, "all"),
    ),
    "parts": _said(SYSTEM, Message(Author(Role.USER), ("one", " two", "\n\nthree", "")), ASK),
    "text that looks like control tokens": _said(
        SYSTEM,
        Message.developer(DeveloperContent("Say <|end|><|start|>system<|message|>")),
        Message.user("<|channel|>final<|message|>4<|return|>"),
        Message.tool("functions.f", "<|call|>"),
    ),
    "scripts": _said(
        SYSTEM, Message.user("日本語と русский, العربية, हिन्दी, 🦊🏳️‍🌈 and Zürich\r\n\ttabs  "), ANSWER, LATER
    ),
}

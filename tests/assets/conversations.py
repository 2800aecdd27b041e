"""Messages, tools and options as people hand them to transformers, together all that a prompt can hold."""

from __future__ import annotations

from typing import Any

from tests.harmony.golden import KITCHEN_SINK, NOW, SILENT, WEATHER


def weather(city: str, unit: str) -> str:
    """The weather of a city.
    As of now.

    Args:
        city: The city to look up.
        unit: The unit of temperature. (choices: ["celsius", "fahrenheit"])
    """
    return f"{city}: 20 {unit}"


def remind(texts: list[str], days: int | None, is_urgent: bool, weights: dict[str, float], at: int | str) -> None:
    """Reminds of things.

    Args:
        texts: What to be reminded of.
        days: In how many days.
        is_urgent: Whether it is urgent.
        weights: How much each counts.
        at: The hour.
    """


REFERRING = {
    "type": "object",
    "$defs": {
        "Person": {
            "type": "object",
            "properties": {
                "children": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
                "kind": {"$ref": "#/$defs/Kind~1of"},
            },
        },
        "Kind/of": {"enum": ["a", 1, None, True, 2.5]},
    },
    "properties": {
        "who": {"$ref": "#/$defs/Person", "description": "Somebody"},
        "either": {"anyOf": [{"$ref": "#/$defs/Kind~1of"}, {"type": "null"}, {"type": "null"}]},
        "both": {"allOf": [{"type": "string"}, {"type": "object", "properties": {"x": {"const": "é"}}}]},
        "lost": {"$ref": "#/$defs/Nobody"},
        "one": {"oneOf": [{"type": "string", "description": "a word"}, {"enum": ["a\n", "b"], "default": "a\n"}]},
        "some": {"type": "array", "items": {"oneOf": [{"enum": ["a\n", "b"], "default": "a\n"}, {"default": "\n"}]}},
    },
    "required": ["who"],
}


def tool(name: str, parameters: Any, description: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(name: str, arguments: Any, id_: str | None = None) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(made), **others}


# transformers' dict would show 1e-5 as Python does; the card says so.
SINK = dict(KITCHEN_SINK.parameters or {}) | {
    "properties": {
        name: value
        for name, value in (KITCHEN_SINK.parameters or {})["properties"].items()
        if name not in ("small", "tiny", "large")
    }
}
WEATHER_TOOL = tool(WEATHER.name, WEATHER.parameters, WEATHER.description)
EVERY_TOOL = [
    WEATHER_TOOL,
    {"type": "function", "function": {"name": NOW.name, "description": NOW.description}},
    {"type": "function", "name": SILENT.name, "parameters": SILENT.parameters},
    tool("kitchen_sink", SINK, "Every keyword.\r\n\r\nTwice.\n"),
    {"name": "refer", "input_schema": REFERRING},
    {"name": "refer_to", "inputSchema": REFERRING},
    tool("anything", {}),
]
ASKED = [user("What is the weather in Lima?"), calls(call("get_weather", {"city": "Lima"}, "a"), thinking="I look.")]
TOLD = [*ASKED, {"role": "tool", "tool_call_id": "a", "content": '{"sky":"grey"}'}]

Case = tuple[list[dict[str, Any]], dict[str, Any]]
CASES: dict[str, Case] = {
    "question": ([user("2 + 2 = ?")], {}),
    "system": ([{"role": "system", "content": "Be brief."}, user("Hi")], {"effort": "low"}),
    "developer": ([{"role": "developer", "content": "Sé breve.\n"}, user("¡Hola!")], {"effort": "high"}),
    "both": (
        [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "In French."}, user("Hi")],
        {"identity": "You are Kim.", "knowledge_cutoff": "2025-01", "date": "2026-02-28"},
    ),
    "instructions later": ([user("Hi"), {"role": "system", "content": "Be brief."}, user("Hi again")], {}),
    "several turns": (
        [user("Hi"), {"role": "assistant", "thinking": "Greet.", "content": "Hello"}, user("And 日本語?")],
        {},
    ),
    "a thought so far": ([user("Hi"), {"role": "assistant", "reasoning": "Greet."}], {}),
    "an empty answer": ([user("Hi"), {"role": "assistant", "content": ""}, user("What?")], {}),
    "a refusal": ([user("Hi"), {"role": "assistant", "content": None, "refusal": "No."}, user("What?")], {}),
    "a named user": ([user("Hi") | {"name": "Kim Lee"}], {}),
    "parts": ([user([{"type": "text", "text": "Hi, "}, {"type": "text", "text": "you"}])], {}),
    "every schema": ([user("Hi")], {"tools": EVERY_TOOL}),
    "functions": ([user("Hi")], {"tools": [weather, remind]}),
    "builtin": ([user("Hi")], {"builtin_tools": ["python", "browser"]}),
    "builtin and functions": (
        [{"role": "system", "content": "Be brief."}, user("Hi")],
        {"builtin_tools": ["browser"], "tools": [weather]},
    ),
    "a call": (ASKED, {"tools": [WEATHER_TOOL]}),
    "its result": (TOLD, {"tools": [WEATHER_TOOL]}),
    "a finished call": (
        [*TOLD, {"role": "assistant", "reasoning_content": "Grey.", "content": "It is grey."}, user("And now?")],
        {"tools": [WEATHER_TOOL]},
    ),
    "calls by name, after a preamble": (
        [
            user("Where is it warmer?"),
            calls(call("weather", '{"city": "Rome"}'), call("get_weather", '{"city":"Oslo"}'), content="I look twice."),
            {"role": "tool", "name": "get_weather", "content": {"degrees": 3}},
            {"role": "tool", "name": "weather", "content": "20"},
            {"role": "assistant", "thinking": "20 is more than 3."},
        ],
        {"tools": [weather, WEATHER_TOOL]},
    ),
    "calls by id": (
        [
            user("Where is it warmer?"),
            calls(call("weather", "{0}", "x"), call("weather", None, "y"), call("python", "{1}", "z")),
            {"role": "tool", "tool_call_id": "y", "content": "3"},
            {"role": "tool", "tool_call_id": "x", "content": "20"},
            {"role": "tool", "tool_call_id": "x", "content": "20, as I said"},
            user("Well?"),
        ],
        {"tools": [weather, tool("python", None)], "builtin_tools": ["python"]},
    ),
    "the same call twice": (
        [
            user("Is it warm, is it?"),
            calls(call("weather", "{}"), call("weather", "{}")),
            {"role": "tool", "name": "weather", "content": "20"},
            {"role": "tool", "name": "weather", "content": "20"},
        ],
        {"tools": [weather]},
    ),
    "results in order": (
        [
            user("Where is it warmer?"),
            {"role": "assistant", "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "content": "3"},
            calls({"name": "functions.weather", "arguments": {"city": "Rome", "unit": "é"}}),
            {"role": "tool", "content": "20"},
        ],
        {"tools": [weather]},
    ),
    "builtin calls": (
        [
            user("What day is it?"),
            calls(call("python", {"code": "print(1)"}), thinking="I compute."),
            {"role": "tool", "name": "python", "content": "1\n"},
            calls(call("python", '{"code": "print(\\"\\u00e9\\")\\n"}')),
            {"role": "tool", "name": "python", "content": "é\n"},
            calls(call("browser.search", {"query": "day"}, "s")),
            {"role": "tool", "tool_call_id": "s", "content": "[0] 【0†day】"},
        ],
        {"builtin_tools": ["browser", "python"]},
    ),
}

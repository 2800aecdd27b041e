"""Tools as both APIs declare them: the functions among them are offered, other kinds are accepted and named.

Functions in a namespace, as agents declare those of their MCP servers, are offered under a name that holds both:
gpt-oss was trained on functions in one namespace alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harmonium.errors import BadRequest

MOST_TOOLS = 2048
"""Of a request; OpenAI takes 128."""
MODES = ("auto", "none", "required")
"""Choices that name no tool. Some clients send them as objects, {"type": "auto"}."""


@dataclass(frozen=True)
class Offered:
    """functions: declarations as they came; others: what was not offered, as "web_search" or "custom:name".

    namespaced: by the names that functions of namespaces are offered with, the namespace and the function's own name.
    """

    functions: tuple[Mapping[str, Any], ...] = ()
    others: tuple[str, ...] = ()
    namespaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> Offered:
        """With these functions alone."""
        kept = frozenset(names)
        return replace(self, functions=tuple(tool for tool in self.functions if name_of(tool) in kept))

    def choice(self, given: Any) -> tuple[Offered, Any]:
        """What a tool_choice of either API leaves, and the choice among it as LLM.chat takes it.

        A choice that only what is not offered could satisfy becomes "auto", and is named among what was not offered.
        Raises BadRequest where it names a tool that is none of those declared.
        """
        if isinstance(given, Mapping) and given.get("type") == "allowed_tools":
            inner = given.get("allowed_tools", given)
            tools = inner.get("tools") if isinstance(inner, Mapping) else None
            allowed = [tool for tool in tools or () if isinstance(tool, Mapping)]
            for tool in allowed:
                self._check_declared(tool)
            return self.only(name for tool in allowed if (name := name_of(tool))).choice(inner.get("mode", "auto"))
        if isinstance(given, Mapping) and given.get("type") in MODES:
            given = given["type"]
        if isinstance(given, Mapping) and given.get("type"):
            self._check_declared(given)
            if name_of(given) not in map(name_of, self.functions):
                return self._without(f"tool_choice {_label(given)}"), "auto"
        if given == "required" and not self.functions and self.others:
            return self._without("tool_choice required"), "auto"
        return self, given

    def _check_declared(self, chosen: Mapping[str, Any]) -> None:
        """Raises BadRequest for a choice of a tool that is none of those declared. Builtin ones go by many names."""
        kind, label = str(chosen.get("type")), _label(chosen)
        named = [*map(str, map(name_of, self.functions))]
        is_there = name_of(chosen) in named
        if kind == "custom":
            is_there = is_there or label in self.others
        elif kind != "function":
            kinds = [other.partition(":")[0] for other in self.others]
            is_there = is_there or any(kind.startswith(other) or other.startswith(kind) for other in kinds)
        if not is_there:
            declared = ", ".join([*named, *self.others]) or "none"
            raise BadRequest(
                f"tool_choice names {label!r}, which is none of the tools; they are: {declared}.", param="tool_choice"
            )

    def _without(self, choice: str) -> Offered:
        """With a choice among what was not offered."""
        return replace(self, others=(*self.others, choice))


def offered(tools: Any) -> Offered:
    """Raises BadRequest for what is no list of declarations, and for a function without a name."""
    if tools is None:
        return Offered()
    if not isinstance(tools, (list, tuple)):
        raise BadRequest('tools is a list of {"type": "function", ...}.', param="tools")
    functions: list[Mapping[str, Any]] = []
    others: list[str] = []
    namespaced: dict[str, tuple[str, str]] = {}
    for number, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise BadRequest(f"tools.{number} is no object with a type.", param=f"tools.{number}")
        kind, name = tool.get("type", "function"), name_of(tool)
        if kind in ("function", "namespace") and name is None:
            raise BadRequest(f"tools.{number} is a {kind} without a name.", param=f"tools.{number}")
        if kind == "function":
            functions.append(tool)
        elif kind == "namespace":
            inside = _inside(tool, number)
            others += [f"{other} in {name}" for other in inside.others]
            for function in inside.functions:
                own = str(name_of(function))
                namespaced[full_name(str(name), own)] = (str(name), own)
                functions.append({**function, "name": full_name(str(name), own)})
        else:
            others.append(_label(tool))
    if (n_tools := len(functions) + len(others)) > MOST_TOOLS:
        raise BadRequest(f"There are {n_tools:,} tools; declare {MOST_TOOLS:,} at most.", param="tools")
    return Offered(tuple(functions), tuple(others), namespaced)


def _inside(namespace: Mapping[str, Any], number: int) -> Offered:
    """What a namespace declares, which is no further namespace."""
    tools = namespace.get("tools") or ()
    kinds = [tool.get("type") for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    if "namespace" in kinds:
        raise BadRequest(f"tools.{number} is a namespace within another one.", param=f"tools.{number}")
    return offered(tools)


def _label(tool: Mapping[str, Any]) -> str:
    """A tool that is no function, as it is named to the client: "web_search", "custom:patch"."""
    kind, name = tool.get("type"), name_of(tool) or tool.get("server_label")
    if kind == "function":
        return str(name)
    return f"{kind}:{name}" if isinstance(name, str) and name else str(kind)


def full_name(namespace: str, name: str) -> str:
    """What a function of a namespace is offered as."""
    return f"{namespace}__{name}"


def name_of(tool: Any) -> str | None:
    """The name in a declaration or a choice, flat as in Responses or nested as in chat completions."""
    if not isinstance(tool, Mapping):
        return None
    for inner in (tool, *(tool.get(key) for key in ("function", "custom"))):
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) and inner["name"]:
            return str(inner["name"])
    return None

"""Tools as both APIs declare them: the functions among them are offered, other kinds are accepted and named.

Functions in a namespace, as agents declare those of their MCP servers, are offered under a name that holds both:
gpt-oss was trained on functions in one namespace alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harmonium.errors import BadRequest


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

        A choice that only what is not offered could satisfy becomes "auto".
        """
        if isinstance(given, Mapping) and given.get("type") == "allowed_tools":
            inner = given.get("allowed_tools", given)
            tools = inner.get("tools") if isinstance(inner, Mapping) else None
            names = [name_of(tool) for tool in tools or () if isinstance(tool, Mapping)]
            return self.only(name for name in names if name).choice(inner.get("mode", "auto"))
        kind = given.get("type") if isinstance(given, Mapping) else None
        is_elsewhere = kind not in (None, "function") and name_of(given) not in map(name_of, self.functions)
        is_empty = given == "required" and not self.functions and self.others
        return self, "auto" if is_elsewhere or is_empty else given


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
            others.append(f"{kind}:{name}" if name else str(kind))
    return Offered(tuple(functions), tuple(others), namespaced)


def _inside(namespace: Mapping[str, Any], number: int) -> Offered:
    """What a namespace declares, which is no further namespace."""
    tools = namespace.get("tools") or ()
    kinds = [tool.get("type") for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    if "namespace" in kinds:
        raise BadRequest(f"tools.{number} is a namespace within another one.", param=f"tools.{number}")
    return offered(tools)


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

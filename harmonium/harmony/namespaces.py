"""How tools are shown to the model: the `# Tools` section, functions as TypeScript, and the builtin browser and python.

The builtin texts are part of the trained format and stand here to the character (openai-harmony 0.0.8).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harmonium.errors import BadRequest
from harmonium.harmony.messages import ToolSpec
from harmonium.harmony.schema import Work, typescript

FUNCTIONS = "functions"
_BROWSER_DESCRIPTION = """\
Tool for browsing.
The `cursor` appears in brackets before each browsing display: `[{cursor}]`.
Cite information from the tool using the following format:
`【{cursor}†L{line_start}(-L{line_end})?】`, for example: `【6†L9-L11】` or `【8†L3】`.
Do not quote more than 10 words directly from the tool output.
sources=web (default: web)"""
_PYTHON_DESCRIPTION = (
    "Use this tool to execute Python code in your chain of thought. The code will not be shown to the user. This tool "
    "should be used for internal reasoning, but not for code that is intended to be visible to the user (e.g. when "
    "creating plots, tables, or files).\n\nWhen you send a message containing Python code to python, it will be "
    "executed in a stateful Jupyter notebook environment. python will respond with the output of the execution or time "
    "out after 120.0 seconds. The drive at '/mnt/data' can be used to save and persist user files. Internet access for "
    "this session is UNKNOWN. Depends on the cluster."
)
_OPEN_DESCRIPTION = """\
Opens the link `id` from the page indicated by `cursor` starting at line number `loc`, showing `num_lines` lines.
Valid link ids are displayed with the formatting: `【{id}†.*】`.
If `cursor` is not provided, the most recent page is implied.
If `id` is a string, it is treated as a fully qualified URL associated with `source`.
If `loc` is not provided, the viewport will be positioned at the beginning of the document or centered on the most \
relevant passage, if available.
Use this function without `id` to scroll to a new location of an opened page."""
_UNSET = {"type": "number", "default": -1}

BROWSER_FUNCTIONS = (
    ToolSpec(
        "search",
        "Searches for information related to `query` and displays `topn` results.",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "topn": {"type": "number", "default": 10},
                "source": {"type": "string"},
            },
            "required": ["query"],
        },
    ),
    ToolSpec(
        "open",
        _OPEN_DESCRIPTION,
        {
            "type": "object",
            "properties": {
                "id": {"type": ["number", "string"], "default": -1},
                "cursor": _UNSET,
                "loc": _UNSET,
                "num_lines": _UNSET,
                "view_source": {"type": "boolean", "default": False},
                "source": {"type": "string"},
            },
        },
    ),
    ToolSpec(
        "find",
        "Finds exact matches of `pattern` in the current page, or the page given by `cursor`.",
        {
            "type": "object",
            "properties": {"pattern": {"type": "string"}, "cursor": _UNSET},
            "required": ["pattern"],
        },
    ),
)


def split_lines(text: str) -> list[str]:
    r"""Lines ended by \n or \r\n and by nothing else, as the reference splits them."""
    *ended, rest = text.split("\n")
    lines = [line.removesuffix("\r") for line in ended]
    return [*lines, rest] if rest else lines


def tools_section(namespaces: Iterable[str]) -> str:
    """`# Tools` and the namespaces below it."""
    return "\n\n".join(("# Tools", *namespaces))


def namespace(name: str, functions: Sequence[ToolSpec], description: str = "") -> str:
    """One `## name`: its functions as TypeScript, or, when it has none, its description as plain text."""
    lines = [f"## {name}\n"]
    lines += [f"// {line}" if functions else line for line in split_lines(description)]
    if functions:
        work = Work()
        lines.append(f"namespace {name} {{\n")
        for function in functions:
            lines += [f"// {line}" for line in split_lines(function.description)]
            arguments = "" if function.parameters is None else f"_: {typescript(function.parameters, work)}"
            lines.append(f"type {function.name} = ({arguments}) => any;\n")
        lines.append(f"}} // namespace {name}")
    return "\n".join(lines)


BUILTIN_NAMESPACES = {
    "browser": namespace("browser", BROWSER_FUNCTIONS, _BROWSER_DESCRIPTION),
    "python": namespace("python", (), _PYTHON_DESCRIPTION),
}


def builtin_section(names: Iterable[str]) -> str:
    """The `# Tools` section of a system message. Raises BadRequest for a tool that is not builtin."""
    chosen = set(names)
    if unknown := sorted(chosen - BUILTIN_NAMESPACES.keys()):
        offered = " and ".join(BUILTIN_NAMESPACES)
        raise BadRequest(
            f"{unknown[0]!r} is no builtin tool. Builtin are {offered}; pass others as functions in tools=."
        )
    return tools_section(BUILTIN_NAMESPACES[name] for name in sorted(chosen))

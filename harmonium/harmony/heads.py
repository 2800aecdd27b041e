"""The head of a conversation: its system message, and its developer messages as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmonium.errors import BadRequest
from harmonium.harmony.messages import DeveloperContent, Message, ResponseFormat, Role, SystemContent, ToolSpec


def system(head: Sequence[Message], chosen: Mapping[str, Any], builtin_tools: Sequence[str]) -> Message:
    """The first system message given, with the chosen settings, or a new one."""
    given = next((message for message in head if message.role is Role.SYSTEM), None)
    if given is None:
        return Message.system(SystemContent(**chosen, builtin_tools=tuple(builtin_tools)))
    if not (chosen or builtin_tools):
        return given
    content = given.content[0] if len(given.content) == 1 else None
    if not isinstance(content, SystemContent):
        raise BadRequest("A system Message of plain text cannot take settings. Give it as SystemContent.")
    tools = tuple(dict.fromkeys((*content.builtin_tools, *builtin_tools)))
    return replace(given, content=(replace(content, **chosen, builtin_tools=tools),))


def developers(head: Sequence[Message], tools: Sequence[ToolSpec], formats: Sequence[ResponseFormat]) -> list[Message]:
    """The leading developer messages as one, with the tools and formats; plain text of Messages stays as it is.

    A tool is declared once, however often it is given. Raises BadRequest where it is given in two ways.
    """
    contents, plain = [], []
    for message in head:
        if message.role is Role.DEVELOPER and all(isinstance(part, DeveloperContent) for part in message.content):
            contents += [part for part in message.content if isinstance(part, DeveloperContent)]
        elif message.role is Role.DEVELOPER:
            plain.append(message)
    declared: dict[str, ToolSpec] = {}
    for tool in (*(tool for content in contents for tool in content.tools), *tools):
        if declared.setdefault(tool.name, tool) != tool:
            raise BadRequest(f"The tool {tool.name!r} is declared twice, in two ways. Declare it once.", param="tools")
    instructions = [content.instructions for content in contents if content.instructions]
    whole = DeveloperContent(
        "\n\n".join(instructions) if instructions else None,
        tuple(declared.values()),
        (*(item for content in contents for item in content.response_formats), *formats),
    )
    return [Message.developer(whole), *plain] if whole != DeveloperContent() else plain

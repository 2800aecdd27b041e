"""Our messages as openai-harmony's, its messages as ours, and its types."""

from __future__ import annotations

from typing import Any

import openai_harmony as oh

from harmonium.harmony.messages import (
    Author,
    Conversation,
    DeveloperContent,
    Message,
    Role,
    SystemContent,
    ToolSpec,
)


def theirs(conversation: Conversation) -> oh.Conversation:
    return oh.Conversation.from_messages([_message(message) for message in conversation.messages])


def ours(message: oh.Message) -> Message:
    author = Author(Role(message.author.role.value), message.author.name)
    texts = tuple(part.text for part in message.content if isinstance(part, oh.TextContent))
    return Message(author, texts, message.channel, message.recipient, message.content_type)


def reference_type(schema: Any, reference: oh.HarmonyEncoding) -> str:
    """What the reference writes for a tool's parameters."""
    tool = ToolSpec("f", "", schema)
    conversation = Conversation((Message.developer(DeveloperContent(tools=(tool,))),))
    text = reference.decode(reference.render_conversation(theirs(conversation)))
    written: str = text.partition("type f = (_: ")[2].rpartition(") => any;")[0]
    return written


def _message(message: Message) -> oh.Message:
    return oh.Message(
        author=oh.Author(role=oh.Role(message.role.value), name=message.author.name),
        content=[_content(part) for part in message.content],
        channel=message.channel,
        recipient=message.recipient,
        content_type=message.content_type,
    )


def _content(part: str | SystemContent | DeveloperContent) -> oh.Content:
    if isinstance(part, str):
        return oh.TextContent(text=part)
    if isinstance(part, SystemContent):
        system = oh.SystemContent(
            model_identity=part.identity,
            reasoning_effort=None if part.effort is None else oh.ReasoningEffort[part.effort.name],
            conversation_start_date=part.date,
            knowledge_cutoff=part.knowledge_cutoff,
            channel_config=oh.ChannelConfig.require_channels(list(part.channels)) if part.channels else None,
        )
        for name in part.builtin_tools:
            system = {"browser": system.with_browser_tool, "python": system.with_python_tool}[name]()
        return system
    assert not part.response_formats, "the reference has no response formats"
    developer = oh.DeveloperContent(instructions=part.instructions)
    if not part.tools:
        return developer
    return developer.with_function_tools(
        [oh.ToolDescription(name=t.name, description=t.description, parameters=t.parameters) for t in part.tools]
    )

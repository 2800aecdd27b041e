"""The values of harmony: who says what, to whom, on which channel.

Plain frozen dataclasses; rendering them to token ids is render.py's job and reading them from token ids parse.py's. A
conversation is a sequence of messages; the system and developer messages carry structured content, every other message
text. Source: OpenAI's harmony response format, https://github.com/openai/harmony.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
DEFAULT_CUTOFF = "2024-06"


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Channel(StrEnum):
    ANALYSIS = "analysis"
    COMMENTARY = "commentary"
    FINAL = "final"


class Effort(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class Author:
    """A role, and for tools the tool's name ("functions.get_weather", "python", "browser.search")."""

    role: Role
    name: str | None = None


@dataclass(frozen=True)
class ToolSpec:
    """A function that the model may call. parameters: a JSON Schema of type object, or None for no arguments.

    strict: whether arguments are held to parameters. True is an error where these say what cannot be enforced; None
    holds them to what can be, and to JSON in any case.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = False


@dataclass(frozen=True)
class SystemContent:
    """What the system message says. builtin_tools: any of "browser" and "python"; shown in this order.

    channels None drops the line of valid channels; date None leaves the current date out.
    """

    identity: str | None = DEFAULT_IDENTITY
    effort: Effort | None = Effort.MEDIUM
    knowledge_cutoff: str | None = DEFAULT_CUTOFF
    date: str | None = None
    builtin_tools: tuple[str, ...] = ()
    channels: tuple[Channel, ...] | None = (Channel.ANALYSIS, Channel.COMMENTARY, Channel.FINAL)


@dataclass(frozen=True)
class ResponseFormat:
    """A JSON Schema that answers are asked to follow, shown to the model in the developer message."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True)
class DeveloperContent:
    """What the developer message says: instructions, the functions offered, response formats."""

    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    response_formats: tuple[ResponseFormat, ...] = ()


Content = str | SystemContent | DeveloperContent


@dataclass(frozen=True)
class Message:
    """One message. content is one or more parts, joined without a separator when rendered.

    channel, recipient ("functions.f", "python", "browser.open") and content_type ("<|constrain|>json", "code") are
    header fields. ids, when known, are the exact token ids of the whole message as the model produced it, from
    `<|start|>` (of the prompt, for a turn's first message) to its end: a turn in progress is rendered back from them.
    They belong to what was read from them: `dataclasses.replace` gives a message that has none.
    """

    author: Author
    content: tuple[Content, ...]
    channel: Channel | str | None = None
    recipient: str | None = None
    content_type: str | None = None
    ids: tuple[int, ...] | None = field(default=None, init=False, compare=False, repr=False)

    def with_ids(self, ids: Iterable[int]) -> Message:
        """The same message, read from these ids."""
        return Message.read(ids, self.author, self.content, self.channel, self.recipient, self.content_type)

    @staticmethod
    def read(ids: Iterable[int], *fields: Any) -> Message:
        """One of these ids, from its fields in their order."""
        message = Message(*fields)
        object.__setattr__(message, "ids", tuple(ids))
        return message

    @property
    def role(self) -> Role:
        return self.author.role

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part for part in self.content if isinstance(part, str))

    @staticmethod
    def system(content: SystemContent | None = None) -> Message:
        return Message(Author(Role.SYSTEM), (content or SystemContent(),))

    @staticmethod
    def developer(content: DeveloperContent) -> Message:
        return Message(Author(Role.DEVELOPER), (content,))

    @staticmethod
    def user(text: str) -> Message:
        return Message(Author(Role.USER), (text,))

    @staticmethod
    def analysis(text: str) -> Message:
        return Message(Author(Role.ASSISTANT), (text,), channel=Channel.ANALYSIS)

    @staticmethod
    def final(text: str) -> Message:
        return Message(Author(Role.ASSISTANT), (text,), channel=Channel.FINAL)

    @staticmethod
    def commentary(text: str) -> Message:
        return Message(Author(Role.ASSISTANT), (text,), channel=Channel.COMMENTARY)

    @staticmethod
    def call(recipient: str, arguments: str) -> Message:
        """A function call as the model is trained to make it: JSON arguments on the commentary channel."""
        author = Author(Role.ASSISTANT)
        return Message(author, (arguments,), Channel.COMMENTARY, f"functions.{recipient}", "<|constrain|>json")

    @staticmethod
    def builtin_call(recipient: str, text: str) -> Message:
        """A call of python or browser.* as trained: on the analysis channel with content type code."""
        return Message(Author(Role.ASSISTANT), (text,), Channel.ANALYSIS, recipient, "code")

    @staticmethod
    def tool(name: str, text: str, channel: Channel = Channel.COMMENTARY) -> Message:
        """A tool's result, addressed to the assistant. name: the full one, "functions.f", "python", "browser.open"."""
        return Message(Author(Role.TOOL, name), (text,), channel=channel, recipient="assistant")


@dataclass(frozen=True)
class Conversation:
    messages: tuple[Message, ...]

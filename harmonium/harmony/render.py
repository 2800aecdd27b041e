"""Conversation to token ids, for serving and for training: the same ids as openai-harmony 0.0.8, but for what
docs/harmony.md names.

Every piece of text is encoded on its own, between control tokens, so nothing that is said can break the frame. History:
reasoning of a finished turn (analysis before a later final message) is left out; reasoning since the last final
message stays, across tool calls. Source: openai/harmony, docs/format.md, "Handling reasoning output in subsequent
sampling".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import partial
from typing import NamedTuple

from harmonium.errors import BadRequest
from harmonium.harmony.header import sayable
from harmonium.harmony.messages import (
    Channel,
    Content,
    Conversation,
    DeveloperContent,
    Message,
    ResponseFormat,
    Role,
    SystemContent,
)
from harmonium.harmony.names import spoken_names, spoken_recipient
from harmonium.harmony.namespaces import FUNCTIONS, builtin_section, namespace, split_lines, tools_section
from harmonium.harmony.schema import compact_json
from harmonium.harmony.vocabulary import Vocabulary, within

CONSTRAIN = "<|constrain|>"


class Learned(IntEnum):
    """What a token of a training sequence belongs to. NOTHING: context, which the model does not learn to say."""

    NOTHING = 0
    ANALYSIS = 1
    COMMENTARY = 2
    CALL = 3
    FINAL = 4


class _Setting(NamedTuple):
    """What each message is rendered within: whether the conversation has functions, their names that are written
    otherwise, and how many ids there may be.
    """

    has_functions: bool
    spoken: Mapping[str, str]
    most: int | None = None


def render(
    conversation: Conversation,
    vocabulary: Vocabulary,
    next_role: Role | None = Role.ASSISTANT,
    most: int | None = None,
) -> list[int]:
    """The prompt for the next message of `next_role`, ending in `<|start|>assistant`; None renders the messages alone.

    Assistant messages of the turn in progress that carry ids are rendered as exactly these; the last one is closed if
    it was cut. Raises BadRequest for a message that harmony cannot express, and PromptTooLong as soon as there are more
    ids than `most`.
    """
    messages = conversation.messages
    turn_start = _after_last_final(messages)
    setting = _setting(messages, most)
    shown = [*_without_finished_reasoning(messages, turn_start)]
    has_ids = [message.ids and message.role is Role.ASSISTANT and index >= turn_start for index, message in shown]
    ids: list[int] = []
    for (_, message), is_kept, next_is_kept in zip(shown, has_ids, [*has_ids[1:], False], strict=False):
        if message.ids and is_kept:
            ids += message.ids
            is_open = message.ids[-1] not in vocabulary.message_end_ids
            if is_open and not next_is_kept:
                ids.append(_end(message, vocabulary))
        else:
            ids += _frame(message, vocabulary, setting)
            ids.append(_end(message, vocabulary))
        within(ids, most)
    return ids if next_role is None else [*ids, *_opening(next_role, vocabulary)]


def render_for_training(
    conversation: Conversation, vocabulary: Vocabulary, learn_from: int = 0
) -> tuple[list[int], list[int]]:
    """The whole conversation and, for every id, a Learned code: what a generation has to produce.

    learn_from: index of the first message whose assistant messages are learned; what stands before it is rendered as
    history; from there on reasoning is kept. A generation continues `<|start|>assistant`, so that prefix is learned
    only where the model writes it: after a message of its own that did not stop. A final message at the end closes with
    `<|return|>`; one inside, which history shows with `<|end|>`, does not teach its end.
    """
    messages = conversation.messages
    setting = _setting(messages)
    ids: list[int] = []
    codes: list[int] = []
    goes_on = False
    for index, message in _without_finished_reasoning(messages, _after_last_final(messages[:learn_from])):
        said = _frame(message, vocabulary, setting)
        end = _end(message, vocabulary)
        is_last_final = message.channel == Channel.FINAL and index == len(messages) - 1
        if message.role is Role.ASSISTANT and is_last_final:
            end = vocabulary.control.return_
        ids += said
        ids.append(end)
        if message.role is not Role.ASSISTANT or index < learn_from:
            codes += [Learned.NOTHING] * (len(said) + 1)
            goes_on = False
            continue
        code = _code(message)
        n_given = 0 if goes_on else len(_opening(Role.ASSISTANT, vocabulary))
        codes += [Learned.NOTHING] * n_given
        codes += [code] * (len(said) - n_given)
        codes.append(code if message.channel != Channel.FINAL or is_last_final else Learned.NOTHING)
        goes_on = end == vocabulary.control.end and message.channel != Channel.FINAL
    return ids, codes


def system_text(content: SystemContent, has_functions: bool) -> str:
    """What a system message says. has_functions: the conversation declares functions, which go to commentary."""
    top = [content.identity] if content.identity is not None else []
    if content.knowledge_cutoff is not None:
        top.append(f"Knowledge cutoff: {content.knowledge_cutoff}")
    if content.date is not None:
        top.append(f"Current date: {content.date}")
    sections = ["\n".join(top)] if top else []
    if content.effort is not None:
        sections.append(f"Reasoning: {content.effort}")
    if content.builtin_tools:
        sections.append(builtin_section(content.builtin_tools))
    if content.channels:
        channels = f"# Valid channels: {', '.join(content.channels)}. Channel must be included for every message."
        calls = f"\nCalls to these tools must go to the commentary channel: '{FUNCTIONS}'."
        sections.append(channels + calls if has_functions else channels)
    return "\n\n".join(sections)


def developer_text(content: DeveloperContent, spoken: Mapping[str, str] | None = None) -> str:
    """What a developer message says. spoken: functions' names that are written otherwise (names.spoken_names)."""
    spoken = spoken or {}
    tools = [replace(tool, name=spoken.get(tool.name, tool.name)) for tool in content.tools]
    sections = []
    if content.instructions is not None:
        sections += ["# Instructions", content.instructions]
    if tools:
        sections.append(tools_section([namespace(FUNCTIONS, tools)]))
    if content.response_formats:
        sections += ["# Response Formats", *map(_response_format, content.response_formats)]
    return "\n\n".join(sections)


def _response_format(response_format: ResponseFormat) -> str:
    lines = [f"## {response_format.name}\n", *(f"// {line}" for line in split_lines(response_format.description))]
    return "\n".join([*lines, compact_json(response_format.schema)])


def _setting(messages: Sequence[Message], most: int | None = None) -> _Setting:
    contents = (part for message in messages for part in message.content if isinstance(part, DeveloperContent))
    names = [tool.name for content in contents for tool in content.tools]
    return _Setting(bool(names), spoken_names(names), most)


def _after_last_final(messages: Sequence[Message]) -> int:
    """Where the turn in progress begins: behind the last final message of the assistant."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].channel == Channel.FINAL and messages[index].role is Role.ASSISTANT:
            return index + 1
    return 0


def _without_finished_reasoning(messages: Sequence[Message], turn_start: int) -> Iterator[tuple[int, Message]]:
    for index, message in enumerate(messages):
        if index >= turn_start or message.channel != Channel.ANALYSIS:
            yield index, message


def _opening(speaker: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    return vocabulary.control.start, *vocabulary.encode_fixed(speaker)


def _frame(message: Message, vocabulary: Vocabulary, setting: _Setting) -> list[int]:
    """Header and body, without the end."""
    ids = _header(message, vocabulary, setting)
    for part in message.content:
        ids += _part(part, message.role, vocabulary, setting)
        within(ids, setting.most)
    return ids


def _header(message: Message, vocabulary: Vocabulary, setting: _Setting) -> list[int]:
    """From `<|start|>` to `<|message|>`."""
    control, encode = vocabulary.control, partial(vocabulary.encode_fixed, most=setting.most)
    author, spoken = message.author, setting.spoken
    if author.role is Role.TOOL:
        if not author.name:
            raise BadRequest("A tool's message needs the name of its tool: Message.tool('functions.get_weather', ...).")
        if author.name.partition(":")[0] in list(Role):
            raise BadRequest(f"A tool's message is by {author.name!r}, which is a role. Use 'functions.{author.name}'.")
        ids = [control.start, *encode(spoken_recipient(author.name, spoken))]
    else:
        ids = [*_opening(author.role, vocabulary)]
        if author.name is not None:
            ids += encode(f":{sayable(author.name)}")
    if message.recipient is not None and message.recipient != "all":
        ids += encode(f" to={spoken_recipient(message.recipient, spoken)}")
    if message.channel is not None:
        ids.append(control.channel)
        ids += encode(str(message.channel))
    if message.content_type is not None:
        if message.content_type.startswith(CONSTRAIN):
            ids += encode(" ")
            ids.append(control.constrain)
            ids += encode(message.content_type.removeprefix(CONSTRAIN))
        else:
            ids += encode(f" {message.content_type}")
    ids.append(control.message)
    return ids


def _part(part: Content, role: Role, vocabulary: Vocabulary, setting: _Setting) -> Sequence[int]:
    if isinstance(part, str):
        return vocabulary.encode(part, most=setting.most)
    if isinstance(part, SystemContent):
        if role is not Role.SYSTEM:
            raise BadRequest(f"SystemContent belongs into a system message, not into one of the {role}.")
        return vocabulary.encode_fixed(system_text(part, setting.has_functions), setting.most)
    if role is not Role.DEVELOPER:
        raise BadRequest(f"DeveloperContent belongs into a developer message, not into one of the {role}.")
    return vocabulary.encode_fixed(developer_text(part, setting.spoken), setting.most)


def _end(message: Message, vocabulary: Vocabulary) -> int:
    is_call = message.role is Role.ASSISTANT and message.recipient is not None
    return vocabulary.control.call if is_call else vocabulary.control.end


def _code(message: Message) -> Learned:
    if message.recipient is not None:
        return Learned.CALL
    if message.channel == Channel.ANALYSIS:
        return Learned.ANALYSIS
    return Learned.COMMENTARY if message.channel == Channel.COMMENTARY else Learned.FINAL

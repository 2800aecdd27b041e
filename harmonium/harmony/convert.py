"""People's messages to a Conversation, and back: OpenAI's chat roles, the transformers template's keys, any tools.

System text becomes the developer message, as gpt-oss was trained; the system message says only what the format puts
there. Reasoning is read from `reasoning`, `reasoning_content` or `thinking`. The models make one call at a time, so
parallel calls of other histories are set one after the other, each before its result.
"""

from __future__ import annotations

import ast
import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harmonium.errors import BadRequest
from harmonium.harmony.contents import result_parts, text_parts
from harmonium.harmony.heads import developers, system
from harmonium.harmony.messages import (
    Author,
    Channel,
    Conversation,
    DeveloperContent,
    Effort,
    Message,
    ResponseFormat,
    Role,
    ToolSpec,
)
from harmonium.harmony.namespaces import FUNCTIONS, builtin_section
from harmonium.harmony.schema import compact_json
from harmonium.harmony.signature import tool_spec

REASONING_KEYS = ("reasoning", "reasoning_content", "thinking")


def conversation(
    messages: str | Conversation | Sequence[Message | Mapping[str, Any]],
    *,
    tools: Iterable[ToolSpec | Mapping[str, Any] | Callable[..., Any]] = (),
    builtin_tools: Sequence[str] = (),
    effort: Effort | str | None = None,
    identity: str | None = None,
    date: datetime.date | str | None = None,
    knowledge_cutoff: str | None = None,
    response_format: ResponseFormat | Mapping[str, Any] | None = None,
) -> Conversation:
    """A conversation that begins with its system message and, where there is something to say, its developer message.

    messages: a question, or dicts of OpenAI's chat API or the transformers template, or Messages, mixed at will.
    Settings that are given override those of a system Message among them; effort is medium by default. Raises
    BadRequest for what gpt-oss cannot be told.
    """
    if isinstance(messages, Conversation):
        messages = messages.messages
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    specs = tuple(tool_spec(tool) for tool in tools)
    names = [spec.name for spec in specs]
    if doubled := next((name for name, n in Counter(names).items() if n > 1), None):
        raise BadRequest(f"Two tools are named {doubled!r}. Give each a name of its own.", param="tools")
    builtin_section(builtin_tools)
    said = list(_Reader(names, builtin_tools).read(messages))
    if not said:
        raise BadRequest("There are no messages. Give at least one, such as {'role': 'user', 'content': 'Hello'}.")
    n_head = next((n for n, message in enumerate(said) if message.role not in (Role.SYSTEM, Role.DEVELOPER)), len(said))
    head, rest = said[:n_head], said[n_head:]
    settings = {
        "effort": None if effort is None else _effort(effort),
        "identity": identity,
        "date": _date(date),
        "knowledge_cutoff": knowledge_cutoff,
    }
    chosen = {name: value for name, value in settings.items() if value is not None}
    formats = response_formats(response_format)
    head = [system(head, chosen, builtin_tools), *developers(head, specs, formats)]
    return Conversation((*head, *rest))


def to_dicts(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as OpenAI's chat API has them, with `reasoning`.

    Given the same tools, `conversation` reads back what was said as gpt-oss is trained to say it: texts, channels,
    recipients. What that API has no place for is not kept: reasoning and preambles without text, content types, a call
    on another channel than its own, exact ids. The system message and declared tools are settings there, not messages.
    """
    writer = _Writer()
    for message in messages:
        writer.add(message)
    writer.flush()
    return writer.dicts


def read_arguments(text: str) -> dict[str, Any]:
    """A call's arguments as a dict: JSON, or, as models write it at times, a Python literal or a fenced block.

    Raises BadRequest, in words that a model can act on, when they are none of these.
    """
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```"):
        stripped = stripped.strip("`").removeprefix("json").strip()
    if not stripped:
        return {}
    value: Any = None
    try:
        value = json.loads(stripped, strict=False)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(stripped)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise BadRequest("The arguments are not JSON. Send one JSON object with the parameters by name.") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadRequest("The arguments are not a JSON object. Send one with the parameters by name.")
    return value


def _date(date: Any) -> str | None:
    if date is None:
        return None
    try:
        if isinstance(date, datetime.date):
            return date.isoformat()
        return datetime.date.fromisoformat(date).isoformat()
    except (TypeError, ValueError):
        raise BadRequest(f"{date!r} is no date. Give it as YYYY-MM-DD, or as datetime.date.") from None


def _effort(effort: str) -> Effort:
    if effort not in list(Effort):
        raise BadRequest(f"{effort!r} is no effort. It is one of {', '.join(Effort)}.")
    return Effort(effort)


def _channel(name: Any) -> Channel:
    if name not in list(Channel):
        raise BadRequest(f"{name!r} is no channel. It is one of {', '.join(Channel)}.")
    return Channel(name)


def response_formats(given: ResponseFormat | Mapping[str, Any] | None) -> tuple[ResponseFormat, ...]:
    """What the model is told of OpenAI's response_format, of the chat API or of Responses: a schema.

    Plain text, free JSON and grammars need no words. Raises BadRequest for any other.
    """
    if given is None or isinstance(given, ResponseFormat):
        return () if given is None else (given,)
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind in ("text", "json_object", "grammar"):
        return ()
    if not isinstance(given, Mapping):
        raise BadRequest(
            f"A response_format is a dict with a type, not {type(given).__name__}.", param="response_format"
        )
    inner = given.get("json_schema", given)
    if kind != "json_schema" or not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise BadRequest(
            "A response_format is text, json_object, grammar, or json_schema with a name and a schema.",
            param="response_format",
        )
    name, description = inner.get("name") or "answer", inner.get("description") or ""
    if not str(name).isprintable():
        raise BadRequest(f"The name of a response_format is one line, not {name!r}.", param="response_format")
    return (ResponseFormat(str(name), inner["schema"], str(description)),)


class _Reader:
    """Reads one history. Calls wait for their results, so that each can be set right before its own."""

    def __init__(self, functions: Iterable[str], builtin_tools: Iterable[str]) -> None:
        self._functions = frozenset(functions)
        self._builtin = frozenset(builtin_tools)
        self._waiting: list[tuple[str | None, Message]] = []
        self._recipients: dict[str, str] = {}

    def read(self, messages: Iterable[Message | Mapping[str, Any]]) -> Iterator[Message]:
        if not isinstance(messages, Iterable):
            raise BadRequest(f"Messages are a text or a list of dicts with a role, not {type(messages).__name__}.")
        for number, message in enumerate(messages):
            if not isinstance(message, (Message, Mapping)):
                raise BadRequest(f"Message {number} is neither a dict with a role nor a Message.")
            try:
                if isinstance(message, Message) or not (_is_result(message) or _is_only_calls(message)):
                    yield from self._release()
                yield from (message,) if isinstance(message, Message) else self._one(message)
            except BadRequest as error:
                raise BadRequest(f"Message {number}: {error}") from None
        yield from self._release()

    def _release(self) -> Iterator[Message]:
        """Calls that nobody answered."""
        yield from (call for _, call in self._waiting)
        self._waiting = []

    def _one(self, message: Mapping[str, Any]) -> Iterator[Message]:
        role = message.get("role")
        if message.get("recipient") or message.get("content_type"):
            yield self._harmony(message)
        elif role in ("system", "developer"):
            text = "".join(text_parts(message.get("content")))
            yield Message.developer(DeveloperContent(instructions=text))
        elif role == "user":
            yield Message(Author(Role.USER, _name(message)), text_parts(message.get("content")) or ("",))
        elif role == "assistant":
            yield from self._assistant(message)
        elif role in ("tool", "function"):
            yield from self._result(message)
        else:
            raise BadRequest(f"{role!r} is no role. It is one of {', '.join(Role)}.")

    def _harmony(self, message: Mapping[str, Any]) -> Message:
        """A dict that has harmony's own header fields."""
        if message.get("role") not in list(Role):
            raise BadRequest(f"{message.get('role')!r} is no role. It is one of {', '.join(Role)}.")
        fields = {name: message.get(name) or None for name in ("name", "channel", "recipient", "content_type")}
        for name, value in fields.items():
            if not (value is None or isinstance(value, str)):
                raise BadRequest(f"The {name} of a message is text, not {type(value).__name__}.")
        author = Author(Role(message["role"]), fields.pop("name"))
        channel = fields.pop("channel")
        return Message(author, text_parts(message.get("content")) or ("",), channel and _channel(channel), **fields)

    def _assistant(self, message: Mapping[str, Any]) -> Iterator[Message]:
        reasoning = _reasoning(message)
        if reasoning:
            yield Message(Author(Role.ASSISTANT), text_parts(reasoning), Channel.ANALYSIS)
        made = message.get("tool_calls") or ()
        calls = list(made) if isinstance(made, (list, tuple)) else [made]
        if message.get("function_call"):
            calls.append({"function": message["function_call"]})
        parts = text_parts(message.get("content")) or text_parts(message.get("refusal"))
        channel = message.get("channel")
        if any(parts) or not (calls or (reasoning and not channel)):
            channel = channel or (Channel.COMMENTARY if calls else Channel.FINAL)
            yield Message(Author(Role.ASSISTANT), parts or ("",), _channel(channel))
        for call in calls:
            self._waiting.append(self._call(call))

    def _call(self, call: Any) -> tuple[str | None, Message]:
        """The call's id, if any, and its message."""
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise BadRequest('A tool call is {"id": ..., "function": {"name": ..., "arguments": ...}}.')
        arguments = function.get("arguments")
        if self._is_builtin(function["name"]):
            arguments = _code(arguments)
        text = arguments if isinstance(arguments, str) else compact_json({} if arguments is None else arguments)
        recipient = self._recipient(function["name"])
        id_ = call.get("id")
        if isinstance(id_, str):
            self._recipients[id_] = recipient
        if recipient.startswith(f"{FUNCTIONS}."):
            return id_, Message.call(recipient.removeprefix(f"{FUNCTIONS}."), text)
        return id_, Message.builtin_call(recipient, text)

    def _is_builtin(self, name: str) -> bool:
        return name not in self._functions and name.partition(".")[0] in self._builtin

    def _recipient(self, name: str) -> str:
        if self._is_builtin(name):
            return name
        return f"{FUNCTIONS}.{name if name in self._functions else name.removeprefix(f'{FUNCTIONS}.')}"

    def _result(self, message: Mapping[str, Any]) -> Iterator[Message]:
        """The call that this result answers, if it was still waiting, and the result."""
        id_, name = message.get("tool_call_id"), message.get("name")
        recipient = self._recipients.get(id_) if isinstance(id_, str) and id_ else None
        named = self._recipient(name) if isinstance(name, str) and name else recipient
        recipient = recipient or named
        call = self._take(id_, named)
        if call is not None:
            yield call
            recipient = call.recipient
        if recipient is None:
            raise BadRequest("This tool result answers no call. Give it the tool_call_id or the name of its function.")
        parts = result_parts(message.get("content"))
        channel = Channel.COMMENTARY if recipient.startswith(f"{FUNCTIONS}.") else Channel.ANALYSIS
        yield Message(Author(Role.TOOL, recipient), parts, channel, recipient="assistant")

    def _take(self, id_: Any, recipient: str | None) -> Message | None:
        """The first of the waiting calls with this id, or else to this recipient, or else of all when neither is known.

        Where calls share an id the recipient tells them apart; an empty id is none.
        """

        def fits(n: int) -> tuple[bool, bool, bool]:
            own, call = self._waiting[n]
            return bool(id_) and own == id_, call.recipient == recipient, recipient is None

        best = max(range(len(self._waiting)), key=fits, default=None)
        return None if best is None or not any(fits(best)) else self._waiting.pop(best)[1]


def _is_result(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("tool", "function")


def _is_only_calls(message: Mapping[str, Any]) -> bool:
    """Calls without a word: with those of messages before it they are made at once, and answered behind."""
    return bool(message.get("tool_calls")) and not (message.get("content") or _reasoning(message))


def _reasoning(message: Mapping[str, Any]) -> Any:
    return next((message[key] for key in REASONING_KEYS if message.get(key)), None)


def _code(arguments: Any) -> Any:
    """What a builtin tool is sent: the code of arguments that hold just that, as a dict or as JSON of a text."""
    if isinstance(arguments, str):
        read = _json_object(arguments)
        return read["code"] if read.keys() == {"code"} and isinstance(read["code"], str) else arguments
    return arguments["code"] if isinstance(arguments, Mapping) and set(arguments) == {"code"} else arguments


def _json_object(text: str) -> Mapping[str, Any]:
    """Of JSON, empty where it is none or no object."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, Mapping) else {}


def _name(message: Mapping[str, Any]) -> str | None:
    """A speaker's name, as a header can hold it."""
    name = message.get("name")
    if not isinstance(name, str) or not name:
        return None
    return "".join(character if character.isalnum() or character in "_-." else "_" for character in name)


class _Writer:
    """Gathers what the assistant says between two others: reasoning, and a text or a call."""

    def __init__(self) -> None:
        self.dicts: list[dict[str, Any]] = []
        self._open: dict[str, Any] = {}
        self._calls: list[tuple[str, str]] = []  # recipient and id

    def add(self, message: Message) -> None:
        if message.role is Role.ASSISTANT:
            self._assistant(message)
            return
        self.flush()
        if message.role is Role.TOOL:
            self._result(message)
        elif message.role is Role.DEVELOPER:
            contents = [part for part in message.content if isinstance(part, DeveloperContent)]
            text = "\n\n".join(filter(None, [*(content.instructions for content in contents), message.text]))
            if text:
                self.dicts.append({"role": "developer", "content": text})
        elif message.role is Role.USER:
            name = {} if message.author.name is None else {"name": message.author.name}
            self.dicts.append({"role": "user", **name, "content": message.text})

    def _assistant(self, message: Message) -> None:
        if message.recipient is not None:
            id_ = f"call_{len(self._calls) + 1}"
            self._calls.append((message.recipient, id_))
            function = {"name": message.recipient.removeprefix(f"{FUNCTIONS}."), "arguments": message.text}
            self._open["tool_calls"] = [{"id": id_, "type": "function", "function": function}]
            self.flush()
        elif message.channel == Channel.ANALYSIS:
            self.flush()
            self._open["reasoning"] = message.text
        else:
            if "content" in self._open:
                self.flush()
            if message.channel == Channel.COMMENTARY or ("reasoning" in self._open and not message.text):
                self._open["channel"] = str(message.channel or Channel.FINAL)
            self._open["content"] = message.text
            if message.channel != Channel.COMMENTARY:
                self.flush()

    def _result(self, message: Message) -> None:
        name = message.author.name or ""
        ids = [{"tool_call_id": id_} for recipient, id_ in reversed(self._calls) if recipient == name][:1]
        id_ = ids[0] if ids else {}
        result = {"name": name.removeprefix(f"{FUNCTIONS}."), "content": message.text}
        self.dicts.append({"role": "tool", **id_, **result})

    def flush(self) -> None:
        if not self._open:
            return
        if "tool_calls" in self._open:
            self._open.pop("channel", None)
        self.dicts.append({"role": "assistant", "content": None} | self._open)
        self._open = {}

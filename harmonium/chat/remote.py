"""A model behind any OpenAI-compatible URL, asked as LLM is asked and answering with the same events.

The server reasons and calls; the functions run here, round by round, as in a turn of one's own model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack

from harmonium.chat import functions
from harmonium.chat.endpoint import Endpoint, NoApi
from harmonium.chat.events import Done, Event, FinishReason, ToolCall, ToolResult, Usage
from harmonium.chat.functions import Function, functions_of
from harmonium.chat.loop import MAX_TOOL_ROUNDS, refusal
from harmonium.chat.options import Tool, check, did_you_mean
from harmonium.chat.remote_api import Api, Ask, Object, Round
from harmonium.chat.remote_completions import ChatCompletions
from harmonium.chat.remote_responses import Responses
from harmonium.chat.reply import Reply
from harmonium.chat.restraint import Tools, tool_choice
from harmonium.errors import BadRequest, ModelNotFound
from harmonium.harmony.convert import conversation, response_formats
from harmonium.harmony.messages import Channel, Conversation, Effort, Message, ResponseFormat

ApiName = Literal["chat", "responses"]
_APIS: dict[str, Callable[[], Api]] = {"chat": ChatCompletions, "responses": Responses}
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")
_N_SHOWN = 12


class RemoteOptions(TypedDict, total=False):
    """The options of LLM.chat that a server can be told; what it does not know, it refuses in words of its own."""

    tools: Iterable[Tool]
    effort: Effort | str | None
    response_format: ResponseFormat | Mapping[str, Any] | None
    tool_choice: str | Mapping[str, Any] | None
    reasoning_budget: int | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    run_tools: bool
    max_tool_rounds: int


class RemoteLLM:
    """A model on a server.

        llm = RemoteLLM("localhost:8000")
        print(llm.chat("What is the capital of Australia?").text)

    name: the model's there; context: most tokens of prompt and answer together, None where the server does not say.
    """

    def __init__(self, url: str, model: str | None = None, *, api: ApiName = "chat", key: str | None = None) -> None:
        """url: see endpoint.address. model: may be left out where the server has one alone.

        api: which of OpenAI's is spoken. Raises BadRequest, ServerUnreachable or Unauthorized.
        """
        if api not in _APIS:
            raise BadRequest(f"There is no API {api!r}{did_you_mean(str(api), _APIS)}")
        self._api = _APIS[api]()
        self._endpoint = Endpoint(url, key)
        self.url = self._endpoint.url
        listed = self._models(is_needed=model is None)
        self.name = model if model is not None else self._only(list(listed))
        self.context: int | None = listed.get(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._endpoint.close()

    def chat(self, messages: str | Conversation | Sequence[Any], **options: Unpack[RemoteOptions]) -> Reply:
        """The model's next turn in a conversation, whole."""
        return Reply.of(self.stream(messages, **options))

    def stream(
        self, messages: str | Conversation | Sequence[Any], **options: Unpack[RemoteOptions]
    ) -> Generator[Event, None, None]:
        """The same turn as events, as they come; the last is Done, without ids. Closing the generator hangs up.

        What is wrong with messages or options is raised here, what goes wrong later while the events are read:
        whatever Endpoint.stream raises.
        """
        check(options, RemoteOptions)
        tools = list(options.get("tools") or ())
        said = conversation(messages, tools=tools)
        runnable = functions_of(tools) if options.get("run_tools", True) else {}
        rounds = options.get("max_tool_rounds", MAX_TOOL_ROUNDS)
        return self._turn(said, self._ask(said, options), runnable, rounds)

    def _ask(self, said: Conversation, options: Mapping[str, Any]) -> Ask:
        choice = options.get("tool_choice")
        return Ask(
            model=self.name,
            tools=Tools.of(said).functions,
            tool_choice=None if choice is None else tool_choice(choice),
            effort=options.get("effort"),
            max_tokens=options.get("max_tokens"),
            reasoning_budget=options.get("reasoning_budget"),
            response_format=_response_format(options.get("response_format")),
            sampling={name: value for name in _SAMPLING if (value := options.get(name)) is not None},
        )

    def _turn(
        self, conversation: Conversation, ask: Ask, runnable: Mapping[str, Function], max_tool_rounds: int
    ) -> Generator[Event, None, None]:
        history, turn = self._api.history(conversation.messages), _Turn(Tools.of(conversation), runnable)
        while True:
            reader = self._api.reader(turn.has_reasoned)
            body = self._api.body([*history, *turn.said], turn.narrowed(ask))
            with closing(self._endpoint.stream(self._api.path, body)) as stream:
                for data in stream:
                    yield from reader.feed(data)
            yield from reader.finish()
            answer = reader.round
            turn.add(answer)
            reason = turn.end(answer, ask.max_tokens, max_tool_rounds)
            if reason is not None:
                turn.messages += map(_message, answer.calls)
                yield Done(reason, turn.usage, tuple(turn.messages), ())
                return
            for call in answer.calls:
                result = turn.run(call)
                yield result
                turn.said.append(self._api.result(result))

    def _models(self, is_needed: bool) -> dict[str, int | None]:
        """The models that the server lists, and the context of each where it says so."""
        try:
            listed = self._endpoint.get("/models")
        except (ModelNotFound, NoApi):
            if is_needed:
                raise
            return {}  # some servers list none; whether it has the one that was named, the first answer shows
        entries = listed.get("data") if isinstance(listed, dict) else None
        found = [entry for entry in entries or () if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        return {entry["id"]: _context(entry) for entry in found}

    def _only(self, names: Sequence[str]) -> str:
        if len(names) == 1:
            return names[0]
        if not names:
            raise ModelNotFound(f"{self.url} lists no models; name the one to ask.")
        shown = ", ".join(names[:_N_SHOWN]) + (" ..." if len(names) > _N_SHOWN else "")
        raise ModelNotFound(f"{self.url} has {len(names)} models; name the one to ask: {shown}")


class _Turn:
    """What was said in a turn so far. said: as the server is told it again; messages: in harmony."""

    def __init__(self, offered: Tools, runnable: Mapping[str, Function]) -> None:
        self.said: list[Object] = []
        self.messages: list[Message] = []
        self.usage = Usage()
        self._n_computed = 0  # tokens of all rounds' prompts that were not cached
        self._n_rounds = 0
        self._offered, self._runnable = offered, runnable

    @property
    def has_reasoned(self) -> bool:
        return any(message.channel == Channel.ANALYSIS for message in self.messages)

    def narrowed(self, ask: Ask) -> Ask:
        """What the next round may take: limits are the turn's, and a call that had to be made has been made."""
        if self._n_rounds == 0:
            return ask
        return replace(
            ask,
            max_tokens=None if ask.max_tokens is None else ask.max_tokens - self.usage.completion,
            reasoning_budget=None
            if ask.reasoning_budget is None
            else max(0, ask.reasoning_budget - self.usage.reasoning),
            tool_choice=ask.tool_choice if ask.tool_choice in (None, "none") else "auto",
        )

    def add(self, answer: Round) -> None:
        """Earlier rounds are in the prompts of later ones; each token counts once, and all together are the context."""
        self._n_rounds += 1
        self.said += answer.said
        self.messages += answer.messages
        last, completion = answer.usage, self.usage.completion + answer.usage.completion
        prompt = max(0, last.prompt + last.completion - completion)
        self._n_computed += last.prompt - last.cached
        self.usage = Usage(prompt, completion, self.usage.reasoning + last.reasoning, max(0, prompt - self._n_computed))

    def end(self, answer: Round, max_tokens: int | None, max_tool_rounds: int) -> FinishReason | None:
        """Why the turn ends after a round, None where it goes on."""
        if not answer.calls:
            return answer.finish_reason
        if any(self._offered.has(call.name) and call.name not in self._runnable for call in answer.calls):
            return FinishReason.TOOL_CALLS
        if self._n_rounds > max_tool_rounds:
            return FinishReason.TOOL_ROUNDS
        if max_tokens is not None and self.usage.completion >= max_tokens:
            return FinishReason.LENGTH
        return None

    def run(self, call: ToolCall) -> ToolResult:
        """The result of a call of the last round. Each result stands right behind its call, however many there are."""
        function = self._runnable.get(call.name)
        result = refusal(call, self._offered) if function is None else functions.run(function, call)
        self.messages += [_message(call), call.answer(result.text)]
        return result


def _context(entry: Mapping[str, Any]) -> int | None:
    """Of a listed model; servers have two names for it, or none."""
    sizes = (entry.get(name) for name in ("max_model_len", "context_length"))
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def _message(call: ToolCall) -> Message:
    return Message.call(call.name, call.arguments)


def _response_format(given: ResponseFormat | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """As the chat API has it. Raises BadRequest for what is no format."""
    response_formats(given)
    if not isinstance(given, ResponseFormat):
        return given
    schema = {"name": given.name, "description": given.description, "schema": dict(given.schema)}
    return {"type": "json_schema", "json_schema": schema}

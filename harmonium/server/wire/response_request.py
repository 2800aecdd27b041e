"""What a client asks of /v1/responses, as options of LLM.chat and as the response object says it back.

Nothing that clients are known to send fails: keys that mean nothing here are kept out of the way and reported, other
APIs' names for the same thing are read (`messages`, `max_tokens`), and so are tools of kinds that are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from openai.types.responses import ResponseIncludable
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from harmonium.chat.options import ChatOptions
from harmonium.engine.request import SamplingParams
from harmonium.errors import BadRequest
from harmonium.harmony.convert import response_formats
from harmonium.harmony.messages import Effort, ToolSpec
from harmonium.harmony.signature import tool_spec
from harmonium.server.plain_json import Body as RequestBody
from harmonium.server.reading import Items
from harmonium.server.settings import Settings
from harmonium.server.wire.chat_request import AS_IT_IS, EFFORTS, Penalty, ReasoningOptions, response_format
from harmonium.server.wire.response_items import Body, input_items, left_out
from harmonium.server.wire.tools import Offered, offered

LOGPROBS = "message.output_text.logprobs"
SEALED = "reasoning.encrypted_content"
INCLUDED: tuple[str, ...] = get_args(ResponseIncludable)
WITHOUT_EFFECT = frozenset(
    [
        "access_programs",
        "background_options",
        "image",
        "moderation",
        "prompt_cache_options",
        "prompt_cache_retention",
        "stream_options",
        "client_metadata",
    ]
)
"""Of OpenAI's own parameters, those that nothing here depends on. Others than these and the fields are reported."""

MANY = 1000
"""Items that are read in a millisecond or some."""
Metadata = dict[
    Annotated[str, StringConstraints(max_length=64)],
    Annotated[str, StringConstraints(max_length=512)],
]


class ResponseReasoningOptions(ReasoningOptions):
    """max_tokens: a budget, after which the reasoning is closed and the answer begins."""

    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    generate_summary: Literal["auto", "concise", "detailed", "none"] | None = None


class TextOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ConversationReference(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str


class ResponseRequest(RequestBody):
    """A request's body."""

    model: str | None = None
    input: str | list[Any] | dict[str, Any] | None = None
    messages: list[Any] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationReference | None = None
    prompt: dict[str, Any] | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    include: list[Any] | None = None
    metadata: Metadata | None = Field(None, max_length=16)
    reasoning: ResponseReasoningOptions | None = None
    text: TextOptions | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    max_tool_calls: int | None = Field(None, ge=0)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | Items[str] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None

    @property
    def ignored(self) -> list[str]:
        """Keys, and what was to be included, that mean nothing here."""
        verbosity = None if self.text is None else self.text.verbosity
        unheard = [] if verbosity in (None, "medium") else ["text.verbosity"]
        unheard += [] if self.service_tier in (None, *AS_IT_IS["service_tier"]) else ["service_tier"]
        for name, inner in (("reasoning", self.reasoning), ("text", self.text)):
            unheard += [f"{name}.{key}" for key in (inner.model_extra or {} if inner is not None else ())]
        unknown = [f"include {one}" for one in self.include or () if one not in INCLUDED]
        return sorted([*((self.model_extra or {}).keys() - WITHOUT_EFFECT), *unheard, *unknown])

    @property
    def items(self) -> list[Body]:
        """What is said, one item after the other."""
        if self.input is None and self.messages is not None:
            return input_items(self.messages, "messages")
        return input_items(self.input)

    @property
    def left_out(self) -> list[str]:
        """What tools gave that cannot be read."""
        return left_out(self.messages if self.input is None else self.input)

    @property
    def has_many_items(self) -> bool:
        """So many that reading them would be a pause for others."""
        said = self.messages if self.input is None else self.input
        return isinstance(said, list) and len(said) > MANY

    @property
    def conversation_id(self) -> str | None:
        given = self.conversation
        return given.id if isinstance(given, ConversationReference) else given

    @property
    def is_stored(self) -> bool:
        return self.store is not False

    @property
    def seals_reasoning(self) -> bool:
        """Clients that keep the conversation themselves get the reasoning in a form that they can send back."""
        return SEALED in (self.include or ()) or not self.is_stored

    @property
    def has_grammars(self) -> bool:
        """There may be something to compile."""
        return bool(self.tools or self.format)

    def shows_reasoning(self, settings: Settings) -> bool:
        is_excluded = self.reasoning is not None and bool(self.reasoning.exclude)
        return settings.reasoning_format == "split" and not is_excluded

    @property
    def n_logprobs(self) -> int | None:
        """How many alternatives to report beside each token; None for no report."""
        if self.top_logprobs is None and LOGPROBS not in (self.include or ()):
            return None
        return self.top_logprobs or 0

    @property
    def summarizes(self) -> bool:
        """A summary of the reasoning is asked for."""
        asked = self.reasoning
        return asked is not None and (asked.summary or asked.generate_summary or "none") != "none"

    @property
    def effort(self) -> str | None:
        return None if self.reasoning is None else self.reasoning.wanted

    @property
    def format(self) -> Mapping[str, Any] | None:
        """What the answer follows, None where it is text."""
        return response_format(None if self.text is None else self.text.format)

    def n_most(self, settings: Settings) -> int | None:
        """The most tokens that the response may have; None for what the context has left."""
        limits = (self.max_output_tokens, self.max_tokens, settings.max_tokens)
        return next((limit for limit in limits if limit is not None), None)

    def check(self) -> None:
        """Raises BadRequest for what cannot go together."""
        if self.previous_response_id is not None and self.conversation is not None:
            raise BadRequest(
                "previous_response_id and conversation are two ways to say what came before; give one of them.",
                param="previous_response_id",
            )
        if self.background and not self.is_stored:
            raise BadRequest(
                "A response in the background is asked for later, so it has to be stored; leave out store.",
                param="store",
            )
        if self.prompt is not None:
            raise BadRequest("There are no prompt templates here; send the text as instructions.", param="prompt")
        try:
            response_formats(self.format)
        except BadRequest as error:
            raise BadRequest(str(error), param="text.format") from None
        if self.effort is not None and self.effort not in EFFORTS:
            raise BadRequest(
                f"reasoning.effort is {self.effort!r}; it is one of {', '.join(EFFORTS)}.", param="reasoning.effort"
            )

    @property
    def offered(self) -> tuple[Offered, Any]:
        """The tools, and the choice among them."""
        return offered(self.tools).choice(self.tool_choice)

    def options(self, tools: Offered, choice: Any, settings: Settings) -> ChatOptions:
        """As LLM.chat takes them."""
        budget = None if self.reasoning is None else self.reasoning.max_tokens
        budgets = (budget, 0 if self.effort == "none" else None, settings.reasoning_budget)
        return {
            "tools": [_spec(tool, f"tools.{number}") for number, tool in enumerate(tools.functions)],
            "tool_choice": choice,
            "effort": None if self.effort is None else EFFORTS[self.effort],
            "response_format": self.format,
            "reasoning_budget": next((budget for budget in budgets if budget is not None), None),
            "stop_loops": True,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "seed": self.seed,
            "stop": self.stop,
            "logprobs": self.n_logprobs,
            "max_tokens": self.n_most(settings),
        }

    def said_back(self, defaults: SamplingParams, settings: Settings) -> dict[str, Any]:
        """The fields of the response object that say what was asked for, as it was understood."""
        tools = offered(self.tools)
        effort = self.effort or Effort.MEDIUM
        summary = None if self.reasoning is None else self.reasoning.summary or self.reasoning.generate_summary
        return {
            "background": bool(self.background),
            "conversation": None if self.conversation_id is None else {"id": self.conversation_id},
            "frequency_penalty": self.frequency_penalty or 0.0,
            "instructions": self.instructions,
            "max_output_tokens": self.n_most(settings),
            "max_tool_calls": self.max_tool_calls,
            "parallel_tool_calls": False,
            "presence_penalty": self.presence_penalty or 0.0,
            "previous_response_id": self.previous_response_id,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {
                "effort": effort if effort == "none" else EFFORTS[effort],
                "summary": None if summary == "none" else summary,
            },
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "store": self.is_stored,
            "temperature": defaults.temperature if self.temperature is None else self.temperature,
            "text": {
                "format": _format(self.format),
                "verbosity": "medium" if self.text is None or self.text.verbosity is None else self.text.verbosity,
            },
            "tool_choice": self._choice(tools),
            "tools": [_tool(tool) for tool in tools.functions],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": defaults.top_p if self.top_p is None else self.top_p,
            "truncation": self.truncation or "disabled",
            "user": self.user,
        }

    def _choice(self, tools: Offered) -> Any:
        """The choice that was made among what is offered."""
        left, choice = tools.choice(self.tool_choice)
        if isinstance(self.tool_choice, Mapping) and self.tool_choice.get("type") == "allowed_tools":
            named = [{"type": "function", "name": tool["name"]} for tool in map(_tool, left.functions)]
            return {"type": "allowed_tools", "mode": "required" if choice == "required" else "auto", "tools": named}
        if isinstance(choice, Mapping):
            return {"type": "function", "name": _tool(choice)["name"]}
        if choice is None or choice in ("none", "auto", "required"):
            return choice or "auto"
        return {"type": "function", "name": choice}


def _spec(tool: Mapping[str, Any], param: str) -> ToolSpec:
    """A function as the model is told it. One that does not say `strict` is, as far as its schema allows."""
    try:
        return tool_spec(tool, unsaid_strict=None)
    except BadRequest as error:
        raise BadRequest(str(error), param=param) from None


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function as the response object shows it."""
    function = tool.get("function")
    inner: Mapping[str, Any] = function if isinstance(function, Mapping) else tool
    return {
        "type": "function",
        "name": inner.get("name"),
        "description": inner.get("description"),
        "parameters": inner.get("parameters"),
        "strict": inner.get("strict"),
    }


def _format(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A text.format as the response object shows it."""
    if given is None:
        return {"type": "text"}
    if given["type"] != "json_schema":
        return dict(given)
    inner = given.get("json_schema", given)
    return {
        "type": "json_schema",
        "name": inner.get("name") or "answer",
        "description": inner.get("description"),
        "schema": inner["schema"],
        "strict": inner.get("strict") is not False,
    }

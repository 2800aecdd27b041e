"""What a client asks of /v1/chat/completions, as options of LLM.chat. Nothing that clients are known to send fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from harmonium.chat.options import ChatOptions
from harmonium.errors import BadRequest
from harmonium.server.reading import Items
from harmonium.server.settings import Settings
from harmonium.server.wire.tools import Offered, offered

EFFORTS = {
    **{"none": "low", "minimal": "low", "low": "low", "medium": "medium"},
    **{"high": "high", "xhigh": "high", "max": "high"},
}
"""OpenAI's efforts by gpt-oss's own; "none" leaves the reasoning out as well."""
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
WITHOUT_EFFECT = frozenset(
    {
        *("moderation", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("safety_identifier", "user"),
    }
)
"""Of OpenAI's own parameters, those that nothing here depends on. Others than these and the fields are reported."""
AS_IT_IS: Mapping[str, tuple[Any, ...]] = {
    "metadata": ({},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
}
"""What asks for nothing else than what happens anyway."""


LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Where a request says how long an answer may be; the first counts."""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None


class ReasoningOptions(BaseModel):
    """As routers of many models have it."""

    model_config = ConfigDict(extra="allow")

    effort: str | None = None
    max_tokens: int | None = Field(None, ge=0)
    enabled: bool | None = None
    exclude: bool | None = None

    @property
    def wanted(self) -> str | None:
        """The effort, which is none where there is to be no reasoning."""
        return "none" if self.enabled is False else self.effort


class ChatFields(BaseModel):
    """All but the messages. null is the same as leaving a field out."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128)
    max_completion_tokens: int | None = Field(None, ge=-1)
    max_tokens: int | None = Field(None, ge=-1)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | Items[str] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: Items[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: Items[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    reasoning: ReasoningOptions | None = None
    reasoning_budget: int | None = Field(None, ge=0)
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def ignored(self) -> list[str]:
        """Keys that mean nothing here, those inside of `reasoning` too."""
        inner = {} if self.reasoning is None else self.reasoning.model_extra or {}
        return [*without_effect(self.model_extra), *(f"reasoning.{name}" for name in sorted(inner))]

    @property
    def has_grammars(self) -> bool:
        """There may be something to compile."""
        return bool(self.tools or self.functions or self.response_format)

    @property
    def wants_usage(self) -> bool:
        """In a stream; whole answers have it always."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def offered(self) -> tuple[Offered, Any]:
        """The tools, and the choice among them."""
        legacy = [{"type": "function", "function": function} for function in self.functions or ()]
        choice = self.function_call if self.tool_choice is None else self.tool_choice
        return offered([*(self.tools or ()), *legacy]).choice(choice)

    @property
    def effort(self) -> str | None:
        """What was asked for, in whichever of its places."""
        template = self.chat_template_kwargs or {}
        nested = None if self.reasoning is None else self.reasoning.wanted
        return next((one for one in (self.reasoning_effort, nested, template.get("reasoning_effort")) if one), None)

    def n_most(self, unless_asked: int | None) -> int | None:
        """The most tokens that an answer may have; -1 asks for no limit. Raises BadRequest for none at all."""
        for name in LIMITS:
            asked = getattr(self, name, None)
            if asked == 0:
                raise BadRequest(f"{name} is 0; give a positive number, or -1 for no limit.", param=name)
            if asked is not None:
                return None if asked == -1 else int(asked)
        return unless_asked

    def shows_reasoning(self, settings: Settings) -> bool:
        is_excluded = self.reasoning is not None and bool(self.reasoning.exclude)
        return settings.reasoning_format == "split" and not is_excluded and self.include_reasoning is not False

    def options(self, tools: Offered, choice: Any, settings: Settings) -> ChatOptions:
        """As LLM.chat takes them. Raises BadRequest for what cannot be."""
        effort = self.effort
        if effort is not None and effort not in EFFORTS:
            raise BadRequest(
                f"reasoning_effort is {effort!r}; it is one of {', '.join(EFFORTS)}.", param="reasoning_effort"
            )
        nested = None if self.reasoning is None else self.reasoning.max_tokens
        budgets = (self.reasoning_budget, nested, 0 if effort == "none" else None, settings.reasoning_budget)
        identity = (self.chat_template_kwargs or {}).get("model_identity")
        return {
            "tools": tools.functions,
            "tool_choice": choice,
            "effort": None if effort is None else EFFORTS[effort],
            "identity": identity if isinstance(identity, str) else None,
            "response_format": response_format(self.response_format),
            "reasoning_budget": next((budget for budget in budgets if budget is not None), None),
            "stop_loops": True,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "seed": self.seed,
            "max_tokens": self.n_most(settings.max_tokens),
            "stop": self.stop or None,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "logit_bias": self.logit_bias,
            "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
        }


class ChatRequest(ChatFields):
    """A request's body.

    Cursor's agent asks here in the words of Responses, with `input` in the place of `messages`, and reads an answer of
    this API.
    """

    messages: Items[dict[str, Any]] | None = Field(None, min_length=1)
    input: str | list[Any] | None = Field(None, min_length=1)
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=-1)


def without_effect(extra: Mapping[str, Any] | None) -> list[str]:
    """Of a request's further keys, those that ask for what is not done."""
    asked = {name: value for name, value in (extra or {}).items() if value is not None and name not in WITHOUT_EFFECT}
    return sorted(name for name, value in asked.items() if value not in AS_IT_IS.get(name, ()))


def response_format(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Of a response_format or text.format, what shapes the answer: text is what there is without one. An object with a
    schema, as other servers take it, is the schema's.
    """
    if given is None or given.get("type") in (None, "text"):
        return None
    if given["type"] == "json_object" and given.get("schema") is not None:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": given["schema"]}}
    return given

"""What may be said beside the messages: how they are shown to the model, how it samples, which functions run.

The keyword arguments of LLM.chat, stream and render, checked in one place.
"""

from __future__ import annotations

import datetime
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from numbers import Real
from typing import Any, TypedDict

from harmonium.chat.functions import Function, functions_of
from harmonium.chat.loop import MAX_TOOL_ROUNDS
from harmonium.chat.restraint import Rules, tool_choice
from harmonium.engine.request import SamplingParams
from harmonium.errors import BadRequest, at_fault
from harmonium.harmony.automaton import BUILTIN_RECIPIENTS
from harmonium.harmony.convert import conversation, response_formats
from harmonium.harmony.grammar import Grammar
from harmonium.harmony.messages import Effort, ResponseFormat, ToolSpec
from harmonium.harmony.signature import tool_spec

MOST_STOPS = 16
MOST_LOGPROBS = 20

Tool = Callable[..., Any] | ToolSpec | Mapping[str, Any]


class PromptOptions(TypedDict, total=False):
    """What the model is told."""

    tools: Iterable[Tool]
    """Python functions, which are run when they are called, or descriptions, whose calls are handed out."""
    builtin_tools: Sequence[str]
    """Any of "browser" and "python". Their calls are handed out."""
    effort: Effort | str | None
    """How long to reason: low, medium (unless given) or high."""
    identity: str | None
    """Who the model is told to be."""
    date: datetime.date | str | None
    """The current date; the model is told none unless given."""
    response_format: ResponseFormat | Mapping[str, Any] | None
    """What the answer follows: OpenAI's text, json_object or json_schema, or {"type": "grammar", "syntax": "lark" or
    "regex", "definition": ...}. The model is told a schema; that its answer follows it does not depend on that."""


class SamplingOptions(TypedDict, total=False):
    """Single fields of SamplingParams. None leaves the default."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[Any, float] | Iterable[tuple[int, float]] | None
    """What is added to the logits of ids: {id: value}, where an id may be a string of digits, as in OpenAI's JSON."""
    seed: int | None
    max_tokens: int | None
    """Of the whole turn, reasoning and calls included."""
    stop_ids: tuple[int, ...] | None
    """Further ids to stop at, besides the format's own."""


class CompletionOptions(SamplingOptions, total=False):
    params: SamplingParams | None
    """All sampling parameters at once; the model's own defaults are then not used."""


class ChatOptions(PromptOptions, CompletionOptions, total=False):
    tool_choice: str | Mapping[str, Any] | None
    """"none", "auto" (unless given), "required" for a call before the first answer, or the name of the tool to call."""
    stop: str | Sequence[str] | None
    """A string, or up to 16, at which the turn ends: where they come in the answer or a preamble, not in reasoning or
    calls. The string itself is not shown; the reply's `stop` says which it was."""
    logprobs: int | None
    """How many of the likeliest tokens to report, 0 to 20, beside the chance of each token that was chosen."""
    reasoning_budget: int | None
    """Tokens of reasoning after which it is closed, and the model answers or calls a tool; 0 leaves it out."""
    stop_loops: bool
    """True closes reasoning that goes round in circles: a piece of up to 1,024 tokens, said four times in a row and
    over at least 256 tokens. The answer is left alone: repetition may be what was asked for."""
    constrained: bool
    """False lets the model say anything, ill-formed headers and unknown tools included; what is read is then repaired.
    No format and no strict arguments are enforced."""
    run_tools: bool
    """False hands every call out."""
    max_tool_rounds: int
    """Calls that a turn may make before it ends with finish_reason "tool_rounds"."""


@dataclass(frozen=True)
class ChatSettings:
    """Options, checked. prompt: keywords of harmony.convert.conversation; functions: those to run, by name.

    rules: what the answer keeps to, None where it may say anything. stop: strings that end the turn.
    """

    prompt: Mapping[str, Any]
    params: SamplingParams
    functions: Mapping[str, Function]
    max_tool_rounds: int
    rules: Rules | None
    stop: tuple[str, ...] = ()

    def params_of(self, number: int) -> SamplingParams:
        """Those of one of several answers to the same prompt, counted from 0: a seed is another one for each."""
        seed = self.params.seed
        return self.params if seed is None else replace(self.params, seed=seed + number)


def chat_settings(options: Mapping[str, Any], default: SamplingParams, stop_ids: Iterable[int]) -> ChatSettings:
    """Raises BadRequest for an option that does not exist or cannot be, whatever the messages are."""
    check(options, ChatOptions)
    for name in ("constrained", "stop_loops", "run_tools"):
        if not isinstance(options.get(name, True), bool):
            raise BadRequest(f"{name} is {options[name]!r}; give True or False.", param=name)
    tools = _tools(options)
    prompt = prompt_settings({**options, "tools": tools})
    rounds = options.get("max_tool_rounds", MAX_TOOL_ROUNDS)
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
        raise BadRequest(f"max_tool_rounds is {rounds!r}; give a whole number, 0 or more.", param="max_tool_rounds")
    functions = functions_of(tools) if options.get("run_tools", True) else {}
    params = sampling(options, default, stop_ids)
    params = replace(params, logprobs=_n_reported(options.get("logprobs"), params.logprobs))
    return ChatSettings(prompt, params, functions, rounds, _rules(options), stop_strings(options.get("stop")))


def _n_reported(n_top: Any, default: int | None) -> int | None:
    """The option logprobs. Raises BadRequest."""
    if n_top is None:
        return default
    if not isinstance(n_top, int) or isinstance(n_top, bool) or not 0 <= n_top <= MOST_LOGPROBS:
        raise BadRequest(f"logprobs is {n_top!r}; give a whole number from 0 to {MOST_LOGPROBS}.", param="logprobs")
    return n_top


def stop_strings(given: Any) -> tuple[str, ...]:
    """The option stop as StopMatcher takes it. Raises BadRequest."""
    strings = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(strings, Sequence) or not all(isinstance(one, str) and one for one in strings):
        raise BadRequest(f"stop is {given!r}; give a string or a list of strings, none of them empty.", param="stop")
    if len(strings) > MOST_STOPS:
        raise BadRequest(f"stop has {len(strings)} strings; give up to {MOST_STOPS}.", param="stop")
    return tuple(strings)


def _rules(options: Mapping[str, Any]) -> Rules | None:
    """None where nothing is enforced. Raises BadRequest for what cannot be, or not without being enforced."""
    budget = options.get("reasoning_budget")
    if budget is not None and (not isinstance(budget, int) or isinstance(budget, bool) or budget < 0):
        raise BadRequest(
            f"reasoning_budget is {budget!r}; give a whole number of tokens, 0 or more.", param="reasoning_budget"
        )
    wanted = options.get("response_format")
    with at_fault("tool_choice"):
        choice = tool_choice(options.get("tool_choice"))
    with at_fault("response_format"):
        answer = Grammar.of_response_format(wanted)
    rules = Rules(choice, answer, budget, options.get("stop_loops", False))
    if options.get("constrained", True):
        return rules
    is_told = bool(response_formats(wanted))  # to no avail otherwise
    if rules != Rules(answer=rules.answer if is_told else None):
        raise BadRequest(
            "constrained=False enforces nothing: leave out tool_choice, reasoning_budget, stop_loops and formats."
        )
    return None


def prompt_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that shape the prompt, as harmony.convert.conversation takes them."""
    effort = options.get("effort")
    if effort is not None and effort not in list(Effort):
        raise BadRequest(f"There is no effort {effort!r}{did_you_mean(str(effort), Effort)}", param="effort")
    given = {name: options[name] for name in PromptOptions.__optional_keys__ if options.get(name) is not None}
    _check_kinds(given)
    with at_fault("tools"):
        given["tools"] = [tool_spec(tool) for tool in _tools(given)]
        _check_names([tool.name for tool in given["tools"]], given.get("builtin_tools", ()))
    conversation("", **given)  # what is wrong with the options is wrong with any messages
    return given


def _check_kinds(given: Mapping[str, Any]) -> None:
    """Raises BadRequest for an option that is something else than its kind of thing."""
    builtin = given.get("builtin_tools", ())
    if isinstance(builtin, (str, Mapping)) or not isinstance(builtin, Iterable):
        raise BadRequest(
            f"builtin_tools is {builtin!r}; give a list of names: builtin_tools=[...].", param="builtin_tools"
        )
    for name, kinds, wanted in (("identity", (str,), "a text"), ("date", (str, datetime.date), "a date or a text")):
        if not isinstance(given.get(name, ""), kinds):
            raise BadRequest(f"{name} is {given[name]!r}; give {wanted}.", param=name)


def _check_names(functions: Iterable[str], builtin_tools: Iterable[str]) -> None:
    """Raises BadRequest for a function that is named like a builtin tool beside it: their calls would be confused."""
    taken = {name for tool in builtin_tools for name in (tool, *BUILTIN_RECIPIENTS.get(tool, ()))}
    for name in functions:
        if name in taken:
            raise BadRequest(f"{name!r} is a builtin tool and one of the tools, too; rename the function.")


def _tools(options: Mapping[str, Any]) -> list[Any]:
    tools = options.get("tools") or ()
    if not isinstance(tools, Iterable) or isinstance(tools, (str, Mapping)):
        raise BadRequest(
            f"tools is a list of functions or descriptions, not one {type(tools).__name__}: tools=[...].", param="tools"
        )
    return list(tools)


def sampling(options: Mapping[str, Any], default: SamplingParams, stop_ids: Iterable[int]) -> SamplingParams:
    """The parameters that options ask for, with the format's stop ids. Raises BadRequest for impossible ones."""
    given = {name: options[name] for name in SamplingOptions.__optional_keys__ if options.get(name) is not None}
    chosen = options.get("params")
    if not isinstance(chosen, SamplingParams | None):
        raise BadRequest(f"params is {chosen!r}; give SamplingParams(...), or its fields one by one.", param="params")
    if "logit_bias" in given:
        given["logit_bias"] = _biases(given["logit_bias"])
    params = replace(chosen or default, **given)
    return replace(params, stop_ids=tuple({*params.stop_ids, *stop_ids}))


def _biases(given: Any) -> tuple[tuple[int, float], ...]:
    """logit_bias as SamplingParams has it. Raises BadRequest for what is none."""
    try:
        pairs = [(id_, value) for id_, value in (given.items() if isinstance(given, Mapping) else given)]
        if not all(isinstance(value, Real) for _, value in pairs):
            raise TypeError
        return tuple((int(id_) if isinstance(id_, str) else operator.index(id_), float(value)) for id_, value in pairs)
    except (TypeError, ValueError):
        raise BadRequest(f"logit_bias is {given!r}; give {{id: value}} with numbers.", param="logit_bias") from None


def check(options: Mapping[str, Any], allowed: type) -> None:
    """Raises BadRequest for an option that is none of a TypedDict's."""
    known = allowed.__optional_keys__  # type: ignore[attr-defined]
    for name in options:
        if name not in known:
            raise BadRequest(f"There is no option {name!r}{did_you_mean(name, known)}", param=name)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of a sentence that says that there is no such word."""
    words = sorted(map(str, words))
    near = get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(words)}."

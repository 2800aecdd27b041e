"""What an answer keeps to: harmony's frame with the tools that were offered, formats, limits of its reasoning.

`Rules` is what the options say; a `Restraint` is that for one conversation, and gives the engine's constraint for each
round of a turn. The tables are compiled once per set of tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from harmonium.engine.constraint import Table, TableConstraint
from harmonium.engine.repetition import LoopWatch
from harmonium.errors import BadRequest, at_fault
from harmonium.harmony import grammar
from harmonium.harmony.automaton import ANSWER, Automaton, Offer, compile_offer
from harmonium.harmony.grammar import Grammar, Matcher
from harmonium.harmony.messages import Channel, Conversation, DeveloperContent, SystemContent, ToolSpec
from harmonium.harmony.names import spoken_names
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.harmony.vocabulary import Vocabulary

MODES = ("none", "auto", "required")
Trial = Callable[[Grammar], None]
"""Raises for a grammar that is not to be compiled."""
NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class Named(NamedTuple):
    """The tool to call, which may have the name of a mode."""

    name: str


@dataclass(frozen=True)
class Rules:
    """tool_choice: one of MODES, or the tool to call. answer: what the final body follows.

    reasoning_budget: tokens of reasoning in a turn, None for no limit. stop_loops: reasoning that goes round in circles
    ends there.
    """

    tool_choice: str | Named = "auto"
    answer: Grammar | None = None
    reasoning_budget: int | None = None
    stop_loops: bool = False


@dataclass(frozen=True)
class Tools:
    """The tools that a conversation declares, and the channels that it names."""

    functions: tuple[ToolSpec, ...]
    builtin: tuple[str, ...]
    channels: tuple[Channel, ...] = tuple(Channel)

    @staticmethod
    def of(conversation: Conversation) -> Tools:
        parts = [part for message in conversation.messages for part in message.content]
        functions = [tool for part in parts if isinstance(part, DeveloperContent) for tool in part.tools]
        systems = [part for part in parts if isinstance(part, SystemContent)]
        builtin = [name for part in systems for name in part.builtin_tools]
        named = [part.channels for part in systems if part.channels is not None]
        return Tools(tuple(functions), tuple(builtin), named[-1] if named else tuple(Channel))

    def has(self, name: str) -> bool:
        """name: a function's, a builtin tool's, or one of a builtin tool's functions."""
        return name in self.names or name.partition(".")[0] in self.builtin

    @property
    def names(self) -> tuple[str, ...]:
        return (*(tool.name for tool in self.functions), *self.builtin)

    @property
    def recipients(self) -> dict[str, str]:
        """The functions' recipients, as headers have them, by name."""
        names = [tool.name for tool in self.functions]
        spoken = spoken_names(names)
        return {name: f"{FUNCTIONS}.{spoken.get(name, name)}" for name in names}


class Compiler:
    """Compiles tables and grammars for one model, whose logits have vocab_size rows, and remembers them."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int) -> None:
        self._vocabulary, self._vocab_size = vocabulary, vocab_size
        self.grammars = grammar.Compiler(vocabulary, vocab_size)
        self.matcher, self.prepare = self.grammars.compile, self.grammars.prepare
        self.table = lru_cache(maxsize=64)(self._table)

    def _table(self, offer: Offer) -> tuple[Automaton, Table]:
        automaton = compile_offer(offer, self._vocabulary, self._vocab_size)
        return automaton, Table(self._vocab_size, *automaton.arrays)


class Restraint:
    """The constraint of one conversation's next turn, by its rounds."""

    def __init__(
        self, conversation: Conversation, rules: Rules, compiler: Compiler, trial: Trial | None = None
    ) -> None:
        """Raises BadRequest for a tool_choice that is not there, and for a schema or grammar that cannot be used."""
        tools = Tools.of(conversation)
        recipients = tools.recipients
        self._budget = rules.reasoning_budget
        self._stops_loops = rules.stop_loops
        self._watches: list[LoopWatch] = []
        self._compiler, self._trial = compiler, trial
        self._makers: dict[str, Callable[[], Matcher]] = {}
        if rules.answer is not None:
            self._makers[ANSWER] = self._maker(rules.answer, "The response_format", "response_format")
        for tool in tools.functions:
            if tool.strict is not False:
                self._makers[recipients[tool.name]] = self._arguments(tool)
        offer = Offer.of((tool.name for tool in tools.functions), tools.builtin)
        strict = tuple(recipient for recipient in offer.functions if recipient in self._makers)
        is_matched, channels = rules.answer is not None, tools.channels
        self._later = replace(offer, strict=strict, is_matched=is_matched, channels=channels)
        if rules.tool_choice == "none":
            self._later = self._later.only(())
        self._first = self._later
        if rules.tool_choice not in ("none", "auto"):
            with at_fault("tool_choice"):
                chosen = _chosen(rules.tool_choice, offer, tools)
            self._first = replace(self._later.only(chosen), must_call=True)

    def constraint(self, n_rounds: int, n_reasoned: int) -> TableConstraint:
        """For the round after n_rounds others, when n_reasoned tokens of the turn's budget are spent."""
        offer = self._later if n_rounds else self._first
        automaton, table = self._compiler.table(offer)
        left = None if self._budget is None else max(0, self._budget - n_reasoned)
        start = automaton.start_closed if left == 0 else automaton.start
        if self._stops_loops:
            self._watches.append(LoopWatch())
        watch = self._watches[-1] if self._watches else None
        return TableConstraint(table, start, left, tuple(self._makers[name] for name in offer.matchers), watch)

    def is_spent(self, n_reasoned: int) -> bool:
        return self._budget is not None and n_reasoned >= self._budget

    @property
    def has_stopped_a_loop(self) -> bool:
        """In any of the rounds so far."""
        return any(watch.is_loop for watch in self._watches)

    def _arguments(self, tool: ToolSpec) -> Callable[[], Matcher]:
        parameters = NO_ARGUMENTS if tool.parameters is None else _of_object(tool.parameters)
        if parameters is None and tool.strict:
            raise BadRequest(
                f"The strict tool {tool.name!r} has parameters that are no object; make them the properties of one.",
                param="tools",
            )
        if parameters is None:
            return self._compiler.matcher(Grammar.json_object())
        if tool.strict:
            return self._maker(Grammar.json_schema(parameters), f"The strict tool {tool.name!r}", "tools")
        try:
            return self._compiler.matcher(Grammar.json_schema(parameters, is_strict=False), self._trial)
        except BadRequest:
            return self._compiler.matcher(Grammar.json_object())

    def _maker(self, wanted: Grammar, what: str, param: str) -> Callable[[], Matcher]:
        try:
            return self._compiler.matcher(wanted, self._trial)
        except BadRequest as error:
            raise BadRequest(f"{what} cannot be enforced: {error}", param=param) from None


def _of_object(parameters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Parameters as a schema of objects alone, which is what a call's arguments are; None where it allows none."""
    types = parameters.get("type", "object")
    if types != "object" and not (isinstance(types, (list, tuple)) and "object" in types):
        return None
    return {**parameters, "type": "object", "nullable": False}


def tool_choice(given: Any) -> str | Named:
    """OpenAI's tool_choice, a word or a dict that names a tool, or the plain name of a tool, as in Rules."""
    if given is None:
        return "auto"
    name = None
    if isinstance(given, Mapping):
        inner = given.get("function", given)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        given = given.get("type") if name is None else name
    if isinstance(given, Named):
        return given
    if not isinstance(given, str) or not given:
        raise BadRequest('tool_choice is "none", "auto", "required", or the name of a tool.')
    return given if name is None and given in MODES else Named(given)


def _chosen(choice: str | Named, offer: Offer, tools: Tools) -> tuple[str, ...]:
    """The recipients that a turn which has to call may call."""
    shown = choice.name if isinstance(choice, Named) else choice
    if not offer.recipients:
        raise BadRequest(f"tool_choice is {shown!r}, but there are no tools; give some, or leave it out.")
    if choice == "required":
        return offer.recipients
    wanted = tools.recipients.get(shown, shown)
    found = tuple(r for r in offer.recipients if r == wanted) or tuple(
        r for r in offer.builtin if r.partition(".")[0] == shown
    )
    if not found:
        raise BadRequest(f"tool_choice is {shown!r}, which is no tool here; choose from {', '.join(tools.names)}.")
    return found

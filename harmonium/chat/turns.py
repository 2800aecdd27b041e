"""Makes turns of messages and options, for one model: what LLM and AsyncLLM share. It generates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harmonium.chat.loop import Turn, turn
from harmonium.chat.options import ChatSettings, chat_settings, sampling
from harmonium.chat.restraint import Compiler, Restraint, Trial
from harmonium.engine.request import SamplingParams
from harmonium.errors import BadRequest, at_fault
from harmonium.harmony.convert import conversation
from harmonium.harmony.messages import Conversation, Message, Role
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary

Messages = str | Conversation | Sequence[Message | Mapping[str, Any]]
"""A question, or messages as OpenAI's chat API has them, or harmony's own."""


class Turns:
    """sampling: what is used unless a call says otherwise; vocab_size: rows of the model's logits."""

    def __init__(self, vocabulary: Vocabulary, sampling: SamplingParams, vocab_size: int) -> None:
        self.vocabulary, self.sampling = vocabulary, sampling
        self._compiler = Compiler(vocabulary, vocab_size)

    def prepare(self) -> None:
        """Does at once what the first turn with a format or a strict tool would wait for, and others with it."""
        self._compiler.prepare()

    def settings(self, options: Mapping[str, Any]) -> ChatSettings:
        """Raises BadRequest for an option that does not exist or cannot be."""
        return chat_settings(options, self.sampling, self.vocabulary.stop_ids)

    def params(self, options: Mapping[str, Any]) -> SamplingParams:
        """Of a prompt without a conversation around it. Raises BadRequest for impossible ones."""
        return sampling(options, self.sampling, self.vocabulary.stop_ids)

    def turn(self, messages: Messages, settings: ChatSettings, context: int, trial: Trial | None = None) -> Turn:
        """Of a model with so much context. Raises BadRequest for what it cannot be told, and for rules that cannot be
        kept. trial: what new grammars have to pass before they are compiled.
        """
        said, rules = told(messages, settings.prompt), settings.rules
        return turn(
            said,
            self.vocabulary,
            restraint=None if rules is None else Restraint(said, rules, self._compiler, trial),
            runnable=settings.functions.keys(),
            max_tokens=settings.params.max_tokens,
            max_tool_rounds=settings.max_tool_rounds,
            context=context,
            stop=settings.stop,
        )

    def prompt(
        self,
        messages: Messages,
        prompt: Mapping[str, Any],
        role: Role | None = Role.ASSISTANT,
        most: int | None = None,
    ) -> list[int]:
        """The exact prompt of a turn's first round; prompt: of `options.prompt_settings`. Raises PromptTooLong for more
        ids than `most`.
        """
        return render(told(messages, prompt), self.vocabulary, role, most)


def told(messages: Messages, settings: Mapping[str, Any]) -> Conversation:
    """What the model is told. Raises BadRequest for what it cannot be."""
    with at_fault("messages"):
        if isinstance(messages, str) and not messages.strip():
            raise BadRequest("The question is empty; ask something.")
        if not isinstance(messages, (str, Conversation, Sequence)):
            raise BadRequest(f"The messages are a question or a list of messages, not {type(messages).__name__}.")
        return conversation(messages, **settings)

"""LLM: a gpt-oss and everything one does with it from Python. The face of the package.

Threads may share an LLM: their requests run in one batch, stepped by whichever thread waits (see shared_engine).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload

import torch

from harmonium.chat import loading
from harmonium.chat.completing import Continuation
from harmonium.chat.driver import drive
from harmonium.chat.events import Event
from harmonium.chat.loop import Turn, longest_read
from harmonium.chat.options import (
    ChatOptions,
    ChatSettings,
    CompletionOptions,
    PromptOptions,
    SamplingOptions,
    check,
    prompt_settings,
    stop_strings,
)
from harmonium.chat.reply import Reply
from harmonium.chat.shared_engine import SharedEngine
from harmonium.chat.turns import Messages, Turns
from harmonium.engine.draft_model import ModelDrafter
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams, StepOutput
from harmonium.engine.speculative import Drafter, NgramDrafter
from harmonium.errors import BadRequest, HarmoniumError, RequestFailed
from harmonium.harmony.messages import Conversation, Role
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model.transformer import Transformer

Given = TypeVar("Given")
Made = TypeVar("Made")


class LLM:
    """A model that answers.

        llm = LLM()                      # nano, the demonstration model inside; or LLM("openai/gpt-oss-20b")
        reply = llm.chat("What is the capital of Australia?")
        print(reply.reasoning, reply.text)

    name: what it was loaded as; context: tokens of a prompt and its answer together; sampling: what is used unless a
    call says otherwise: the checkpoint's own, which is greedy for nano and temperature 1 for gpt-oss.
    """

    def __init__(
        self,
        model: str | Path | loading.Loaded = "nano",
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        context: int | None = None,
        speculate: str | Path | None = None,
        batch: int | None = None,
    ) -> None:
        """model: nano, gpt-oss-20b, gpt-oss-120b, a repository on the Hugging Face hub, or a folder.

        device: cpu or cuda:N, by default a GPU if there is one; dtype: of what is not packed, float32 or bfloat16, by
        default what suits the device; context: by default what the model was made for, as far as memory allows.
        speculate: "ngram" guesses ids ahead from what was said, any other name or path is a model that does; answers
        are the same, and come faster where the guesses are good. batch: requests computed at once, while others wait;
        by default up to 256, and 32 of a large model on a CPU. Where both are given, there is room for so many of the
        whole context, as far as memory allows.
        """
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise BadRequest(f"batch is {batch!r}; give a whole number, 1 or more.")
        if isinstance(model, loading.Loaded):
            if device is not None or dtype is not None:
                raise BadRequest("A loaded model has its device and its dtype already; leave them out.")
        else:
            model = loading.load(model, device, dtype)
        self.name = model.name
        self.vocabulary: Vocabulary = model.vocabulary
        self.sampling = model.sampling
        self.engine = Engine(
            model.transformer,
            context=context,
            n_rows=batch,
            end_ids=self.vocabulary.message_end_ids,
            drafter=_drafter(speculate, model.transformer),
        )
        self._shared = SharedEngine(self.engine)
        self.turns = Turns(self.vocabulary, self.sampling, model.transformer.config.vocab_size)

    @staticmethod
    def dummy(
        size: str,
        *,
        layers: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        context: int | None = None,
        batch: int | None = None,
    ) -> LLM:
        """Random weights of a size, tiny, nano, 20b or 120b: real speed and memory, meaningless answers."""
        return LLM(loading.load_dummy(size, layers, device, dtype), context=context, batch=batch)

    @property
    def context(self) -> int:
        return self.engine.context

    def __repr__(self) -> str:
        return f"LLM({self.name!r})"

    @overload
    def chat(self, messages: Messages, *, n: None = ..., **options: Unpack[ChatOptions]) -> Reply: ...  # type: ignore[overload-overlap]
    @overload
    def chat(self, messages: Sequence[Messages], *, n: None = ..., **options: Unpack[ChatOptions]) -> list[Reply]: ...
    @overload
    def chat(self, messages: Messages, *, n: int, **options: Unpack[ChatOptions]) -> list[Reply]: ...
    def chat(self, messages: Any, *, n: int | None = None, **options: Unpack[ChatOptions]) -> Reply | list[Reply]:
        """The assistant's next turn: functions among the tools are run, and their results read, until it answers.

        Several conversations at once, a list of them, run in one batch and give a list of replies in their order. n
        answers to one conversation are a list, too; with a seed, each uses the next one and the first the seed itself.
        Raises BadRequest for what the model cannot be told, PromptTooLong where it does not fit the context, naming the
        conversation of several, before anything is computed; RequestFailed where the engine had to give up. What fails
        later among several is its own reply's `error`, and the others go on.
        """
        settings = self.turns.settings(options)
        if n is not None:
            return self._answers(messages, n, settings)
        if _are_several(messages):
            _each("Conversation", messages, lambda one: self._check(one, settings))
            turns = _each("Conversation", messages, lambda one: self._turn(one, settings))
            return self._replies(turns, [settings.params] * len(turns), settings)
        [reply] = self._replies([self._turn(messages, settings)], [settings.params], settings)
        if reply.error is not None:
            raise reply.error
        return reply

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> Generator[Event, None, None]:
        """The same turn as events, as they come; the last is Done. Closing the generator stops the answer.

        What is wrong with the messages is raised here, what goes wrong later while the events are read.
        """
        settings = self.turns.settings(options)
        return self._events(self._turn(messages, settings), settings)

    @overload
    def complete(  # type: ignore[overload-overlap]
        self,
        prompt: str,
        *,
        parse_special: bool = ...,
        stop: str | Sequence[str] | None = ...,
        **options: Unpack[CompletionOptions],
    ) -> str: ...
    @overload
    def complete(
        self,
        prompt: Sequence[str],
        *,
        parse_special: bool = ...,
        stop: str | Sequence[str] | None = ...,
        **options: Unpack[CompletionOptions],
    ) -> list[str]: ...
    def complete(
        self,
        prompt: str | Sequence[str],
        *,
        parse_special: bool = False,
        stop: str | Sequence[str] | None = None,
        **options: Unpack[CompletionOptions],
    ) -> str | list[str]:
        """How a text goes on, without a conversation around it; several texts run in one batch.

        parse_special reads the names of control tokens in the prompt as these, for prompts rendered elsewhere, and
        then shows those of the answer too. stop: a string, or up to 16, before which the text ends. Raises as
        `generate` does.
        """
        check(options, CompletionOptions)
        what = None if isinstance(prompt, str) else "Prompt"
        prompts = [prompt] if isinstance(prompt, str) else _listed(prompt)
        most = longest_read(self.context)
        ids = _each(what, prompts, lambda text: self.vocabulary.encode(text, parse_special, most))
        stops = stop_strings(stop)
        going_on = [Continuation(self.vocabulary, stops, shows_special=parse_special) for _ in ids]
        texts = ["" for _ in ids]

        def take(number: int, output: StepOutput) -> bool:
            texts[number] += going_on[number].take(output)[0]
            return going_on[number].is_over

        self._generate(what, ids, options, take)
        return texts[0] if isinstance(prompt, str) else texts

    def generate(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams | None = None, **options: Unpack[SamplingOptions]
    ) -> list[list[int]]:
        """What follows each prompt's ids, in one batch; an id that ends it is the last one.

        Generation ends at the format's stop ids and at those of params. Raises BadRequest for an empty prompt,
        PromptTooLong for one past the context, each naming the prompt and before anything is computed; RequestFailed
        where the engine had to give up on one.
        """
        check(options, SamplingOptions)
        ids = _each("Prompt", _listed(prompts), _ids)
        answers: list[list[int]] = [[] for _ in ids]

        def take(number: int, output: StepOutput) -> bool:
            answers[number] += output.ids
            return False

        self._generate("Prompt", ids, {"params": params, **options}, take)
        return answers

    @overload
    def render(
        self,
        messages: Messages,
        *,
        as_text: Literal[False] = ...,
        add_generation_prompt: bool = ...,
        **options: Unpack[PromptOptions],
    ) -> list[int]: ...
    @overload
    def render(
        self,
        messages: Messages,
        *,
        as_text: Literal[True],
        add_generation_prompt: bool = ...,
        **options: Unpack[PromptOptions],
    ) -> str: ...
    def render(
        self,
        messages: Messages,
        *,
        as_text: bool = False,
        add_generation_prompt: bool = True,
        **options: Unpack[PromptOptions],
    ) -> list[int] | str:
        """The exact prompt that `chat` would give the model, as ids or as text with the names of control tokens."""
        check(options, PromptOptions)
        role = Role.ASSISTANT if add_generation_prompt else None
        ids = self.turns.prompt(messages, prompt_settings(options), role)
        return self.decode(ids) if as_text else ids

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Ids as text. skip_special_tokens leaves control tokens out, else they show as their names.

        Bytes that are no whole character, and ids of the model that stand for no token, become U+FFFD. Raises
        BadRequest for ids that the model does not have.
        """
        numbers, n_rows = _ids(ids), self.engine.arena.vocab_size
        for at, id_ in enumerate(numbers):
            if not 0 <= id_ < n_rows:
                raise BadRequest(f"{id_}, at {at}, is no id of this model; they go from 0 to {n_rows - 1}.")
        return self.vocabulary.decode(numbers, skip_special=skip_special_tokens)

    def _check(self, messages: Messages, settings: ChatSettings) -> None:
        """Raises what the turn's first round would."""
        prompt = self.turns.prompt(messages, settings.prompt, most=longest_read(self.context))
        self._shared.check(prompt, settings.params)

    def _turn(self, messages: Messages, settings: ChatSettings) -> Turn:
        return self.turns.turn(messages, settings, self.context)

    def _answers(self, messages: Messages, n: int, settings: ChatSettings) -> list[Reply]:
        """n of them to one conversation."""
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise BadRequest(f"n is {n!r}; give a whole number, 1 or more.")
        if _are_several(messages):
            raise BadRequest("n answers are to one conversation; leave n out, or give each conversation n times.")
        self._check(messages, settings)
        turns = [self._turn(messages, settings) for _ in range(n)]
        return self._replies(turns, [settings.params_of(number) for number in range(n)], settings)

    def _events(self, one: Turn, settings: ChatSettings) -> Generator[Event, None, None]:
        for _, event in drive([one], self._shared, [settings.params], settings.functions):
            if isinstance(event, HarmoniumError):
                raise event
            yield event

    def _replies(self, turns: Sequence[Turn], params: Sequence[SamplingParams], settings: ChatSettings) -> list[Reply]:
        errors: dict[int, HarmoniumError] = {}
        events: list[list[Event]] = [[] for _ in turns]
        for number, event in drive(turns, self._shared, params, settings.functions):
            if isinstance(event, HarmoniumError):
                errors[number] = event
            else:
                events[number].append(event)
        return [Reply.of(said, errors.get(number)) for number, said in enumerate(events)]

    def _generate(
        self,
        what: str | None,
        prompts: Sequence[Sequence[int]],
        options: Mapping[str, Any],
        take: Callable[[int, StepOutput], bool],
    ) -> None:
        """what: what a prompt is called where one of several is at fault. take: is given each output and the number of
        its prompt, and says whether that prompt needs no more."""
        params = self.turns.params(options)
        _each(what, prompts, lambda prompt: self._shared.check(prompt, params))
        failed: list[str] = []
        with self._shared.requests() as requests:
            number_of = {requests.add(prompt, params): number for number, prompt in enumerate(prompts)}
            while requests.running:
                for output in requests.take():
                    number = number_of.get(output.request_id)
                    if number is None:
                        continue  # made before it was dropped
                    if output.finish_reason in (FinishReason.ERROR, FinishReason.ABORT):
                        failed.append(f"Prompt {number} failed: {output.error or 'it was aborted.'}")
                    if take(number, output) and output.finish_reason is None:
                        requests.drop([output.request_id])
                        del number_of[output.request_id]
        if failed:
            raise RequestFailed(failed[0])


def _drafter(speculate: str | Path | None, target: Transformer) -> Drafter | None:
    if speculate is None:
        return None
    if speculate == "ngram":
        return NgramDrafter()
    return ModelDrafter(loading.load(speculate, device=target.device).transformer, target)


def _each(what: str | None, given: Iterable[Given], read: Callable[[Given], Made]) -> list[Made]:
    """What `read` makes of each; an error names the one that is at fault, unless it has no name."""
    made = []
    for number, one in enumerate(given):
        try:
            made.append(read(one))
        except HarmoniumError as error:
            raise error if what is None else type(error)(f"{what} {number}: {error}") from None
    return made


def _listed(prompts: Iterable[Given]) -> Iterable[Given]:
    if not isinstance(prompts, Iterable):
        raise BadRequest(f"The prompts are a list, not {type(prompts).__name__}; give one prompt as [prompt].")
    return prompts


def _are_several(messages: Any) -> bool:
    """A list of conversations, and not one conversation."""
    if isinstance(messages, (str, Conversation)) or not isinstance(messages, Sequence) or not messages:
        return False
    return isinstance(messages[0], (str, Conversation, Sequence))


def _ids(sequence: Any) -> list[int]:
    """A sequence's ids as plain numbers, be they in a list, a numpy array or a tensor."""
    try:
        return [operator.index(id_) for id_ in sequence]
    except TypeError:
        raise BadRequest(
            "Ids are one list of whole numbers; decode takes such a list, generate a list of them: [ids]."
        ) from None

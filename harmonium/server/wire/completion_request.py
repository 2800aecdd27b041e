"""What a client asks of /v1/completions."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from harmonium.chat.options import CompletionOptions
from harmonium.chat.turns import Turns
from harmonium.errors import BadRequest
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.server.reading import Items
from harmonium.server.wire.chat_request import Bias, Penalty, StreamOptions, without_effect

MOST_TOKENS = 16
"""What OpenAI's API generates where nothing is said."""
MOST_ANSWERS = 2048
SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "seed", "logit_bias"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)


class CompletionRequest(BaseModel):
    """A request's body. null is the same as leaving a field out.

    parse_special, beyond OpenAI's: names of control tokens in the prompt are these, and those of the answer are shown.
    """

    model_config = ConfigDict(extra="allow")

    prompt: str | Items[str] | Items[int] | Items[Items[int]]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=128)
    echo: bool | None = None
    suffix: str | None = None
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
    logprobs: int | None = Field(None, ge=0, le=20)
    parse_special: bool | None = None

    @property
    def ignored(self) -> list[str]:
        """Keys that mean nothing here."""
        return without_effect(self.model_extra)

    @property
    def wants_usage(self) -> bool:
        """In a stream; whole answers have it always."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def n_wanted(self) -> int | None:
        """Tokens of each answer; None for no limit."""
        return MOST_TOKENS if self.max_tokens is None else None if self.max_tokens == -1 else self.max_tokens

    def prompts(self, vocabulary: Vocabulary, most: int) -> list[list[int]]:
        """Each prompt's ids. Raises BadRequest for none, and for what cannot be; PromptTooLong for more than `most`."""
        if self.suffix:
            raise BadRequest(
                "suffix: gpt-oss goes on from a beginning, and does not fill in; leave it out.", param="suffix"
            )
        if self.echo and self.logprobs is not None:
            raise BadRequest(
                "logprobs are of generated tokens, not of the prompt; leave out echo, or logprobs.", param="echo"
            )
        given = self.prompt
        several = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
        if len(several) * (self.n or 1) > MOST_ANSWERS:
            raise BadRequest(f"That makes more than {MOST_ANSWERS} answers; send several requests.", param="n")
        found = [self._ids(one, vocabulary, most) for one in several]
        if not found or not all(found):
            raise BadRequest("The prompt is empty; give at least one token.", param="prompt")
        return found

    def _ids(self, prompt: object, vocabulary: Vocabulary, most: int) -> list[int]:
        if isinstance(prompt, str):
            return vocabulary.encode(prompt, bool(self.parse_special), most)
        assert isinstance(prompt, list), "a prompt is text or ids"
        return prompt

    def options(self, turns: Turns, number: int) -> CompletionOptions:
        """Of the answer of that number to its prompt. Raises BadRequest for impossible ones."""
        params = turns.params({name: getattr(self, name) for name in SAMPLING} | {"max_tokens": self.n_wanted or None})
        seed = None if params.seed is None else params.seed + number
        return {"params": replace(params, seed=seed, logprobs=self.logprobs)}

"""A prompt's continuation as text, as its ids come: no conversation, no harmony."""

from __future__ import annotations

from collections.abc import Sequence

from harmonium.chat.events import TokenLogprob
from harmonium.chat.shown import Piece, Shown
from harmonium.engine import request
from harmonium.engine.request import FinishReason, StepOutput
from harmonium.harmony.vocabulary import Vocabulary


class Continuation:
    """Takes the engine's outputs and gives text, with its tokens where their chances are reported.

    stop: the stop string that was found, before which the text ends; is_over: nothing more is needed. n_ids: how many
    ids were generated. shows_special: control tokens show as their names, the last one too.
    """

    def __init__(self, vocabulary: Vocabulary, stops: Sequence[str] = (), *, shows_special: bool = False) -> None:
        self.n_ids = 0
        self.is_over = False
        self.finish_reason: str | None = None
        self._vocabulary, self._stops = vocabulary, stops
        self._hidden = frozenset() if shows_special else vocabulary.special_ids
        self._decoder = vocabulary.decoder()
        self._shown: Shown | None = None

    @property
    def stop(self) -> str | None:
        return None if self._shown is None else self._shown.stop

    def take(self, output: StepOutput) -> Piece:
        """The text that an output's ids complete; with the last one, all that was held back."""
        if self._shown is None:
            self._shown = Shown(self._stops, bool(output.logprobs))
        texts: list[str] = []
        tokens: list[TokenLogprob] = []
        for number, id_ in enumerate(output.ids):
            self.n_ids += 1
            if id_ in self._hidden:
                continue
            if output.logprobs:
                self._shown.add_token(self._token(output.logprobs[number]))
            self._add(self._shown.add_text(self._decoder.feed(id_)), texts, tokens)
            if self._shown.stop is not None:
                self.is_over, self.finish_reason = True, "stop"
                return "".join(texts), tuple(tokens)
        if output.finish_reason is not None:
            if output.finish_reason == FinishReason.STOP:  # else it may be cut inside a character
                self._add(self._shown.add_text(self._decoder.flush()), texts, tokens)
            self._add(self._shown.finish(), texts, tokens)
            self.is_over = True
            self.finish_reason = str(output.finish_reason) if self._shown.stop is None else "stop"
        return "".join(texts), tuple(tokens)

    @staticmethod
    def _add(piece: Piece, texts: list[str], tokens: list[TokenLogprob]) -> None:
        texts.append(piece[0])
        tokens += piece[1]

    def _token(self, reported: request.TokenLogprob) -> TokenLogprob:
        return self._of(reported.id, reported.logprob, tuple(self._of(*other) for other in reported.top))

    def _of(self, id_: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(id_, logprob, self._vocabulary.token_bytes(id_), top)

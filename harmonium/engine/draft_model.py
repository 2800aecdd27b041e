"""A smaller model that guesses ids ahead for a larger one of the same vocabulary.

It runs on an engine of its own, whose cache has most of what it was asked about the last time. Each guess is drawn with
the request's own seed, position and filters, so with the noise that the larger model's draw will have: where the two
models think alike they draw alike, at any temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harmonium.engine.engine import Engine
from harmonium.engine.request import Request
from harmonium.errors import BadRequest
from harmonium.model.transformer import Transformer


class ModelDrafter:
    """Guesses what `model` would say. target: the model that it guesses for.

    Raises BadRequest where their vocabularies differ in size.
    """

    def __init__(self, model: Transformer, target: Transformer) -> None:
        if model.config.vocab_size != target.config.vocab_size:
            raise BadRequest(
                f"The draft model has {model.config.vocab_size} ids and the model {target.config.vocab_size}; "
                "give a draft model of the same vocabulary."
            )
        self.engine = Engine(model)

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[tuple[int, ...]]:
        """Requests too long for the draft model's context get no guesses."""
        fits = [len(request.tokens) + n <= self.engine.context for request, n in wanted]
        asked = [pair for pair, is_short in zip(wanted, fits, strict=True) if is_short]
        params = [
            replace(request.params, seed=request.seed, max_tokens=n, stop_ids=(), logprobs=None) for request, n in asked
        ]
        found = iter(self.engine.generate([request.tokens for request, _ in asked], params))
        return [next(found).ids if is_short else () for is_short in fits]

    def forget(self, request_id: int) -> None:
        """Nothing is kept by request."""

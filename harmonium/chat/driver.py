"""Runs turns on an engine, all of them together, in the thread that asks for their events."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

from harmonium.chat import functions
from harmonium.chat.events import Done, Event, FinishReason, ToolResult
from harmonium.chat.functions import Function
from harmonium.chat.loop import Generate, Generated, More, Run, Stop, Turn
from harmonium.chat.shared_engine import Requests, SharedEngine
from harmonium.engine.request import SamplingParams, StepOutput
from harmonium.errors import BadRequest, HarmoniumError, RequestFailed

Events = Generator[tuple[int, Event | HarmoniumError], None, None]
"""Events, each with the number of its turn; an error is the last thing that a turn gives."""


def drive(
    turns: Sequence[Turn], shared: SharedEngine, params: Sequence[SamplingParams], tools: Mapping[str, Function]
) -> Events:
    """The events of every turn as they come. Closing the generator aborts what still runs.

    params: one for each turn, without max_tokens, which are the turns' own. tools: by name, those that turns may run.
    """
    with shared.requests() as requests:
        driver = _Driver(turns, requests, params, tools)
        for number in range(len(turns)):
            yield from driver.advance(number, None)
        while requests.running:
            for output in requests.take():
                if output.request_id in driver.running:
                    yield from driver.take(output)


def generated(output: StepOutput) -> Generated:
    """An engine's output as a turn takes it."""
    reason = output.finish_reason
    ended = None if reason is None else FinishReason(reason)
    return Generated(output.ids, ended, output.n_cached, output.logprobs)


def failure(error: str | BadRequest | None) -> HarmoniumError:
    """What a request that ended with an error is told."""
    return error if isinstance(error, BadRequest) else RequestFailed(error or "The request failed.")


class _Driver:
    def __init__(
        self, turns: Sequence[Turn], requests: Requests, params: Sequence[SamplingParams], tools: Mapping[str, Function]
    ) -> None:
        self.running: dict[int, int] = {}  # request to turn
        self._turns, self._requests, self._params, self._tools = turns, requests, params, tools

    def take(self, output: StepOutput) -> Events:
        """Gives a turn its next ids."""
        number, reason = self.running[output.request_id], output.finish_reason
        if reason is not None:
            del self.running[output.request_id]
        for _, said in self.advance(number, generated(output)):
            yield number, said
            if isinstance(said, Done) and said.finish_reason is FinishReason.ERROR:
                yield number, failure(output.error)

    def advance(self, number: int, answer: Generated | ToolResult | None) -> Events:
        """Lets a turn go on until it needs ids that are not there yet, or ends."""
        turn = self._turns[number]
        while True:
            try:
                said = turn.send(answer)
                if isinstance(said, Generate):
                    self._generate(number, said)
            except StopIteration:
                return
            except HarmoniumError as error:
                yield number, error
                return
            answer = None
            match said:
                case Generate() | More():
                    return
                case Stop():
                    self._stop(number)
                case Run(call):
                    answer = functions.run(self._tools[call.name], call)
                case _:
                    yield number, said

    def _generate(self, number: int, wanted: Generate) -> None:
        params = replace(self._params[number], max_tokens=wanted.max_tokens)
        self.running[self._requests.add(wanted.prompt, params, wanted.constraint)] = number

    def _stop(self, number: int) -> None:
        stopped = [request_id for request_id, turn in self.running.items() if turn == number]
        for request_id in stopped:
            del self.running[request_id]
        self._requests.drop(stopped)

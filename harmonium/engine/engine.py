"""Many requests, one model: add, step, abort. Token ids in, token ids out.

A step schedules rows, runs them, and hands each new id to its request, in the order in which they were added. Where
the device is not the host, the next step is prepared and given to it while it runs this one: ids that the host does not
know yet are there already (`Scheduler.schedule`). A request that ends in the meantime has a row there for nothing.

An engine belongs to one thread.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from harmonium import hardware
from harmonium.engine.batch import BatchBuilder
from harmonium.engine.constraint import TableConstraint
from harmonium.engine.deadlines import Deadlines
from harmonium.engine.following import constrain, follow_all, in_words
from harmonium.engine.interrupts import Interrupts
from harmonium.engine.kv_cache import KvCache
from harmonium.engine.request import (
    FinishReason,
    Generation,
    Request,
    SamplingParams,
    StepOutput,
    TokenLogprob,
    checked,
    checked_wishes,
)
from harmonium.engine.runner import Flight, Runner, Sampled
from harmonium.engine.sampler import Sampler
from harmonium.engine.scheduler import Row, Scheduler
from harmonium.engine.sizes import Allotment, check_whole
from harmonium.engine.speculative import Drafter, Speculation
from harmonium.engine.table_arena import TableArena
from harmonium.errors import BadRequest
from harmonium.model.transformer import Transformer

Given = TypeVar("Given")
log = logging.getLogger(__name__)

Launched = tuple[list[Row], Flight]
"""A step that the device has been given, and its rows."""


class Engine:
    """Serves requests on a model.

    context: tokens of one request, prompt and answer; n_rows: requests that run at once; token_budget: tokens computed
    in one step; cache_bytes: keys and values of all, which a CPU only spends as they fill; queue_limit: requests that
    may wait; kept_tokens: tokens whose keys and values stay when nobody runs with them, for requests that begin alike.
    Left out, they are modest ones for the device and what is free on it (`sizes.Allotment`), and context is the
    model's or what cache_bytes allow.
    end_ids: ids after which requests that began alike tend to part; what is needed to go on there is kept the longest.
    masks_on_host: constraints are stepped on the host alone, not on the device too; left out, where the two are one.
    drafter: what guesses ids ahead, which changes no id and is faster where the guesses are good; none by default.
    overlap: prepare a step while the one before it runs; left out, where device and host are two. Not with a drafter or
    masks_on_host, which have to see each id. graphs: replay steps that only decode as CUDA graphs; left out, on a GPU.
    Raises NotEnoughMemory where the context asked for does not fit.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        context: int | None = None,
        n_rows: int | None = None,
        token_budget: int | None = None,
        cache_bytes: int | None = None,
        queue_limit: int = 1024,
        kept_tokens: int | None = None,
        end_ids: Collection[int] = (),
        masks_on_host: bool | None = None,
        drafter: Drafter | None = None,
        overlap: bool | None = None,
        graphs: bool | None = None,
    ) -> None:
        config, device = model.config, model.device.type
        check_whole("queue_limit", queue_limit)
        allotted = Allotment.of(
            *(config, device, str(model.weights.embedding.dtype).removeprefix("torch.")),
            hardware.free_bytes(str(model.device)),
            context=context,
            n_rows=n_rows,
            token_budget=token_budget,
            cache_bytes=cache_bytes,
            kept_tokens=kept_tokens,
        )
        n_rows, pages, self.context = allotted.n_rows, allotted.pages, allotted.context
        self.cache = KvCache(n_rows, self.context, config.window, pages.full, pages.sliding, allotted.n_kept)
        self.scheduler = Scheduler(self.cache, n_rows, allotted.token_budget, queue_limit, end_ids)
        self.arena = TableArena(config.vocab_size, model.device)
        is_gpu = device != "cpu"
        self._overlaps = drafter is None and not masks_on_host and (is_gpu if overlap is None else overlap)
        on_host = not (is_gpu or self._overlaps) if masks_on_host is None else masks_on_host
        has_graphs = is_gpu if graphs is None else graphs
        sampler = Sampler(config.vocab_size, n_rows, self.arena, model.device)
        self._builder = BatchBuilder(
            *(self.cache, self.arena, config.vocab_size, model.device, on_host),
            draws=sampler.can_draw(on_host),
            spare=pages if has_graphs else None,  # the pages behind the last
        )
        self._interrupts = Interrupts()
        self._runner = Runner(model, sampler, pages, self._interrupts, graphs=has_graphs)
        self.speculation = None if drafter is None else Speculation(drafter, config.vocab_size, self._interrupts)
        self._launched: Launched | None = None
        self._requests: dict[int, Request] = {}
        self._outputs: list[StepOutput] = []  # for the next step to return
        self._deadlines = Deadlines()
        self._next_id = 0
        self._vocab_size = config.vocab_size

    @property
    def has_work(self) -> bool:
        """Requests wait or run, or outputs wait to be fetched by `step`."""
        return bool(self._requests or self._outputs)

    def add(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        constraint: TableConstraint | None = None,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> int:
        """Queues a request and returns its id, larger than every earlier one.

        Requests of higher priority go first, and put lower ones off where there is no place for both. One that has not
        ended after timeout_s seconds ends with an error. Raises BadRequest for an empty prompt or ids that the model
        lacks, PromptTooLong where prompt and answer exceed the context, Busy where the queue is full; a refused request
        costs nothing.
        """
        return self.add_several(prompt_ids, params, 1, constraint, priority=priority, timeout_s=timeout_s)[0]

    def add_several(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        n: int,
        constraint: TableConstraint | None = None,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> list[int]:
        """Queues n requests with one prompt, which is computed once, and returns their ids; see `add`.

        Where params has a seed, the i-th from 0 uses seed + i, and the first gets what it would get from `add`.
        """
        n, priority, timeout_s = checked_wishes(n, priority, timeout_s)
        tokens = self.check(prompt_ids, params)
        assert constraint is None or constraint.table.vocab_size == self._vocab_size, "a table of another vocabulary"
        self.scheduler.check_room(n)
        max_length = self.context if params.max_tokens is None else len(tokens) + params.max_tokens
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ids = list(range(self._next_id, self._next_id + n))
        try:
            with self._interrupts.held():
                for i, request_id in enumerate(ids):
                    seed = secrets.randbits(64) if params.seed is None else params.seed + i
                    request = Request(request_id, list(tokens), params, seed, max_length, priority=priority)
                    self._next_id = request_id + 1
                    self._queue(request, constraint, deadline)
            return ids
        except BaseException:  # nobody has their ids
            self._drop(ids)
            raise

    def abort(self, request_id: int) -> bool:
        """Ends a request at once and frees what it holds; its last output comes with the next step.

        Returns whether it was still there: one that has ended is left as it is.
        """
        request = self._requests.get(request_id)
        if request is None:
            return False
        with self._interrupts.held():
            self._end(request, FinishReason.ABORT)
        return True

    def step(self) -> list[StepOutput]:
        """Computes one step. Returns the new ids of every request that got some, and the ends of those that ended.

        What fails in a step is run again request by request, and ends those that fail alone; the others go on.
        """
        with self._interrupts.held():
            for request in self._deadlines.over(self._requests):
                self._end(request, FinishReason.ERROR, "The request did not end within the time that it was given.")
            if self.speculation is None:
                self._advance()
            else:
                self._speculate(self.speculation)
            if self._launched is not None and not self._requests:
                self._launched[0].clear()  # a step for nothing, which is waited for when the next one begins
        outputs, self._outputs = self._outputs, []
        return outputs

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams],
        constraints: Sequence[TableConstraint | None] | None = None,
    ) -> list[Generation]:
        """Answers to all prompts, in their order, on an engine with nothing else to do.

        Raises what `add` raises for any of them, before any of them costs something.
        """
        assert not self.has_work, "outputs of other requests would be lost"
        each = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
        for prompt, wanted in zip(prompts, each, strict=True):
            self.check(prompt, wanted)
        todo = list(zip(prompts, each, constraints or [None] * len(prompts), strict=True))[::-1]
        outputs: dict[int, list[StepOutput]] = {}
        try:
            while todo or self.has_work:
                while todo and not self.scheduler.is_full:
                    outputs[self.add(*todo.pop())] = []
                for output in self.step():
                    outputs[output.request_id].append(output)
        finally:
            self._drop([*self._requests, *outputs])
        return [Generation.of(its) for its in outputs.values()]

    def check(self, prompt_ids: Sequence[int], params: SamplingParams) -> list[int]:
        """The prompt as a list of its own. Raises what `add` raises for it."""
        return checked(prompt_ids, params, self.context, self._vocab_size)

    def _queue(self, request: Request, constraint: TableConstraint | None, deadline: float | None) -> None:
        """Takes a request in, and out again where its constraint cannot be begun."""
        self.scheduler.add(request)
        self._requests[request.id] = request
        if deadline is not None:
            self._deadlines.add(request.id, deadline)
        if constraint and (error := constrain(request, constraint, jumps=self._builder.masks_on_host)):
            self._end(request, FinishReason.ERROR, error)

    def _drop(self, ids: Collection[int]) -> None:
        """Ends what is still there of requests that nobody asks about any more."""
        with self._interrupts.held():
            for request_id in ids:
                self.abort(request_id)
            self._outputs = [output for output in self._outputs if output.request_id not in ids]

    def _advance(self) -> None:
        """Waits for a step, after giving the device the next one where that can be told already."""
        step, self._launched = self._launched or self._launch(), None
        if step is None:
            return
        if self._overlaps and not self.arena.is_crowded:
            try:
                self._launched = self._launch(is_ahead=True)
            except BaseException:  # the device may have chosen ids after those that the host does not know yet
                self._withdraw(step[0])
                raise
        self._land(*step)

    def _launch(self, *, is_ahead: bool = False) -> Launched | None:
        """The next step, on its way. Where it cannot be begun, its rows are run one by one, but for one that was to be
        ahead: it is put off."""
        if not is_ahead:
            self.arena.tidy()
        rows = self.scheduler.schedule(is_ahead=is_ahead)
        if not rows:
            return None
        flight = self._begin(rows)
        if isinstance(flight, Flight):
            return rows, flight
        if is_ahead:
            self._withdraw(rows)
        else:
            self._land(rows, flight)
        return None

    def _land(self, rows: list[Row], flight: Flight | str) -> None:
        """Gives the requests their ids, once the device has them; where the step has failed, runs each row alone."""
        found = self._told(rows, self._interrupts.allowed()(flight.wait)) if isinstance(flight, Flight) else flight
        if isinstance(found, Sampled):
            self._hand_out(rows, found)
        else:
            self._run_alone(rows, found)

    def _speculate(self, speculation: Speculation) -> None:
        """The step, with drafts; how long steps take is noted where all requests decode."""
        started, n_stood = time.perf_counter(), speculation.n_stood
        speculation.draft(self.scheduler.running)
        rows = self.scheduler.schedule()
        is_decoding = all(row.is_sampled and row.n_tokens == 1 for row in rows)
        if rows:
            self._run(rows)
        if rows and is_decoding:
            n_drafts = sum(len(row.drafts) for row in rows)
            speculation.observe(len(rows), n_drafts, speculation.n_stood - n_stood, time.perf_counter() - started)

    def _run(self, rows: list[Row]) -> None:
        """A step from its begin to its end."""
        self._land(rows, self._begin(rows))

    def _run_alone(self, rows: list[Row], failed: str) -> None:
        """Runs rows of a step that failed one by one, then without drafts; ends one that fails nevertheless."""
        alive = [row for row in rows if self._is_served(row)]
        if len(rows) > 1:
            log.warning("A step of %d requests failed, and each is run alone: %s", len(rows), failed)
            for i, row in enumerate(alive):
                try:
                    self._run([row])
                except BaseException:
                    self._withdraw(alive[i + 1 :])
                    raise
            return
        for row in alive:
            if row.drafts:
                self._run([replace(row, drafts=())])
            else:
                self._end(row.request, FinishReason.ERROR, f"The step failed: {failed}", is_faulty=True)

    def _begin(self, rows: list[Row]) -> Flight | str:
        """The step, given to the device, or what went wrong: in words, for the error would keep the step's memory."""
        return self._told(rows, lambda: self._runner.run(self._builder.build(rows)))

    def _told(self, rows: list[Row], act: Callable[[], Given]) -> Given | str:
        try:
            return act()
        except BaseException as error:
            if self._launched is not None:  # it goes on from these rows
                self._withdraw(self._launched[0])
                self._launched = None
            for row in rows:  # the device may have moved on with them, and the host has not
                row.request.forget_device()
            if isinstance(error, Exception):
                return in_words(error)
            self._withdraw(rows)
            raise

    def _withdraw(self, rows: list[Row]) -> None:
        for row in rows:
            row.request.forget_device()
            if self._is_served(row):
                self.scheduler.withdraw(row)

    def _is_served(self, row: Row) -> bool:
        """Its request has neither ended nor been begun anew."""
        return self._requests.get(row.request.id) is row.request

    def _hand_out(self, rows: list[Row], found: Sampled) -> None:
        """Gives each request that is still there what its row brought."""
        place = 0
        for row in rows:
            n_places = 1 + len(row.drafts) if row.is_sampled else 0
            if self._is_served(row):
                if row.is_sampled:
                    ids = found.ids[place : place + n_places]
                    self._take(row, ids, [found.logprobs.get(place + i) for i in range(n_places) if found.logprobs])
                else:
                    self.scheduler.complete(row)
            place += n_places

    def _take(self, row: Row, sampled: list[int], reported: list[TokenLogprob | None]) -> None:
        """Gives a request its sampled id, and the ids that its matcher forces after it.

        Behind drafts, sampled has an id for each place: those count that were sampled after nothing but tokens.
        """
        request, n_before = row.request, len(row.request.tokens)
        outcome, n_stood = follow_all(row, sampled)
        self.scheduler.complete(row, n_stood)
        if row.drafts and self.speculation is not None:
            self.speculation.learn(request, len(row.drafts), n_stood)
        ids = tuple(request.tokens[n_before:])
        logprobs: tuple[TokenLogprob, ...] = ()
        if reported:
            n_top = request.params.logprobs
            logprobs = tuple(replace(one, top=one.top[:n_top]) for one in reported[: len(ids)] if one is not None)
        reason, error, is_faulty = outcome or (None, None, False)
        if is_faulty and request.n_taken:  # perhaps by pages that it took over
            self._requests[request.id] = self.scheduler.begin_anew(request)
        elif reason is not None:
            return self._end(request, reason, error, ids=ids, logprobs=logprobs, is_faulty=is_faulty)
        self._outputs.append(StepOutput(request.id, ids, n_cached=request.n_cached, logprobs=logprobs))

    def _end(
        self,
        request: Request,
        reason: FinishReason,
        error: str | BadRequest | None = None,
        *,
        ids: tuple[int, ...] = (),
        logprobs: tuple[TokenLogprob, ...] = (),
        is_faulty: bool = False,
    ) -> None:
        """Takes a request out. is_faulty: what it computed may be wrong, and no other request may use it."""
        self.scheduler.remove(request, is_faulty=is_faulty)
        del self._requests[request.id]
        self._outputs.append(StepOutput(request.id, ids, reason, error, max(0, request.n_cached), logprobs))
        if self.speculation is not None:
            self.speculation.forget(request)

"""What a server measures, for Prometheus: requests, tokens, times, queue, batch, cache, repairs, errors, guesses."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from harmonium.chat.events import Repair
from harmonium.engine.engine import Engine

FIRST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BETWEEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
WHOLE_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One server's numbers, in a registry of their own; also the AsyncLLM's observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "harmonium_requests", "Requests answered.", ("path", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "harmonium_request_seconds", "From a request to the end of its answer.", ("path",),
            buckets=WHOLE_S, registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("harmonium_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.errors = Counter("harmonium_errors", "Requests that failed.", ("code", "method"), registry=self.registry)
        self.repairs = Counter(
            "harmonium_repairs", "Deviations from harmony, mended.", ("kind",), registry=self.registry
        )
        self.tokens = Tokens()
        self.registry.register(self.tokens)

    def watch(self, engine: Engine) -> None:
        """Reads the engine's own numbers whenever metrics are asked for; it goes on meanwhile."""
        scheduler, cache = engine.scheduler, engine.cache
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "harmonium_queue_requests": ("Requests that wait.", lambda: len(scheduler.waiting)),
            "harmonium_queue_limit": ("Requests that may wait.", lambda: scheduler.queue_limit),
            "harmonium_batch_requests": ("Requests that run.", lambda: len(scheduler.running)),
            "harmonium_pages": ("Pages of the cache.", lambda: cache.full.n_pages),
            "harmonium_pages_held": ("Pages that requests hold.", lambda: cache.full.n_pages - cache.full.n_free),
            "harmonium_pages_idle": ("Pages kept for requests that begin alike.", lambda: cache.full.n_idle),
            "harmonium_sliding_pages": ("Pages of the sliding layers.", lambda: cache.sliding.n_pages),
            "harmonium_sliding_pages_held": (
                "Pages of the sliding layers that requests hold.",
                lambda: cache.sliding.n_pages - cache.sliding.n_free,
            ),
        }
        for name, (text, read) in gauges.items():
            Gauge(name, text, registry=self.registry).set_function(read)
        self.registry.register(_EngineCounters(engine))

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def began(self, n_prompt: int, n_cached: int, seconds: float) -> None:
        tokens = self.tokens
        tokens.n_prompt += n_prompt
        tokens.n_cached += max(0, n_cached)
        tokens.first.add(seconds, 1)

    def went_on(self, n_ids: int, seconds: float) -> None:
        self.tokens.between.add(seconds, n_ids)

    def drew(self, n_ids: int) -> None:
        self.tokens.n_generated += n_ids

    def repaired(self, repair: Repair) -> None:
        self.repairs.labels(repair.kind).inc()


class Times:
    """How long things took, by bounds in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._sum_s = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, seconds: float, n: int) -> None:
        """n of them, so long all together."""
        self._counts[bisect_left(self._bounds, seconds / n)] += n
        self._sum_s += seconds

    def family(self, name: str, text: str) -> Metric:
        labels = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return HistogramMetricFamily(name, text, list(zip(labels, accumulate(self._counts), strict=True)), self._sum_s)


class Tokens(Collector):
    """What is noted for every token, and therefore without the locks of the library's own counters: the engine's
    thread alone writes n_generated, the event loop's the others.
    """

    def __init__(self) -> None:
        self.n_prompt = self.n_cached = self.n_generated = 0
        self.first, self.between = Times(FIRST_S), Times(BETWEEN_S)

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily("harmonium_prompt_tokens", "Tokens of prompts.", self.n_prompt)
        yield CounterMetricFamily("harmonium_cached_tokens", "Tokens of prompts that the cache had.", self.n_cached)
        yield CounterMetricFamily("harmonium_generated_tokens", "Tokens generated.", self.n_generated)
        yield self.first.family("harmonium_first_token_seconds", "From queueing to the first token.")
        yield self.between.family("harmonium_between_tokens_seconds", "From one token of an answer to its next.")


class _EngineCounters(Collector):
    """What the engine counts itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        engine = self._engine
        yield CounterMetricFamily(
            "harmonium_preemptions", "Requests that gave way to others.", engine.scheduler.n_preemptions
        )
        if (guesses := engine.speculation) is not None:
            yield CounterMetricFamily("harmonium_drafted_tokens", "Tokens guessed ahead.", guesses.n_drafted)
            yield CounterMetricFamily("harmonium_accepted_tokens", "Guessed tokens that stood.", guesses.n_stood)

"""What a server does, read from two looks at its /metrics: rates and quantiles between them, or since its start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "harmonium_"
LEVELS = (
    *("batch_requests", "queue_requests", "queue_limit", "pages", "pages_held", "pages_idle"),
    *("sliding_pages", "sliding_pages_held"),
)
"""What is so at one moment, and has no rate."""


@dataclass(frozen=True)
class Look:
    """The numbers of a server at one moment, labels summed up. at_s: on a clock of ours.

    totals: counters and gauges by name, without the prefix; by_label: those that have one label, besides
    the method, by its value; buckets: histograms' cumulative counts by their upper bounds.
    """

    at_s: float
    totals: Mapping[str, float] = field(default_factory=dict)
    by_label: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    buckets: Mapping[str, Mapping[float, float]] = field(default_factory=dict)

    @staticmethod
    def of(page: str, at_s: float) -> Look:
        """Reads Prometheus' text format. Raises ValueError for any other."""
        from prometheus_client.parser import text_string_to_metric_families

        totals: dict[str, float] = {}
        by_label: dict[str, dict[str, float]] = {}
        buckets: dict[str, dict[float, float]] = {}
        for family in text_string_to_metric_families(page):
            name = family.name.removeprefix(PREFIX)
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    counts = buckets.setdefault(name, {})
                    counts[bound] = counts.get(bound, 0.0) + sample.value
                elif sample.labels.get("method") == "GET":
                    continue  # it generates nothing
                elif sample.name in (family.name, f"{family.name}_total"):
                    totals[name] = totals.get(name, 0.0) + sample.value
                    labels = [value for label, value in sample.labels.items() if label != "method"]
                    if len(labels) == 1:
                        seen = by_label.setdefault(name, {})
                        seen[labels[0]] = seen.get(labels[0], 0.0) + sample.value
        return Look(at_s, totals, by_label, buckets)


@dataclass(frozen=True)
class Times:
    """Quantiles in seconds, None where nothing was measured."""

    median_s: float | None
    p95_s: float | None


@dataclass(frozen=True)
class Figures:
    """Between two looks: over seconds, or since the server's start, when there is no time to divide by.

    Shares are between 0 and 1, None where there is nothing to share.
    """

    requests: float
    generated: float
    prompt: float
    seconds: float | None
    first_token: Times
    between_tokens: Times
    cached: float | None
    accepted: float | None
    preemptions: float
    repairs: Mapping[str, float]
    errors: Mapping[str, float]

    @staticmethod
    def between(before: Look | None, now: Look) -> Figures:
        """before: None for the server's start."""
        start = before or Look(now.at_s)

        def grown(name: str) -> float:
            return now.totals.get(name, 0.0) - start.totals.get(name, 0.0)

        def times(name: str) -> Times:
            earlier = start.buckets.get(name, {})
            counts = {bound: n - earlier.get(bound, 0.0) for bound, n in now.buckets.get(name, {}).items()}
            return Times(quantile(counts, 0.5), quantile(counts, 0.95))

        def labelled(name: str) -> dict[str, float]:
            earlier = start.by_label.get(name, {})
            counts = {label: n - earlier.get(label, 0.0) for label, n in now.by_label.get(name, {}).items()}
            return {label: n for label, n in sorted(counts.items()) if n}

        return Figures(
            requests=grown("requests"),
            generated=grown("generated_tokens"),
            prompt=grown("prompt_tokens"),
            seconds=None if before is None else now.at_s - before.at_s,
            first_token=times("first_token_seconds"),
            between_tokens=times("between_tokens_seconds"),
            cached=_share(grown("cached_tokens"), grown("prompt_tokens")),
            accepted=_share(grown("accepted_tokens"), grown("drafted_tokens")),
            preemptions=grown("preemptions"),
            repairs=labelled("repairs"),
            errors=labelled("errors"),
        )


def has_restarted(before: Look, now: Look) -> bool:
    """Counters never fall while a server lives."""
    counters = ("requests", "generated_tokens", "prompt_tokens")
    return any(now.totals.get(name, 0.0) < before.totals.get(name, 0.0) for name in counters)


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """As Prometheus' histogram_quantile estimates it, evenly within a bucket. buckets: cumulative counts."""
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank, low, below = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (buckets[bound] - below)
        low, below = bound, buckets[bound]
    return low


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None

"""`harmonium top`: what a server does, live in the terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harmonium.cli.options import Json
from harmonium.errors import BadRequest, HarmoniumError, ServerUnreachable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from harmonium.chat.endpoint import Endpoint
    from harmonium.cli.figures import Figures, Look, Times

WINDOW = 5
"""Looks that "lately" goes back."""
WIDE = 1000
"""Columns of a file: every row is one line there."""


def top(
    url: str = "localhost:8000",
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    interval: float = 1.0,
    api_key_env: str | None = None,
    json: Json = False,
) -> None:
    """Watch a server: its queue and batch, tokens a second, waiting times, cache, repairs and errors. Ctrl-C ends it.

    For example:

        harmonium top
        harmonium top gpu-box:8000 --once

    Parameters
    ----------
    url
        A server that `harmonium serve` started.
    once
        Look for one interval, print one table and end; so it does where the output is no terminal.
    interval
        Seconds between two looks.
    api_key_env
        The environment variable that holds the server's API key.
    json
        Print one JSON object instead of a table.
    """
    from rich.console import Console

    from harmonium.chat.endpoint import Endpoint
    from harmonium.cli import session
    from harmonium.cli.serve import check_packages

    if not interval > 0:
        raise BadRequest(f"--interval is {interval}; give seconds, more than 0.")
    check_packages()
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    with Endpoint(url, session.api_key(api_key_env)) as endpoint:
        looks = deque([look(endpoint)], WINDOW + 1)
        if once or json or not console.is_terminal:
            time.sleep(interval)
            looks.append(look(endpoint))
            if json:
                _print_json(looks)
            else:
                console.print(table(endpoint.url, looks), soft_wrap=True)
            return
        _watch(endpoint, looks, interval, console)


def look(endpoint: Endpoint) -> Look:
    """The server's numbers now. Raises ServerUnreachable where it has none of ours."""
    from harmonium.cli.figures import PREFIX, Look

    page = endpoint.text("/metrics")
    if f"\n{PREFIX}" not in page:
        raise ServerUnreachable(f"{endpoint.url} has no figures of Harmonium at /metrics; is it another server?")
    return Look.of(page, time.monotonic())


def table(url: str, looks: deque[Look]) -> RenderableType:
    """What the looks say: lately, and since the server's start."""
    from rich import box
    from rich.table import Table

    from harmonium.cli.figures import Figures

    lately, ever = Figures.between(looks[0], looks[-1]), Figures.between(None, looks[-1])
    seconds = looks[-1].at_s - looks[0].at_s
    drawn = Table(title=url.removesuffix("/v1"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("")
    drawn.add_column(f"last {seconds:.0f} s", justify="right")
    drawn.add_column("since its start", justify="right")
    for row in _rows(looks[-1], lately, ever):
        drawn.add_row(*row)
    return drawn


def _watch(endpoint: Endpoint, looks: deque[Look], interval: float, console: Console) -> None:
    """Until Ctrl-C. A server that is gone may come back."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from harmonium.cli.figures import has_restarted

    drawn = table(endpoint.url, looks)
    with Live(drawn, console=console, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            try:
                looks.append(look(endpoint))
            except HarmoniumError as error:
                live.update(Group(drawn, Text(str(error))), refresh=True)
                continue
            if has_restarted(looks[-2], looks[-1]):
                while len(looks) > 1:
                    looks.popleft()
            drawn = table(endpoint.url, looks)
            live.update(drawn, refresh=True)


def _print_json(looks: deque[Look]) -> None:
    from harmonium.cli.figures import LEVELS, Figures
    from harmonium.cli.terminal import print_json

    now = {name: looks[-1].totals.get(name) for name in LEVELS}
    periods = {"lately": looks[0], "since_start": None}
    print_json({"now": now} | {name: asdict(Figures.between(since, looks[-1])) for name, since in periods.items()})


def _told(counts: Mapping[str, float]) -> str:
    """Counts by what was counted."""
    return ", ".join(f"{label} {n:,.0f}" for label, n in counts.items()) or "none"


def _rate(n: float, seconds: float | None) -> str:
    return f"{n:,.0f}" if seconds is None else f"{n / seconds:,.1f} /s" if seconds else "-"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _times(value: Times) -> str:
    return " / ".join("-" if t is None else f"{1000 * t:,.0f} ms" for t in (value.median_s, value.p95_s))


def _rows(now: Look, lately: Figures, ever: Figures) -> Iterable[tuple[str, str, str]]:
    """A table: what, lately, since the start."""

    def level(name: str, limit: str) -> str:
        return f"{now.totals.get(name, 0):,.0f} of {now.totals.get(limit, 0):,.0f}"

    yield "batch", f"{now.totals.get('batch_requests', 0):,.0f}", ""
    yield "queue", level("queue_requests", "queue_limit"), ""
    yield "requests", _rate(lately.requests, lately.seconds), _rate(ever.requests, None)
    yield "tokens generated", _rate(lately.generated, lately.seconds), _rate(ever.generated, None)
    yield "tokens of prompts", _rate(lately.prompt, lately.seconds), _rate(ever.prompt, None)
    yield "time to first token, median / 95 %", _times(lately.first_token), _times(ever.first_token)
    yield "between tokens, median / 95 %", _times(lately.between_tokens), _times(ever.between_tokens)
    yield "prompt tokens found in the cache", _share(lately.cached), _share(ever.cached)
    yield "pages held", level("pages_held", "pages"), ""
    yield "pages held, sliding layers", level("sliding_pages_held", "sliding_pages"), ""
    yield "pages kept for reuse", f"{now.totals.get('pages_idle', 0):,.0f}", ""
    yield "draft tokens accepted", _share(lately.accepted), _share(ever.accepted)
    yield "preemptions", _rate(lately.preemptions, None), _rate(ever.preemptions, None)
    yield "repairs", _told(lately.repairs), _told(ever.repairs)
    yield "errors", _told(lately.errors), _told(ever.errors)

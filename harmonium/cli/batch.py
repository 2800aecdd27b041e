"""`harmonium batch`: a file of requests to a file of answers."""

from __future__ import annotations

import asyncio
import json as json_format
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonium.cli.options import ModelOptions, Quiet
from harmonium.errors import BadRequest

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM

RETRIED = frozenset({429, 499, 500, 502, 503, 504})
"""Statuses that another attempt may not meet again."""


def batch(
    requests: Path | None = None,
    answers: Path | None = None,
    /,
    *,
    concurrency: int = 64,
    model: ModelOptions = ModelOptions(),
    quiet: Quiet = False,
) -> int:
    """Answer a file of requests, as OpenAI's batch API has them, one JSON object a line.

    For example:

        harmonium batch requests.jsonl answers.jsonl --model gpt-oss-20b

    A line is {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}. Run it again to go on
    where it was stopped: what is answered stays, and what failed for a passing reason is asked again. Exits with 1
    where a request failed.

    Parameters
    ----------
    requests
        The file to read, else stdin; url may be /v1/chat/completions, /v1/responses or /v1/completions.
    answers
        The file to write, in the order in which answers come; else stdout.
    concurrency
        Requests that run at once.
    quiet
        Say nothing but errors.
    """
    from harmonium.cli.serve import check_packages

    if concurrency < 1:
        raise BadRequest(f"--concurrency is {concurrency}; give 1 or more.")
    check_packages()
    lines = read_requests(requests)
    done = {} if answers is None else keep_answers(answers)
    todo = [line for line in lines if line["custom_id"] not in done]

    from harmonium.cli import session
    from harmonium.cli.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    if len(todo) < len(lines):
        terminal.note(f"{len(lines) - len(todo)} of {len(lines)} are answered already.")
    n_failed = sum(1 for is_good in done.values() if not is_good)
    if todo:
        llm = session.open_llm(model, terminal.note)
        n_failed += asyncio.run(_write(llm, todo, answers, concurrency, terminal.note))
    return 1 if n_failed else 0


async def _write(
    llm: LLM, todo: Sequence[dict[str, Any]], path: Path | None, concurrency: int, note: Callable[[str], None]
) -> int:
    """Appends each answer as it comes; returns how many failed."""
    from harmonium.server.batches import answered

    n_failed = 0
    with nullcontext(sys.stdout) if path is None else open(path, "a", encoding="utf-8") as file:
        async with aclosing(answered(llm, todo, concurrency)) as answers:
            number = 0
            async for answer in answers:
                number += 1
                file.write(json_format.dumps(answer, ensure_ascii=False) + "\n")
                file.flush()
                n_failed += answer["response"]["status_code"] != 200
                if number % 100 == 0 or number == len(todo):
                    note(f"{number} of {len(todo)} answered, {n_failed} failed.")
    return n_failed


def read_requests(path: Path | None) -> list[dict[str, Any]]:
    """The lines of a file, checked. Raises BadRequest, which names the line."""
    lines, seen, where = [], set(), path or "stdin"
    for number, line in enumerate(_lines(path), 1):
        try:
            request = json_format.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"{where}, line {number}: it is not JSON ({error}).") from None
        if not isinstance(request, dict) or not isinstance(request.get("body"), dict):
            raise BadRequest(f'{where}, line {number}: it is no object with "custom_id", "url" and "body".')
        id_, url = request.get("custom_id"), request.get("url")
        if not isinstance(id_, str) or not id_ or id_ in seen:
            raise BadRequest(f"{where}, line {number}: it needs a custom_id of its own, a text.")
        if not isinstance(url, str) or not url.startswith("/v1/") or request.get("method", "POST") != "POST":
            raise BadRequest(f"{where}, line {number}: its url has to be one of /v1/..., and its method POST.")
        if request["body"].get("stream"):
            raise BadRequest(f"{where}, line {number}: answers of a batch are whole; leave out stream.")
        seen.add(id_)
        lines.append(request)
    return lines


def keep_answers(path: Path) -> dict[str, bool]:
    """By custom_id, whether a file's answer is a good one. What was cut short or is asked again is removed."""
    if not path.exists():
        return {}
    kept, done = [], {}
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines(keepends=True):
        try:
            answer = json_format.loads(line)
            id_, status = answer["custom_id"], answer["response"]["status_code"]
        except (ValueError, KeyError, TypeError):
            if line.endswith("\n"):
                raise BadRequest(f"{path} is no file of a batch's answers; name another to write to.") from None
            continue
        if status not in RETRIED and line.endswith("\n"):
            kept.append(line)
            done[id_] = status == 200
    if "".join(kept) != text:
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text("".join(kept), encoding="utf-8")
        os.replace(beside, path)
    return done


def _lines(path: Path | None) -> list[str]:
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig") if path is None else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path or 'stdin'} cannot be read: {error}") from None
    return [line for line in text.split("\n") if line.strip()]

"""`harmonium batch`: a file of requests to a file of answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harmonium.cli.options import ModelOptions, Quiet
from harmonium.errors import BadRequest, CannotWrite

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM

ADDRESS = re.compile(r"/v1(/[\w-]+)+")
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
    where it was stopped: what is answered stays, and what failed for a passing reason is asked again. A line that is no
    request gets an error as its answer. No server's store keeps any. Exits with 1 where a request failed.

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
    lines, refused = read_requests(requests)
    with _writing(answers):
        done = {} if answers is None else keep_answers(answers)
    todo = [line for line in lines if line["custom_id"] not in done]

    from harmonium.cli import session
    from harmonium.cli.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    n_lines, n_done = len(lines) + len(refused), len(lines) - len(todo)
    if n_done:
        terminal.note(f"{n_done} of {n_lines} are answered already.")
    for answer in refused:
        terminal.note(answer["error"]["message"])
    n_failed = len(refused) + sum(1 for is_good in done.values() if not is_good)
    with _writing(answers):  # before a model is loaded, which may be long
        opened = nullcontext(sys.stdout) if answers is None else open(answers, "a", encoding="utf-8")  # noqa: SIM115
    llm = session.open_llm(model, terminal.note) if todo else None
    with _writing(answers), opened as file:
        for answer in refused:
            _write(file, answer)
        if llm is not None:
            n_failed += asyncio.run(_answer(llm, todo, file, concurrency, terminal.note))
    terminal.note(f"{n_lines - n_failed} of {n_lines} answered, {n_failed} failed.")
    return 1 if n_failed else 0


@contextmanager
def _writing(answers: Path | None) -> Iterator[None]:
    """Raises CannotWrite where the file of answers does; main tells of stdout."""
    try:
        yield
    except OSError as error:
        if answers is None:
            raise
        raise CannotWrite(
            f"{answers} cannot be written: {error.strerror or error}. Mend that and run it again, it goes on from "
            "what is there; or name another file."
        ) from None


async def _answer(
    llm: LLM, todo: Sequence[dict[str, Any]], file: TextIO, concurrency: int, note: Callable[[str], None]
) -> int:
    """Writes each answer as it comes; returns how many failed."""
    from harmonium.server.batches import answered

    n_failed = 0
    async with aclosing(answered(llm, todo, concurrency)) as answers:
        number = 0
        async for answer in answers:
            number += 1
            _write(file, answer)
            n_failed += answer["response"]["status_code"] != 200
            if number % 100 == 0:
                note(f"{number} of {len(todo)} asked, {n_failed} failed.")
    return n_failed


def _write(file: TextIO, answer: dict[str, Any]) -> None:
    from harmonium.server.plain_json import dump

    file.write(dump(answer).decode() + "\n")
    file.flush()


def read_requests(path: Path | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of a file, and answers to the lines that are none, which say why."""
    requests, refused, seen = [], [], set[str]()
    for number, line in _lines(path):
        id_: str | None = None
        try:
            request = _object(line)
            id_ = _id(request, seen)
            _check(request)
        except BadRequest as error:
            told = {"code": error.code, "message": f"{path or 'stdin'}, line {number}: {error}"}
            refused.append({"id": f"batch_req_{number}", "custom_id": id_, "response": None, "error": told})
        else:
            requests.append(request)
    return requests, refused


def _object(line: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"it is not JSON ({error}).") from None
    if not isinstance(request, dict):
        raise BadRequest('it is no object with "custom_id", "url" and "body".')
    return request


def _id(request: dict[str, Any], seen: set[str]) -> str:
    id_ = request.get("custom_id")
    if not isinstance(id_, str) or not id_ or id_ in seen:
        raise BadRequest("it needs a custom_id of its own, a text.")
    seen.add(id_)
    return id_


def _check(request: dict[str, Any]) -> None:
    from harmonium.server import plain_json

    url, body = request.get("url"), request.get("body")
    if not isinstance(body, dict):
        raise BadRequest('its "body" is no object, such as {"messages": [...]}.')
    plain_json.check(body)
    is_address = isinstance(url, str) and ADDRESS.fullmatch(url)
    if not is_address or request.get("method", "POST") != "POST":
        raise BadRequest("its url has to be one of /v1/..., and its method POST.")
    for name in ("stream", "background"):
        if body.get(name):
            raise BadRequest(f"a batch waits for whole answers; leave out {name}.")


def keep_answers(path: Path) -> dict[str, bool]:
    """By custom_id, whether a file's answer is a good one.

    What was cut short, stands for a line that was none, or is asked again is removed.
    """
    if not path.is_file():
        return {}  # of a device there is nothing to go on from
    kept, done = [], {}
    text = path.read_text(encoding="utf-8")
    for line in StringIO(text, newline="\n"):
        try:
            answer = json.loads(line)
            id_, response = answer["custom_id"], answer["response"]
            status = None if response is None else response["status_code"]
        except (ValueError, KeyError, TypeError):
            if line.endswith("\n"):
                raise BadRequest(f"{path} is no file of a batch's answers; name another to write to.") from None
            continue
        if status is not None and status not in RETRIED and line.endswith("\n"):
            kept.append(line)
            done[id_] = status == 200
    if "".join(kept) != text:
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text("".join(kept), encoding="utf-8")
        os.replace(beside, path)
    return done


def _lines(path: Path | None) -> list[tuple[int, str]]:
    """Those that hold something, with their numbers."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig") if path is None else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path or 'stdin'} cannot be read: {error}") from None
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]

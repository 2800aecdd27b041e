"""Every failure as OpenAI's error object. The one place that decides what a client is told of an error."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from harmonium.errors import BadRequest, Busy, HarmoniumError, NotFound, TooSlow
from harmonium.server.plain_json import Json

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's types by status; others are invalid_request_error below 500 and server_error from there."""

log = logging.getLogger(__name__)


def error_body(error: HarmoniumError) -> dict[str, Any]:
    """{"error": {...}}, as responses and streams have it."""
    return {"error": {"message": str(error), "type": _type(error.status), "param": error.param, "code": error.code}}


def response(error: HarmoniumError) -> Response:
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, TooSlow):
        headers["Connection"] = "close"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Json(error_body(error), error.status, headers)


def internal(error: BaseException) -> HarmoniumError:
    """What a client is told of a bug: nothing that the error says."""
    log.error("A request met a bug.", exc_info=error)
    return HarmoniumError("Something went wrong in the server; its log says what. The request id finds it there.")


def handle_errors(app: FastAPI) -> None:
    """Makes every error that an app foresees one of the above; calls.py does it for bugs."""

    @app.exception_handler(HarmoniumError)
    async def _harmonium(request: Request, error: HarmoniumError) -> Response:
        return _noted(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _noted(request, invalid(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        answer = _noted(request, _of_http(request, error))
        answer.headers.update(error.headers or {})
        return answer


def _noted(request: Request, error: HarmoniumError) -> Response:
    note(request.scope, error)
    return response(error)


def note(scope: Scope, error: HarmoniumError) -> None:
    """For the request's line in the log, and the metrics."""
    scope["state"]["call"].notes["code"] = error.code


def invalid(error: RequestValidationError) -> BadRequest:
    """What is wrong with the first field that is, and where. A field of several kinds may be wrong in several ways."""
    found = error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        return BadRequest(f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}.")
    places = [(_place(one, error.body), one["msg"]) for one in found]
    if not places[0][0]:
        return BadRequest(f"The body is not what this address takes: {first['msg']}. Send one JSON object.")
    where = max((place for place, _ in places if place[:1] == places[0][0][:1]), key=len)
    told = "; or: ".join(dict.fromkeys(said for place, said in places if place == where))
    name = ".".join(where)
    return BadRequest(f"{name}: {told}.", param=name)


def _place(error: Mapping[str, Any], body: Any) -> list[str]:
    """The path to what is wrong, as the client sent it, without the kinds of things that the field might have been."""
    inside, *path = error["loc"]
    if inside != "body":
        return [str(part) for part in path]
    kept = []
    for number, part in enumerate(path):
        is_there = part in body if isinstance(body, dict) else isinstance(body, list) and isinstance(part, int)
        if is_there:
            body = body[part]
        if is_there or (error["type"] == "missing" and number == len(path) - 1):
            kept.append(str(part))
    return kept


def _of_http(request: Request, error: HTTPException) -> HarmoniumError:
    if isinstance(error.__cause__, HarmoniumError):
        return error.__cause__
    if error.status_code == 404:
        path = request.url.path
        if _is_route(request, f"/v1{path}"):
            return NotFound(f"There is nothing at {path}, but at /v1{path}: give clients a base URL that ends in /v1.")
        return NotFound(f"There is nothing at {request.method} {path}; /openapi.json lists what there is.")
    if error.status_code == 405:
        told: HarmoniumError = BadRequest(f"{request.url.path} does not take {request.method}.")
    else:
        told = BadRequest(str(error.detail))
    told.status = error.status_code
    return told


def _is_route(request: Request, path: str) -> bool:
    scope = {**request.scope, "path": path}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def _type(status: int) -> str:
    return TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")

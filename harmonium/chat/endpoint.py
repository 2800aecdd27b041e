"""An OpenAI-compatible server as one reaches it: its address, its key, its streams, its failures as our errors."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx2

from harmonium.errors import (
    BadRequest,
    Busy,
    HarmoniumError,
    ModelNotFound,
    PromptTooLong,
    RequestFailed,
    ServerUnreachable,
    Unauthorized,
)

CONNECT_S = 10.0
SILENCE_S = 600.0
"""A model may think long before its first word; a server that is silent for so long is taken for dead."""
MAX_EVENT_BYTES = 64 << 20
DONE = "[DONE]"
_PATHS = re.compile(r"(/chat/completions|/completions|/responses|/models)?/*$")


def address(url: str) -> httpx2.URL:
    """Where a server's API begins: http://localhost:8000/v1 for localhost:8000, with or without scheme and /v1.

    Without a scheme https is meant, unless a port is given or the host is this machine or an IP address. An endpoint's
    own address (.../v1/chat/completions) names its server, too. Raises BadRequest for what is no address.
    """
    text = url.strip()
    has_scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None
    try:
        read = httpx2.URL(text if has_scheme else f"http://{text}")
        if not has_scheme and read.port is None and not (_is_ip(read.host) or read.host == "localhost"):
            read = read.copy_with(scheme="https")
        read = read.copy_with(path=_PATHS.sub("", read.path) or "/v1", fragment=None)
    except httpx2.InvalidURL as error:
        raise BadRequest(f"{url!r} is no address of a server ({error}); give one such as localhost:8000.") from None
    if read.scheme not in ("http", "https") or not read.host or not 0 < (read.port or 80) < 65536:
        raise BadRequest(f"{url!r} is no address of a server; give one such as localhost:8000.")
    return read


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


class NoApi(ServerUnreachable):
    """What answers at a path is no OpenAI API."""


class Endpoint:
    """One server. url: where its API begins, without the key. Close it, or use it in a with statement."""

    def __init__(self, url: str, key: str | None = None) -> None:
        base = address(url)
        self.url = str(base.copy_with(query=None, username=None, password=None))
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            raise BadRequest("The API key is empty or holds characters that no key has; check its variable.")
        self._client = httpx2.Client(
            base_url=base.copy_with(query=None),
            params=base.params,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S),
            trust_env=not _is_this_machine(base.host),  # a proxy of the environment does not lead here
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """The JSON document at a path."""
        with self._failures():
            answer = self._client.get(path)
        self._check(answer, None)
        try:
            return answer.json()
        except ValueError:
            raise self._no_api(answer) from None

    def text(self, path: str) -> str:
        """The plain text at a path beside the API, as in /metrics beside /v1."""
        with self._failures():
            answer = self._client.get(httpx2.URL(self.url).copy_with(path=path))
        is_there = answer.status_code != 404
        if is_there:
            self._check(answer, None)
        if not (is_there and _is(answer, "text/plain")):
            raise ServerUnreachable(f"{self.url} is a server that has no {path}, so none of ours; check the address.")
        return answer.text

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[Mapping[str, Any], None, None]:
        """Posts a request and gives the data of each event of its answer. Closing the generator hangs up.

        Raises what stands in the place of a stream: BadRequest, PromptTooLong, Unauthorized, ModelNotFound, Busy or
        RequestFailed as the server says; ServerUnreachable where there is none; RequestFailed where the stream breaks.
        """
        with self._failures(), self._client.stream("POST", path, json=body) as answer:
            if not answer.is_success:
                answer.read()
            self._check(answer, body.get("model"))
            if _is(answer, "application/json"):
                answer.read()
                yield self._read(answer.text)  # it does not stream, and says all at once
            elif _is(answer, "text/event-stream"):
                yield from self._events(answer)
            else:
                raise self._no_api(answer)

    def _events(self, answer: httpx2.Response) -> Iterator[Mapping[str, Any]]:
        try:
            for event in httpx2.EventSource(answer, MAX_EVENT_BYTES):
                if event.data == DONE:
                    return
                if event.data:
                    yield self._read(event.data)
        except httpx2.TransportError as error:
            raise RequestFailed(f"The answer of {self.url} broke off: {_reason(error)}. Ask again.") from None

    def _read(self, data: str) -> Mapping[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RequestFailed(f"{self.url} sent an event that is no JSON object: {_short(data)}")
        if value.get("error") and value.get("type") in (None, "error"):
            raise RequestFailed(f"{self.url} failed in the middle of its answer: {_told(value) or _short(data)}")
        return value

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What keeps a request from being answered, as our error."""
        try:
            yield
        except httpx2.TimeoutException:
            raise ServerUnreachable(f"{self.url} does not answer; check the address and whether it runs.") from None
        except httpx2.TransportError as error:
            raise ServerUnreachable(
                f"{self.url} cannot be reached: {_reason(error)}. {_advice(self.url, error)}"
            ) from None

    def _check(self, answer: httpx2.Response, model: Any) -> None:
        """Raises the error that an answer is."""
        if answer.is_success:
            return
        if answer.is_redirect:
            raise ServerUnreachable(
                f"{self.url} sends us on to {answer.headers.get('location', 'elsewhere')}; give that address."
            )
        status, document = answer.status_code, _json(answer)
        if document is None and status < 500 and status not in (401, 403, 429):
            raise self._no_api(answer)  # what a server says of itself, whatever speaks for it, is told below
        text = "" if _is(answer, "text/html") else _short(answer.text)
        said = _told(document) or text or answer.reason_phrase
        if status in (401, 403):
            if "Authorization" in answer.request.headers:
                raise Unauthorized(f"{self.url} refuses the key: {said}")
            raise Unauthorized(f"{self.url} wants a key, which --api-key-env names: {said}")
        if status == 404:
            raise ModelNotFound(self._not_found(answer, model, said))
        if status == 429:
            wait = answer.headers.get("retry-after")
            raise Busy(f"{self.url} is busy: {_sentence(said)}" + (f" Try again in {wait} s." if wait else ""))
        kind: type[HarmoniumError] = BadRequest if status < 500 else RequestFailed
        if _error(document).get("code") == PromptTooLong.code:
            kind = PromptTooLong
        raise kind(f"{self.url} answers with {status}: {said}")

    def _not_found(self, answer: httpx2.Response, model: Any, said: str) -> str:
        if _error(_json(answer)).get("code") == ModelNotFound.code:
            return f"{self.url} has no model {model}: {said}"
        path = answer.request.url.path.removeprefix(httpx2.URL(self.url).path)
        asked = f"{self.url} has no {path}" if model is None else f"{self.url} has no {path}, or no model {model}"
        return f"{asked}: {said}"

    def _no_api(self, answer: httpx2.Response) -> NoApi:
        """Something answers that is no OpenAI API, such as a web page."""
        kind = answer.headers.get("content-type", "no type").partition(";")[0]
        what = "a web page" if _is(answer, "text/html") else f"something else ({kind})"
        return NoApi(
            f"{answer.request.url} answered with {what} and status {answer.status_code}, not as OpenAI's API does; "
            f"check the address: it usually ends in /v1."
        )


def _json(answer: httpx2.Response) -> Any:
    """The document that an answer is, None where it is none."""
    try:
        return answer.json()
    except ValueError:
        return None


def _is(answer: httpx2.Response, kind: str) -> bool:
    return bool(answer.headers.get("content-type", "").partition(";")[0].strip().lower() == kind)


def _error(document: Any) -> Mapping[str, Any]:
    """An error as servers write it: OpenAI's object, that object bare, or a text."""
    error = document.get("error", document) if isinstance(document, dict) else document
    return error if isinstance(error, dict) else {"message": error}


def _told(document: Any) -> str:
    error = _error(document)
    return next((value for key in ("message", "detail") if isinstance(value := error.get(key), str)), "")


def _reason(error: Exception) -> str:
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).rstrip(".") or type(error).__name__


def _advice(url: str, error: Exception) -> str:
    if "SSL" in str(error) and "CERTIFICATE" not in str(error):
        return "Does it speak plain http? Then give http:// in its address."
    if _is_this_machine(httpx2.URL(url).host):
        return "Is a server running there? `harmonium serve` starts one."
    return "Check the address."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"

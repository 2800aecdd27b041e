"""The error tree: every failure a user can meet, with its HTTP status and its exit code.

A message is one or two sentences: what is wrong, and what to do about it. `raise` one of these for a user's mistake or
for the world's; `assert` for our own bug. Exit code 2 is left to the command line's own usage errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class HarmoniumError(Exception):
    """Anything Harmonium tells its user. Print `str(error)`: it is written for a person.

    param: the field of a request that is at fault, where one is.
    """

    status = 500
    exit_code = 1
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@contextmanager
def at_fault(param: str) -> Iterator[None]:
    """What is raised inside and names no field of a request is this field's fault."""
    try:
        yield
    except HarmoniumError as error:
        error.param = error.param or param
        raise


class BadRequest(HarmoniumError):
    """The input cannot be used as it is: an empty prompt, an impossible option, a malformed message."""

    status, exit_code, code = 400, 2, "invalid_request_error"


class PromptTooLong(BadRequest):
    """The prompt and the answer asked for do not fit the context."""

    status, exit_code, code = 400, 4, "context_length_exceeded"


class ModelNotFound(HarmoniumError):
    """No such model: neither a known alias, nor a folder, nor a name that can be fetched."""

    status, exit_code, code = 404, 5, "model_not_found"


class BadCheckpoint(HarmoniumError):
    """A checkpoint is incomplete, damaged or of another architecture."""

    status, exit_code, code = 500, 6, "bad_checkpoint"


class NotEnoughMemory(HarmoniumError):
    """The plan does not fit the device."""

    status, exit_code, code = 503, 3, "not_enough_memory"


class Unsupported(HarmoniumError):
    """This machine or this build cannot do what was asked, and nothing was done instead of it."""

    status, exit_code, code = 501, 7, "unsupported"


class Busy(HarmoniumError):
    """There are too many requests; this one was refused and nothing was lost. retry_after_s: when to send it again."""

    status, exit_code, code = 429, 8, "rate_limit_exceeded"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class RequestFailed(HarmoniumError):
    """One request failed inside the engine; the others go on."""

    status, exit_code, code = 500, 9, "request_failed"


class Unauthorized(HarmoniumError):
    """No key, or not a valid one, where a key is needed."""

    status, exit_code, code = 401, 11, "invalid_api_key"


class ServerUnreachable(HarmoniumError):
    """A server that was named does not answer, or what answers there is none that we can talk to."""

    status, exit_code, code = 502, 12, "server_unreachable"


class CannotWrite(HarmoniumError):
    """A file or folder cannot be written."""

    status, exit_code, code = 500, 10, "cannot_write"


class TimedOut(HarmoniumError):
    """A request did not end within the time that it was given."""

    status, exit_code, code = 504, 13, "timeout"


class MissingPackages(HarmoniumError):
    """This needs an extra of Harmonium that is not installed."""

    status, exit_code, code = 501, 14, "missing_packages"


class NotFound(HarmoniumError):
    """There is nothing at that address, or no object of that name."""

    status, exit_code, code = 404, 15, "not_found"


class TooLarge(HarmoniumError):
    """A request's body is larger than the server takes."""

    status, exit_code, code = 413, 16, "request_too_large"


class TooSlow(HarmoniumError):
    """A request did not arrive within the time that the server waits for one."""

    status, exit_code, code = 408, 17, "request_timeout"


class Forbidden(HarmoniumError):
    """Whoever asks from there may not."""

    status, exit_code, code = 403, 18, "forbidden"


class Unavailable(HarmoniumError):
    """The server cannot answer now: something that it needs fails, or it is being stopped."""

    status, exit_code, code = 503, 19, "unavailable"

"""Harmonium runs OpenAI's gpt-oss models on your own hardware. The public API, and nothing else.

    >>> from harmonium import LLM
    >>> LLM().chat("What is the capital of Australia?").text

Names are imported when first used, so that the command line starts without torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harmonium.chat.async_llm import AsyncLLM as AsyncLLM
    from harmonium.chat.events import Done as Done
    from harmonium.chat.events import Event as Event
    from harmonium.chat.events import FinishReason as FinishReason
    from harmonium.chat.events import ReasoningDelta as ReasoningDelta
    from harmonium.chat.events import Repair as Repair
    from harmonium.chat.events import TextDelta as TextDelta
    from harmonium.chat.events import ToolCall as ToolCall
    from harmonium.chat.events import ToolCallDelta as ToolCallDelta
    from harmonium.chat.events import ToolResult as ToolResult
    from harmonium.chat.events import Usage as Usage
    from harmonium.chat.llm import LLM as LLM
    from harmonium.chat.loading import load as load
    from harmonium.chat.reply import Reply as Reply
    from harmonium.engine.request import SamplingParams as SamplingParams
    from harmonium.errors import BadCheckpoint as BadCheckpoint
    from harmonium.errors import BadRequest as BadRequest
    from harmonium.errors import Busy as Busy
    from harmonium.errors import CannotWrite as CannotWrite
    from harmonium.errors import HarmoniumError as HarmoniumError
    from harmonium.errors import MissingPackages as MissingPackages
    from harmonium.errors import ModelNotFound as ModelNotFound
    from harmonium.errors import NotEnoughMemory as NotEnoughMemory
    from harmonium.errors import NotFound as NotFound
    from harmonium.errors import PromptTooLong as PromptTooLong
    from harmonium.errors import RequestFailed as RequestFailed
    from harmonium.errors import ServerUnreachable as ServerUnreachable
    from harmonium.errors import TimedOut as TimedOut
    from harmonium.errors import TooLarge as TooLarge
    from harmonium.errors import Unauthorized as Unauthorized
    from harmonium.errors import Unsupported as Unsupported

__version__ = "0.1.0"

# OpenMP's threads wait asleep. Spinning, its default, makes steps a hundred times slower once another process wants a
# core, and saves nothing that shows on a quiet machine. It is read when torch is imported, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "harmonium.chat.async_llm": "AsyncLLM",
    "harmonium.chat.llm": "LLM",
    "harmonium.chat.loading": "load",
    "harmonium.chat.reply": "Reply",
    "harmonium.engine.request": "SamplingParams",
    "harmonium.chat.events": "Event ReasoningDelta TextDelta ToolCallDelta ToolCall ToolResult Repair Usage Done "
    "FinishReason",
    "harmonium.errors": "HarmoniumError BadRequest PromptTooLong ModelNotFound BadCheckpoint NotEnoughMemory "
    "Unsupported Busy RequestFailed TimedOut Unauthorized NotFound TooLarge ServerUnreachable MissingPackages "
    "CannotWrite",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'harmonium' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])

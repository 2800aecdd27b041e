"""`harmonium serve`: an OpenAI-compatible endpoint on this machine."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from harmonium.cli.options import NANO_NOTE, ModelOptions
from harmonium.errors import BadRequest, MissingPackages

if TYPE_CHECKING:
    from harmonium.server.settings import Settings

SERVER = Group("Server", sort_key=1)
SAFETY = Group("Safety", sort_key=2)
NEEDED = ("fastapi", "uvicorn", "openai", "prometheus_client", "sqlalchemy", "cryptography")


@Parameter(name="*", group=SERVER)
@dataclass(frozen=True)
class ServeOptions:
    host: str = "127.0.0.1"
    """The address to listen on. One that other machines reach needs an API key."""

    port: int = 8000
    """The port to listen on; 0 finds a free one."""

    served_model_name: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """What requests may call the model, as often as there are names; answers call it by the first."""

    upstream: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """NAME=URL sends requests for MODEL:NAME on to another OpenAI-compatible server, with the key that the environment
    has as NAME_API_KEY."""

    reasoning_format: Literal["split", "none"] = "split"
    """Send reasoning as a field of its own, or not at all."""

    reasoning_budget: int | None = None
    """Tokens of reasoning after which it is closed, where a request says nothing."""

    max_tokens: int | None = None
    """Most tokens of an answer, reasoning included, where a request says nothing; unless given, the context's end."""

    store: str | None = None
    """Where responses and conversations are kept: a file, or a postgresql:// URL that several servers share. By default
    a file beside the other state of this user's Harmonium."""

    store_days: float = 30
    """How long responses are kept after they were last continued."""

    store_key: Path | None = None
    """The file with the key that seals reasoning which clients keep; made if it is not there. Servers that share a
    store share it."""

    batch: int | None = None
    """Requests computed at once, while others wait; by default up to 256, and 32 of a large model on a CPU."""

    api_key_env: Annotated[tuple[str, ...], Parameter(negative="", group=SAFETY)] = ()
    """An environment variable that holds a key which requests must have, or, as NAME=KEY, one with a name; may be given
    several times. `harmonium keys` makes lasting ones."""

    cors_origin: Annotated[tuple[str, ...], Parameter(negative="", group=SAFETY)] = ()
    """A web page that may call from browsers, as in https://example.com, or "*"; may be given several times."""

    max_body_mb: Annotated[float, Parameter(group=SAFETY)] = 32
    """Largest request that is read."""

    requests_per_minute: Annotated[int | None, Parameter(group=SAFETY)] = None
    """Of each API key."""

    concurrent_requests: Annotated[int | None, Parameter(group=SAFETY)] = None
    """Of each API key."""

    queue: Annotated[int | None, Parameter(group=SAFETY)] = None
    """Requests that may wait before others are refused; 1,024 unless given."""

    timeout: Annotated[float | None, Parameter(group=SAFETY)] = None
    """Seconds after which a request ends with an error."""

    log_prompts: Annotated[bool, Parameter(negative="", group=SAFETY)] = False
    """Log what is asked and answered, too."""

    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False
    """Log errors only."""


def serve(
    name: str | None = None, /, *, options: ServeOptions = ServeOptions(), model: ModelOptions = ModelOptions()
) -> None:
    """Serve a model to everything that speaks OpenAI's API, until Ctrl-C.

    For example:

        harmonium serve gpt-oss-20b
        curl localhost:8000/v1/chat/completions -d '{"messages": [{"role": "user", "content": "What is 2 + 2?"}]}'

    Parameters
    ----------
    name
        gpt-oss-20b, gpt-oss-120b, a name on the Hugging Face hub, or a folder. Without it nano, which is inside.
    """
    if name is not None and model.model is not None:
        raise BadRequest(f"--model {model.model} and {name} both name a model; give one of them.")
    check_packages()
    wanted = model if name is None else replace(model, model=name)
    settings = settings_of(options)

    from harmonium.cli import session
    from harmonium.cli.terminal import Terminal
    from harmonium.server import run
    from harmonium.server.state import Kept

    terminal = Terminal(quiet=options.quiet)
    listening = run.listen(settings.host, settings.port)
    kept = Kept.open(settings.store, settings.key_file)
    llm = session.open_llm(wanted, terminal.note, options.batch)
    if wanted.is_default:
        terminal.note(NANO_NOTE)
    run.serve(settings, llm, listening, kept, is_quiet=options.quiet)


def check_packages() -> None:
    """Raises MissingPackages where the extra `serve` is not installed."""
    for name in NEEDED:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise MissingPackages(
                f"Serving needs the package {error.name}, which is not installed; run: "
                f"{Path(sys.executable).name} -m pip install 'harmonium[serve]'"
            ) from None


def settings_of(options: ServeOptions) -> Settings:
    """Raises BadRequest for what cannot be."""
    from harmonium.server.auth import check_any_valid
    from harmonium.server.settings import Settings, keys_file

    keys, path = _named_keys(options.api_key_env), keys_file()
    if not keys:
        check_any_valid(path)
    places = {"store": options.store, "key_file": options.store_key}
    return Settings(
        host=options.host,
        port=options.port,
        served_names=options.served_model_name,
        api_keys=keys,
        keys_file=path,
        cors_origins=options.cors_origin,
        max_body_bytes=_bytes(options.max_body_mb),
        requests_per_minute=options.requests_per_minute,
        concurrent_requests=options.concurrent_requests,
        queue_limit=options.queue,
        timeout_s=options.timeout,
        upstreams=dict(_upstream(text) for text in options.upstream),
        reasoning_format=options.reasoning_format,
        reasoning_budget=options.reasoning_budget,
        max_tokens=options.max_tokens,
        logs_prompts=options.log_prompts,
        store_days=options.store_days,
        **{name: place for name, place in places.items() if place is not None},  # type: ignore[arg-type]
    )


def _bytes(megabytes: float) -> int:
    if not math.isfinite(megabytes):
        raise BadRequest(f"--max-body-mb is {megabytes}; give a number of megabytes.")
    return math.ceil(megabytes * 1e6)


def _named_keys(variables: tuple[str, ...]) -> dict[str, str]:
    """By name. A key without one is called after itself: what it has stored must not be another's by its place here.

    Keys are in the environment, for whoever may list a machine's processes reads their command lines.
    """
    found: dict[str, str] = {}
    for variable in variables:
        text = os.environ.get(variable, "")
        if not text:
            raise BadRequest(f"The environment variable {variable} is not set; it should hold an API key.")
        name, _, key = text.partition("=")
        if not key:
            name, key = f"key-{sha256(text.encode()).hexdigest()[:8]}", text
        if len(key) < 8:
            raise BadRequest(
                f"The key in {variable} has fewer than 8 characters and is quickly guessed; use a longer one."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise BadRequest(f"The key in {variable} has characters that no header can carry; use letters and digits.")
        if name in found:
            raise BadRequest(f"Two --api-key-env have keys named {name!r}; give each a name of its own.")
        found[name] = key
    return found


def _upstream(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    is_url = re.match(r"https?://[^/?#\s]", url) is not None
    if not name or ":" in name or not is_url:
        raise BadRequest(f"--upstream {text} is not NAME=URL, as in --upstream other=https://example.com/v1")
    return name, url.rstrip("/")

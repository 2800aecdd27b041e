"""--tools FILE: the functions of a Python file, as tools for the model."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from harmonium.errors import BadRequest

DEMO = Path("demo")


def load(path: Path) -> list[Callable[..., Any]]:
    """The public functions that a Python file defines, in its order. Runs the file; BadRequest says why it cannot.

    What the file and its functions print goes to stderr: stdout is for answers.

    "demo", where there is no such file, stands for the functions of demo_functions.py.
    """
    if path == DEMO and not path.exists():
        path = Path(__file__).with_name("demo_functions.py")
    if not path.is_file():
        raise BadRequest(f"There is no file {path}; --tools takes a Python file whose functions the model may call.")
    spec = importlib.util.spec_from_file_location(f"harmonium_tools_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadRequest(f"{path} is not a Python file; --tools takes one whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadRequest(f"{path} cannot be used as --tools: {type(error).__name__}: {error}.") from error
    functions: list[Callable[..., Any]] = [
        _off_stdout(value)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == spec.name and not name.startswith("_")
    ]
    if not functions:
        raise BadRequest(f"{path} defines no function; --tools takes a file with at least one `def`.")
    return functions


def _off_stdout(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, printing to stderr. An async one stays as it is, for chat to refuse."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return function

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with redirect_stdout(sys.stderr):
            return function(*args, **kwargs)

    return run

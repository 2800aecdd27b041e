"""Compiles a Python function for this CPU, and keeps the machine code for the next process.

numba compiles at a function's first call, a second or so each, and stores the result beside the source or, where that
is read-only, in NUMBA_CACHE_DIR or the user's cache folder; where none of them can be written it compiles anew in every
process. numba itself notices changes of the function's own file only, so a digest of all of this package's sources is
part of the key. Kernels release the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])

_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()


class _SourceCache(FunctionCache):
    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _SOURCES)  # type: ignore[no-untyped-call]


_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}


def compiled(function: Function) -> Function:
    """Decorates a kernel. Floating-point sums may be reordered; NaN and infinity keep their meaning."""
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    with contextlib.suppress(RuntimeError):  # where no folder for the cache can be written
        dispatcher._cache = _SourceCache(function)  # type: ignore[no-untyped-call]
    return cast(Function, dispatcher)


def inlined(function: Function) -> Function:
    """Decorates what only kernels call. It is part of their machine code and not stored by itself."""
    no_wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    kernel: Any = numba.njit(**_OPTIONS | no_wrappers)(function)
    return cast(Function, kernel)


def is_kept() -> bool:
    """Whether there is a folder in which compiled kernels can stay for the next process."""
    try:
        _SourceCache(is_kept)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return True

"""Compiles a Python function for this CPU, and keeps the machine code for the next process.

numba compiles at a function's first call, a second or so each, and stores the result beside the source or, where that
is read-only, in NUMBA_CACHE_DIR or the user's cache folder; where none of them can be written, or the disk is full, it
compiles anew in every process. numba itself notices changes of the function's own file only, so a digest of all of this
package's sources is part of the key. Kernels release the interpreter's lock.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()


_DIGEST_BYTES = 32

PROBE_BYTES = 4_000_000
"""More than the largest kernel and its index take."""


class _CheckedFiles(IndexDataCacheFile):
    """A function's machine code and the index of it, each behind a digest: what is damaged is made anew, not run."""

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, overloads)

    def _load_index(self) -> dict[Any, str]:
        try:
            return cast(dict[Any, str], self._read(self._index_path))
        except OSError:
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)  # type: ignore[no-untyped-call]

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))  # type: ignore[no-untyped-call]

    def _write(self, path: str, content: Any) -> None:
        pickled = self._dump(content)  # type: ignore[no-untyped-call]
        with self._open_for_write(path) as file:
            file.write(self._digest(pickled) + pickled)

    def _read(self, path: str) -> Any:
        """Raises OSError where there is no such file, or not a whole one of this numba and this source."""
        stored = Path(path).read_bytes()
        pickled = stored[_DIGEST_BYTES:]
        if stored[:_DIGEST_BYTES] != self._digest(pickled):
            raise OSError(f"{path} is damaged")
        return pickle.loads(pickled)

    def _digest(self, pickled: bytes) -> bytes:
        return hashlib.sha256(f"{self._version} {self._source_stamp} ".encode() + pickled).digest()


class _SourceCache(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, stamp)  # type: ignore[no-untyped-call]

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _SOURCES)  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None:
            _compiling()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _not_kept(str(self.cache_path), os.strerror(error.errno or 0))

    def can_write(self) -> bool:
        """Whether a kernel has room in the folder."""
        try:
            with tempfile.TemporaryFile(dir=self.cache_path, buffering=0) as file:
                return file.write(bytes(PROBE_BYTES)) == PROBE_BYTES
        except OSError:
            return False


@functools.cache
def _compiling() -> None:
    log.info("Compiling kernels for this processor, which takes half a minute the first time ...")


@functools.cache
def _not_kept(folder: str, reason: str) -> None:
    log.warning("Compiled kernels cannot be kept in %s (%s): the next start compiles them anew.", folder, reason)


_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}


def compiled(function: Function) -> Function:
    """Decorates a kernel. Floating-point sums may be reordered; NaN and infinity keep their meaning."""
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    try:
        dispatcher._cache = _SourceCache(function)
    except RuntimeError:  # no folder for the cache can be written
        _compiling()
    return cast(Function, dispatcher)


def inlined(function: Function) -> Function:
    """Decorates what only kernels call. It is part of their machine code and not stored by itself."""
    no_wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    kernel: Any = numba.njit(**_OPTIONS | no_wrappers)(function)
    return cast(Function, kernel)


def is_kept() -> bool:
    """Whether there is a folder, with room in it, in which compiled kernels can stay for the next process."""
    try:
        return _SourceCache(is_kept).can_write()
    except RuntimeError:
        return False

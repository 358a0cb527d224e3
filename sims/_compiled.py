"""How kernels are compiled: options, what keeps their bits the same in every process, where they are kept.

A *kernel* is called from Python; its machine code is kept on disk. A *helper* is called by kernels and is
compiled into each of them.

By itself, Numba shares helpers: a kernel's machine code holds a copy of every helper that was not inlined,
under the helper's name, and a call leads to whichever code of that name the process loaded first. That is the
helper as it was compiled for itself in a process that compiles, and the copy, which was optimised once more,
in a process that loads the kernel from disk. As sums may be reordered, the two differ in their last digits.
So a kernel is *sealed* here: its calls lead to its own copies. Helpers are compiled from their source, never
loaded, so that these copies do not depend on what is on disk either. Therefore no kernel may call a kernel.

And a function that does not say whether it must be inlined is inlined by Numba where the first that calls it
is, so that its code would depend on what was compiled before. Here each function is what it says itself.

Numba goes on loading a kernel after a helper in another file was edited. So the folder of the machine code is
named after the content of this whole package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.targetconfig import ConfigStack
from numba.misc.appdirs import AppDirs

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

__all__ = ["OPTIONS", "UNWRAPPED", "helper", "kernel"]

FASTMATH = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""


class _Compiler(Compiler):
    """Numba's compiler; whether a function is inlined is not passed on to what it calls."""

    def define_pipelines(self) -> Any:
        ConfigStack().top().discard("forceinline")
        return super().define_pipelines()


OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": set(FASTMATH),
    "pipeline_class": _Compiler,
}
"""What all kernels and helpers are compiled with."""

UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Further options of a helper that Python never calls: kernels of many parts compile in less time."""

CHANGES_CODE = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "USING_SVML")
"""Settings of Numba that machine code depends on and that its own cache does not look at."""

PREFIX = "plasticity-discovery-"

UNUSED_S = 86_400
"""Machine code of other sources is removed when no process has asked for it for so long."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that is called from Python, and keep its machine code; for use as a decorator."""
    if config.DISABLE_JIT:
        return function
    compiled = njit(**(OPTIONS | {"pipeline_class": _Sealing}))(function)
    if (folder := _folder()) is not None:
        compiled._cache = _kept_in(folder, function)
    return compiled


def helper(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a function that kernels call; for use as a decorator, with or without more options of Numba."""
    decorate = njit(**OPTIONS, **options)
    return decorate if function is None else decorate(function)


class _SealedLibrary(JITCodeLibrary):
    """Machine code in which calls lead to its own copies, whatever else the process has loaded."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "internal"
        super()._optimize_final_module()


class _Sealing(_Compiler):
    """The same with a sealed library as its target."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = _SealedLibrary(target_context.codegen(), "kernel")
            library.enable_object_caching()
        super().__init__(typing_context, target_context, library, *rest)


# -------------------------------------------------------------------------------------------------- the cache


class _Cache(FunctionCache):
    """Numba's cache of one function; processes that write at the same time wait for each other.

    Else both might give one file name to two types of arguments, and the code for one be run for the other.
    What cannot be written or read is compiled.
    """

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        with suppress(OSError):
            return super().load_overload(signature, target_context)
        return None

    def save_overload(self, signature: Any, data: Any) -> None:
        with suppress(OSError), _alone_in(Path(self.cache_path)):
            super().save_overload(signature, data)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as file:
        with suppress(OSError):  # a file system without locks
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _kept_in(folder: Path, function: Callable[..., Any]) -> _Cache:
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return _Cache(function)
    finally:
        config.CACHE_DIR = before


@cache
def _folder() -> Path | None:
    """Return the folder of machine code of just these sources, None where none can be written.

    It is in ``NUMBA_CACHE_DIR`` where that is set, else beside the sources, else where the user's caches are.
    """
    beside, of_user = Path(__file__).parent / "__pycache__", AppDirs("numba", appauthor=False).user_cache_dir
    for parent in ([Path(config.CACHE_DIR)] if config.CACHE_DIR else []) + [beside, Path(of_user)]:
        folder = parent / f"{PREFIX}{_digest()}"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
            _sweep(parent)
            return folder
    return None


def _digest() -> str:
    settings = [numba.__version__, *(getattr(config, name) for name in CHANGES_CODE)]
    digest = hashlib.sha256(repr(settings).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _sweep(parent: Path) -> None:
    """Remove what sources that are no more have left."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)

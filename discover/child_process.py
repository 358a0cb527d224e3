"""Child processes of this program: what they start with, and that they do not outlive who started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["child_environment", "end_with"]

_DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of Linux's prctl."""


def child_environment(defaults: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return one thread for the libraries of a child, this package on its path, and what is not set."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**(defaults or {}), **os.environ, **own}


def end_with(parent: int) -> None:
    """See to it that this process ends when its parent does, even if that is killed.

    Elsewhere than on Linux it ends when it next reads or writes: nobody is there any more.

    Parameters
    ----------
    parent : int
        Number of the process that started this one.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that
        sys.exit(1)

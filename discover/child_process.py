"""Child processes of this program: what they start with, and that they do not outlive who started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["child_environment", "end_with"]

_DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of Linux's prctl."""


def child_environment() -> dict[str, str]:
    """Return the environment for a child: one thread for its libraries, and this package on its path."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def end_with(parent: int | None) -> None:
    """See to it that this process ends when its parent does, even if that is killed.

    Elsewhere than on Linux it ends when it next reports: nobody reads that any more.

    Parameters
    ----------
    parent : int or None
        Number of the process that started this one; None lets this one live on.
    """
    # Ctrl-C in a terminal reaches both processes; it is for the parent to end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent is None:
        return
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that
        sys.exit(1)

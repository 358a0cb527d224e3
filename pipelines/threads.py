"""How many threads the kernels use, set before Numba is loaded where that is still possible."""

from __future__ import annotations

import os
import sys

__all__ = ["available_threads", "use_threads"]


def use_threads(threads: int | None) -> int:
    """Set the number of threads for this process and those that it starts.

    Parameters
    ----------
    threads : int or None
        Number of threads; None leaves it as it is, which is all cores unless ``NUMBA_NUM_THREADS`` says less.

    Returns
    -------
    int
        Number of threads that the kernels will use.
    """
    # The order of a BLAS sum changes with its threads; the kernels' does not.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["MKL_NUM_THREADS"] = "1"
    if "numba" not in sys.modules:
        if threads is not None:
            os.environ["NUMBA_NUM_THREADS"] = str(threads)
        return available_threads()
    import numba

    if threads is not None:
        numba.set_num_threads(min(threads, available_threads()))
    return int(numba.get_num_threads())


def available_threads() -> int:
    """Return the largest number of threads that the kernels can use."""
    if "numba" in sys.modules:
        return int(vars(sys.modules["numba"].config)["NUMBA_NUM_THREADS"])
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

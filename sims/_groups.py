"""Problems run in groups, and groups on threads.

Which problems form a group depends on sizes alone, never on the number of threads, and each group writes its
own rows: results are bit-identical for any number of threads. The kernels release Python's global lock, so
that plain threads do; Numba's ``prange`` would compile every kernel three times over, and its OpenMP threads
spin while they wait, which costs milliseconds when the cores have other work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["group_edges", "run_groups"]

WORTH_A_THREAD = 400_000
"""Updates of single synapses, about 0.3 ms: less is done before another thread has started."""


def group_edges(n_problems: int, most: int) -> NDArray[np.int64]:
    """Problems ``edges[k]`` to ``edges[k + 1]`` form group k: at most `most` of them.

    The number of groups is even, so that two threads share evenly.

    Examples
    --------
    >>> group_edges(20, most=8).tolist()
    [0, 5, 10, 15, 20]
    """
    n_groups = min(n_problems, 2 * -(-n_problems // (2 * most)))
    return np.arange(n_groups + 1, dtype=np.int64) * n_problems // n_groups


def run_groups(run: Callable[[int, int], None], n_groups: int, n_updates: int) -> None:
    """Call ``run(first, last)`` for stretches of groups, on as many threads as Numba is set to use.

    Parameters
    ----------
    run : callable
        Runs the groups `first` to `last` without Python's global lock.
    n_groups : int
    n_updates : int
        Amount of work, in updates of single synapses.
    """
    from numba import get_num_threads

    n_threads = min(get_num_threads(), n_groups) if n_updates >= WORTH_A_THREAD else 1
    cuts = [k * n_groups // n_threads for k in range(n_threads + 1)]
    others = [_pool().submit(run, cuts[k], cuts[k + 1]) for k in range(1, n_threads)]
    try:
        run(cuts[0], cuts[1])
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


@cache
def _pool() -> ThreadPoolExecutor:
    from numba import config

    most: int = vars(config)["NUMBA_NUM_THREADS"]
    return ThreadPoolExecutor(most, thread_name_prefix="plasticity-kernels")


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)

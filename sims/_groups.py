"""Problems run in groups, side by side in lanes or alone, and groups on threads.

Which problems form a group depends on their order alone, never on the number of threads, and each group
writes its own rows: results are bit-identical for any number of threads. The kernels release Python's global
lock, so that plain threads do; Numba's ``prange`` would compile every kernel three times over, and its
OpenMP threads spin while they wait, which costs milliseconds when the cores have other work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned", "frozen", "in_lanes", "out_of_lanes", "run_groups"]

WORTH_A_THREAD = 2_000_000
"""Updates of single synapses, about 1 ms: less is done before another thread has started."""

CACHE_LINE = 8
"""Numbers in a line of the cache."""

_Scalar = TypeVar("_Scalar", bound=np.generic)
FloatArray = NDArray[np.float64]


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Read-only view: the kernels see one type of array, so that they are compiled once."""
    view = array.view()
    view.setflags(write=False)
    return view


def in_lanes(rows: FloatArray) -> FloatArray:
    """Arrays (n_problems, n, n_inputs) as (n_groups, n, n_inputs, LANES)."""
    from sims._lane_kernels import into_lanes
    from sims._lanes import LANES

    n_groups = -(-len(rows) // LANES)
    lanes = aligned((n_groups, *rows.shape[1:], LANES))
    run_groups(lambda first, last: into_lanes(frozen(rows), first, last, lanes), n_groups, rows.size)
    return lanes


def out_of_lanes(groups: FloatArray, n_problems: int) -> FloatArray:
    """Arrays (n_groups, n, n_inputs, LANES) as (n_problems, n, n_inputs)."""
    n_groups, *rest, n_lanes = groups.shape
    by_problem = groups.transpose(0, groups.ndim - 1, *range(1, groups.ndim - 1))
    return by_problem.reshape(n_groups * n_lanes, *rest)[:n_problems]


def aligned(shape: tuple[int, ...]) -> FloatArray:
    """Return an empty array whose vectors of lanes each lie in one line of the cache."""
    size = math.prod(shape)
    memory = np.empty(size + CACHE_LINE)
    first = -(memory.ctypes.data // memory.itemsize) % CACHE_LINE
    return memory[first : first + size].reshape(shape)


def run_groups(
    run: Callable[[int, int], None], n_groups: int, n_updates: int, *, one_by_one: bool = False
) -> None:
    """Call ``run(first, last)`` for stretches of groups, on as many threads as Numba is set to use.

    Parameters
    ----------
    run : callable
        Runs the groups `first` to `last` without Python's global lock.
    n_groups : int
    n_updates : int
        Amount of work, in updates of single synapses.
    one_by_one : bool
        Whether a thread takes one group after the other, as long as there are any: for groups that take
        seconds, some much longer than others. Else each thread has one stretch of equal length.
    """
    if n_updates < WORTH_A_THREAD or n_groups == 1:
        run(0, n_groups)
        return
    from numba import get_num_threads

    n_threads = min(get_num_threads(), n_groups)
    n_stretches = n_groups if one_by_one else n_threads
    cuts = [k * n_groups // n_stretches for k in range(n_stretches + 1)]
    waiting = iter(range(n_stretches))  # that a thread takes the next one cannot be interrupted

    def take() -> None:
        try:
            for k in waiting:
                run(cuts[k], cuts[k + 1])
        except BaseException:
            for _ in waiting:  # nobody begins another one after an error or Ctrl-C
                pass
            raise

    others = [_pool().submit(take) for _ in range(1, n_threads)]
    try:
        take()
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

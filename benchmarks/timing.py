"""Interleaved timing: what is compared runs in turn, so that a drifting machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

REST_S = 0.05
BURST = 4


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each function, `repeats` bursts of calls in turn.

    An outer loop calls the same function hundreds of times in a row. So a turn is a rest, in which threads of
    the function before fall asleep, one call that is not counted, and a few that are.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            time.sleep(REST_S)
            function()
            for _ in range(BURST):
                start = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Return median and smallest of each, in milliseconds."""
    result = {}
    for name, values in seconds.items():
        result[f"{name} (ms)"] = 1e3 * float(np.median(values))
        result[f"{name}, fastest (ms)"] = 1e3 * min(values)
    return result


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """Return the median over turns of how many times longer `slow` took than `fast`."""
    return float(np.median(np.array(seconds[slow]) / np.array(seconds[fast])))

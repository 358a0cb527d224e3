"""Conditions of cross-validation for the memory task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from discover.tasks.base import Fold
from discover.tasks.memory_measures import MemorySettings

__all__ = ["memory_folds"]

TOLERANCES: Mapping[str, tuple[float, float]] = {"stable": (0.8, 1.0), "novelty": (0.8, 1.0)}

LONGER, LONGEST_S = 10.0, 600.0
"""In some conditions there is a further break, so many times the last one. It is no longer than the published
ten minutes, unless there is such a one already; then it is twice as long."""

MOST_AT_FULL_SIZE = 3


def memory_folds(settings: MemorySettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings; speeds of rules are tuned on the latter."""
    return tuple(
        Fold(
            name, title, changed, TOLERANCES,
            MOST_AT_FULL_SIZE if changed.size > settings.size else None, tuned_at=settings,
        )
        for name, title, changed in _conditions(settings)
    )  # fmt: skip


def _conditions(settings: MemorySettings) -> Iterator[tuple[str, str, MemorySettings]]:
    yield "networks", "other networks of the same size", settings
    last = min(LONGER * settings.breaks_s[-1], max(LONGEST_S, 2 * settings.breaks_s[-1]))
    longer = replace(settings, breaks_s=(*settings.breaks_s, last))
    if settings.size < 1:
        full = replace(longer, size=1.0, connections=1.0)
        yield "full-size", f"networks of 4096 + 1024 neurons, and a further break of {last:g} s", full
    yield "break-long", f"a further break of {last:g} s", longer
    for word, factor in (("half", 0.5), ("double", 2.0)):
        n = max(1, min(2500, round(factor * settings.stimulus_inputs)))
        yield f"stimulus-{word}", f"stimuli of {n} inputs", replace(settings, stimulus_inputs=n)
    for word, factor in (("weak", 2 / 3), ("strong", 1.5)):
        rate = round(factor * settings.stimulus_hz, 3)
        yield f"stimulus-{word}", f"stimuli of {rate:g} Hz", replace(settings, stimulus_hz=rate)
    for word, factor in (("low", 0.8), ("high", 1.25)):
        rate = round(factor * settings.input_rate_hz, 3)
        yield f"input-{word}", f"inputs of {rate:g} Hz", replace(settings, input_rate_hz=rate)
    yield "capacity", "three familiar stimuli, learned in turn", replace(settings, n_familiar=3)
    yield "overlap", "stimuli that share half of their inputs", replace(settings, overlap=0.5)

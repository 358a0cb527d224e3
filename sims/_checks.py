"""Checks that settings of several circuits share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

__all__ = ["check_numbers"]

MOST_NEURONS = 1_000_000

LARGEST_PROBABILITY = 0.999
"""Of an input to spike in one step."""


def check_numbers(
    settings: Any, what: str, *, positive: Iterable[str], not_negative: Iterable[str], counts: Iterable[str]
) -> None:
    """Raise ValueError unless every number of some settings is finite and in its range.

    What is no number is not looked at.

    Parameters
    ----------
    settings : dataclass
    what : str
        What the settings are of, for the text of the error.
    positive, not_negative : iterable of str
        Names of numbers that are above zero, and of those that may be zero.
    counts : iterable of str
        Names of numbers of neurons, from 1 to a million.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, int | float) and not math.isfinite(value):
            raise ValueError(f"A {what}'s {field.name} is finite, got {value}.")
    for name in positive:
        if getattr(settings, name) <= 0:
            raise ValueError(f"A {what}'s {name} is positive, got {getattr(settings, name)}.")
    for name in not_negative:
        if getattr(settings, name) < 0:
            raise ValueError(f"A {what}'s {name} is not negative, got {getattr(settings, name)}.")
    for name in counts:
        if not 1 <= getattr(settings, name) <= MOST_NEURONS:
            raise ValueError(f"A {what}'s {name} is 1 to {MOST_NEURONS}, got {getattr(settings, name)}.")

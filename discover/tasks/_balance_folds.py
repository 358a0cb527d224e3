"""Conditions of cross-validation for the balance of excitation and inhibition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from discover.tasks._balance_problems import BalanceSettings
from discover.tasks._recurrent_balance import RecurrentSettings
from discover.tasks.base import Fold

__all__ = ["IRREGULAR", "balance_folds", "settled_fold"]

Settings = TypeVar("Settings", bound=BalanceSettings)

LONGER = 3.0
"""Folds run so many times longer than the fitted problems: conditions may need more time to settle."""

TOLERANCES: Mapping[str, tuple[float, float]] = {
    "rate_error": (0.0, 0.25),
    "tuning": (0.8, 1.0),
    "drift": (0.0, 0.02),
}
"""What a rule that has settled reaches."""

IRREGULAR = (0.5, 2.0)
"""Where intervals and counts of spikes vary as in the cortex, about as for a Poisson process, which has 1."""

RECURRENT_TOLERANCES: Mapping[str, tuple[float, float]] = {
    "rate_error": (0.0, 0.2),
    "interval_cv": IRREGULAR,
    "drift": (0.0, 0.02),
}

PUBLISHED_RATE, PUBLISHED_RECURRENT_RATE = 0.001, 0.01
"""Learning rates of the published feed-forward circuit and of the published network."""

USUAL_SIZE = 100
"""Number of inhibitory inputs below which a circuit is one for quick tests."""


def balance_folds(settings: BalanceSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    The speed of each rule is tuned in runs as long as the fitted problems', under the fold's condition; at
    the usual learning rate where the fold changes that. Recurrent networks take it from the fitted problems:
    a small network settles at any speed, so that it says nothing of the large one, and that takes too long.
    """
    base = replace(
        settings,
        duration_s=LONGER * settings.duration_s,
        measured_s=LONGER * settings.measured_s,
        retuned=False,
    )

    def usual(changed: BalanceSettings) -> BalanceSettings:
        return replace(
            changed,
            duration_s=settings.duration_s,
            measured_s=settings.measured_s,
            learning_rate=settings.learning_rate,
        )

    feedforward = [
        Fold(name, title, changed, TOLERANCES, tuned_at=usual(changed))
        for name, title, changed in _conditions(base)
    ]
    return (*feedforward, *_recurrent(settings))


def settled_fold(settings: BalanceSettings) -> Fold:
    """Return the fitted conditions in runs as long as those of the folds, with the tolerances of these."""
    longer = replace(
        settings, duration_s=LONGER * settings.duration_s, measured_s=LONGER * settings.measured_s
    )
    return Fold("asked", "the rate that is asked for, tuned inhibition, weights at rest", longer, TOLERANCES)


def _recurrent(settings: BalanceSettings) -> Iterator[Fold]:
    """Yield recurrent networks: a small one, and the published one where the circuit has its usual size."""
    speed = settings.learning_rate / PUBLISHED_RATE
    base = RecurrentSettings(
        target_hz=settings.target_hz,
        learning_rate=speed * PUBLISHED_RECURRENT_RATE,
        constant_factor=settings.constant_factor,
    )
    small = replace(base, n_excitatory=800, n_inhibitory=200, connection_probability=0.2)
    if settings.n_inhibitory < USUAL_SIZE:
        tiny = replace(
            small,
            n_excitatory=160,
            n_inhibitory=40,
            duration_s=settings.duration_s,
            measured_s=settings.measured_s,
        )
        yield Fold("recurrent-tiny", _network_title(tiny), tiny, RECURRENT_TOLERANCES, 1)
        return
    yield Fold("recurrent-small", _network_title(small), small, RECURRENT_TOLERANCES, 4, tuned_at=settings)
    yield Fold("recurrent", _network_title(base), base, RECURRENT_TOLERANCES, 1, tuned_at=settings)


def _network_title(settings: RecurrentSettings) -> str:
    return f"recurrent network of {settings.n_excitatory} + {settings.n_inhibitory} neurons"


def _conditions(base: Settings) -> Iterator[tuple[str, str, Settings]]:
    yield "rates-half", "input rates halved", _rates(base, 0.5)
    yield "rates-double", "input rates doubled", _rates(base, 2.0)
    for tuning in ("broad", "two-peaks"):
        if base.tuning != tuning:
            yield f"tuning-{tuning}", f"excitation with {_WORDS[tuning]}", replace(base, tuning=tuning)
    half = replace(base, n_excitatory=base.n_excitatory // 2, n_inhibitory=base.n_inhibitory // 2)
    yield "inputs-half", f"{half.n_excitatory} + {half.n_inhibitory} inputs", half
    channels = 2 * base.n_channels
    yield "channels-double", f"{channels} channels", replace(base, n_channels=channels)
    for factor in (0.6, 1.6):
        target = round(factor * base.target_hz, 3)
        changed = replace(base, target_hz=target, constant_factor=factor * base.constant_factor)
        yield f"target-{target:g}", f"target {target:g} Hz, through the constant term", changed
    strong = replace(base, initial_inhibition=(1.0, 2.0))
    yield "start-strong", "inhibition that is too strong at the start", strong
    yield "rate-third", "learning rate a third", replace(base, learning_rate=base.learning_rate / 3)
    yield "rate-triple", "learning rate tripled", replace(base, learning_rate=base.learning_rate * 3)
    yield (
        "retuned",
        "excitation moves to other channels; inhibition has to follow",
        replace(base, retuned=True),
    )


_WORDS = {"broad": "a broad peak", "two-peaks": "two peaks"}


def _rates(base: Settings, factor: float) -> Settings:
    return replace(base, rate_factor=factor * base.rate_factor)

"""Conditions of cross-validation for the two-layer network.

Tolerances are what the known pair of rules itself reaches on other problems of the same condition, with a
margin. With mini-batches its weights keep moving about the components, and where two variances are close it
mixes their components: no cosine is asked for where the known pair itself falls short, and none where the
variances are nearly equal on purpose. There the space that the outputs span is all that can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from discover.known_rules import get_known_rule
from discover.tasks._pca_folds import (
    LONGEST_RUN,
    Condition,
    input_variances,
    runs,
    sizes,
    sources,
    spectra,
)
from discover.tasks.base import Fold
from discover.tasks.pca import N_DIGIT_PIXELS
from discover.tasks.pca_network import TASK, NetworkSettings, Preset

__all__ = ["MARGIN", "network_folds"]

FloatArray = NDArray[np.float64]

MARGIN = 0.05
"""What a measure may be worse than the known pair's mean, beside three standard errors of that mean."""

N_PROBLEMS = 16
"""Problems on which the known pair is measured."""

LARGEST_SIZE = 500
"""Folds have no more inputs than this, or than the fitted problems."""

LOWEST_COSINE = 0.9
"""No cosine is asked for where the known pair's own is lower."""

LARGEST_NOISE = 0.25
"""The learning rate is lowered until the variance that an update moves about falls below this share."""

E_FOLDS = 15.0
"""Length of a run, in time constants with which the known pair tells neighbouring components apart."""

LONGEST = 10
"""A run is at most so many times longer than the fitted problems', at equal learning rate."""

DIGIT_OUTPUTS = (2, 4, 8)

PUBLISHED_PRESETS: tuple[Preset, ...] = ("d3", "d5", "d50")

OF_THE_SUBSPACE = ("explained_variance", "subspace_error")

LARGEST_SHARE = 1.001
"""Cosines and shares of the variance are at most one, up to rounding; about centred targets a little more."""


@lru_cache(maxsize=8)
def network_folds(settings: NetworkSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    A fold that would not differ from the fitted problems is left out.

    Examples
    --------
    >>> [fold.name for fold in network_folds(NetworkSettings(n_steps=50))][:4]
    ['inputs-half', 'inputs-double', 'inputs-tenfold', 'outputs-more']
    """
    conditions = (
        *sizes(settings, _settled, LARGEST_SIZE, smallest=settings.n_outputs),
        *_outputs(settings),
        *spectra(settings, _settled),
        *_nearly_equal(settings),
        *(fold for fold in sources(settings, _settled) if fold[0] != "digits"),
        *_digits(settings),
        *runs(settings, _settled),
        *_published(settings),
    )
    return tuple(
        Fold(name, title, changed, _tolerances(name, changed)) for name, title, changed in conditions
    )


def _outputs(settings: NetworkSettings) -> Iterator[Condition]:
    """Yield other numbers of outputs."""
    fitted = settings.n_outputs
    rank = int(np.count_nonzero(input_variances(settings) > 0))
    for name, n_outputs in (("fewer", 2), ("more", min(2 * fitted, rank, settings.n_samples))):
        if (n_outputs - fitted) * (1 if name == "more" else -1) > 0:
            changed = replace(settings, n_outputs=n_outputs)
            yield f"outputs-{name}", f"{n_outputs} outputs instead of {fitted}", _settled(changed)


def _nearly_equal(settings: NetworkSettings) -> Iterator[Condition]:
    """Yield a spectrum in which no component can be told from its neighbour, and the space of all can."""
    n_inputs, n_outputs = settings.n_inputs, settings.n_outputs
    if settings.source == "digits" or n_inputs <= n_outputs:
        return
    large = 1 - 0.01 * np.arange(n_outputs) / n_outputs
    small = 0.3 / np.arange(1, n_inputs - n_outputs + 1)
    spectrum = tuple(np.concatenate([large, small]).tolist())
    changed = replace(settings, spectrum=spectrum)
    title = f"{n_outputs} nearly equal variances, the others small: only their space counts"
    yield "spectrum-nearly-equal", title, _settled(changed)


def _digits(settings: NetworkSettings) -> Iterator[Condition]:
    """Yield real images with several numbers of outputs."""
    for n_outputs in DIGIT_OUTPUTS:
        changed = replace(
            settings, source="digits", n_inputs=N_DIGIT_PIXELS, n_outputs=n_outputs, spectrum="power-law"
        )
        if (settings.source, settings.n_outputs) != ("digits", n_outputs):
            title = f"images of handwritten digits, 64 pixels, {n_outputs} outputs"
            yield f"digits-{n_outputs}", title, _settled(changed)


def _published(settings: NetworkSettings) -> Iterator[Condition]:
    for preset in PUBLISHED_PRESETS:
        published = NetworkSettings(preset=preset)
        if published != replace(settings, preset=preset):
            title = f"published settings, {published.n_inputs} inputs, whole-sample updates"
            yield f"published-{preset}", title, published


def _settled(settings: NetworkSettings) -> NetworkSettings:
    """Return settings with a learning rate and a horizon at which the known pair settles, if it can."""
    variances = input_variances(settings)
    noise = _step_noise(settings) * float(variances.sum())
    rate = settings.learning_rate * min(1.0, LARGEST_NOISE / noise if noise else 1.0)
    next_one = np.append(variances, 0.0)[1:]
    gap = float((variances - next_one)[: settings.n_outputs].min())
    equal = settings.n_steps * settings.learning_rate / rate
    needed = min(E_FOLDS / (rate * max(gap, 1e-9)), LONGEST * equal)
    return replace(settings, learning_rate=rate, n_steps=min(ceil(max(equal, needed)), LONGEST_RUN))


def _step_noise(settings: NetworkSettings) -> float:
    whole = settings.batch in (0, settings.n_samples)
    return 0.0 if whole else settings.learning_rate / (2 * settings.batch)


def _tolerances(name: str, settings: NetworkSettings) -> dict[str, tuple[float, float]]:
    rule = get_known_rule(TASK.reference).rule
    assert rule is not None
    problems = TASK.draw(settings, N_PROBLEMS, np.random.SeedSequence(0))
    tolerances = {}
    for measure, values in TASK.evaluate(rule, problems).items():
        mean, margin = values.mean(), MARGIN + 3 * values.std(ddof=1) / sqrt(N_PROBLEMS)
        if name == "spectrum-nearly-equal" and measure not in OF_THE_SUBSPACE:
            continue
        if measure == "loss" or (measure.endswith("cosine") and mean < LOWEST_COSINE):
            continue
        if measure in TASK.higher_is_better:
            tolerances[measure] = (
                round(float(mean - margin), 3),
                max(LARGEST_SHARE, round(float(mean + margin), 3)),
            )
        else:
            tolerances[measure] = (0.0, round(float(mean + margin), 3))
    return tolerances

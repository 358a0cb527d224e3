"""Conditions of cross-validation for one neuron.

Tolerances follow from what Oja's rule itself reaches. With one sample an update its weights keep moving about
the principal component. For independent samples, to first order in the learning rate eta and with variances
``v_1 > v_2 >= ...``, they explain ``eta/2 * sum_{k>1} v_k`` less variance than the component, their norm is
off by half of that, and ``sin**2`` of their angle to it is ``eta/2 * sum_{k>1} v_1 v_k / (v_1 - v_k)``. A
fold asks for these values with a margin of :data:`MARGIN`; for no cosine where that angle is large, because
two variances are nearly the same and the rule cannot tell them apart at this learning rate.

References
----------
Oja & Karhunen (1985), J. Math. Anal. Appl. 106:69, for the convergence of the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from discover.tasks._pca_folds import LONGEST_RUN, input_variances, runs, sizes, sources, spectra
from discover.tasks.base import Fold
from discover.tasks.oja import OjaSettings, Preset

__all__ = ["LARGEST_SIZE", "MARGIN", "oja_folds", "settled_fold"]

FloatArray = NDArray[np.float64]

MARGIN = 0.05
"""What a measure may be worse than Oja's rule is in theory."""

LARGEST_SIZE = 1_000
"""Folds have no more inputs than this, or than the fitted problems; more take long to draw."""

LARGEST_MISALIGNMENT = 0.2
"""No cosine is asked for where ``sin**2`` of the angle is larger than this for Oja's rule itself."""

LARGEST_NOISE = 0.25
"""The learning rate is lowered until the variance that is not explained falls below this share."""

E_FOLDS = 15.0
"""Length of a run, in time constants ``1 / (eta (v_1 - v_2))`` with which the second component decays."""

LONGEST = 10
"""A run is at most so many times longer than the fitted problems', at equal learning rate."""

PUBLISHED_PRESETS: tuple[Preset, ...] = ("d3", "d5", "d100")


def oja_folds(settings: OjaSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    A fold that would not differ from the fitted problems is left out. Where there is nothing to find, on
    isotropic inputs, folds have nothing to find either.

    Examples
    --------
    >>> [fold.name for fold in oja_folds(OjaSettings())][:4]
    ['inputs-half', 'inputs-double', 'inputs-tenfold', 'spectrum-published']
    """
    is_null = settings.spectrum == "isotropic"
    largest = min(LARGEST_SIZE, settings.n_samples // 2) if is_null else LARGEST_SIZE
    return tuple(
        Fold(name, title, changed, {} if is_null else _tolerances(changed))
        for name, title, changed in (
            *sizes(settings, _settled, largest),
            *spectra(settings, _settled),
            *sources(settings, _settled),
            *runs(settings, _settled),
        )
    ) + tuple(() if is_null else _published(settings))


def settled_fold(settings: OjaSettings) -> Fold:
    """Return the fitted conditions, with a rate and a horizon at which Oja's rule settles."""
    changed = _settled(settings)
    title = "the first principal component, as near as Oja's rule comes in theory and a margin"
    return Fold("asked", title, changed, _tolerances(changed))


def _published(settings: OjaSettings) -> Iterator[Fold]:
    """Yield folds of a fixed horizon, at which Oja's rule may not settle: only the loss beside it counts."""
    for preset in PUBLISHED_PRESETS:
        published = OjaSettings(preset=preset)
        if published != replace(settings, preset=preset):
            title = f"published settings, {published.n_inputs} inputs, whole-sample updates"
            yield Fold(f"published-{preset}", title, published)


def _settled(settings: OjaSettings) -> OjaSettings:
    """Return settings with a learning rate and a horizon at which Oja's rule settles."""
    variances = input_variances(settings)
    noise = _noise(settings, variances)
    rate = settings.learning_rate * min(1.0, LARGEST_NOISE / noise if noise else 1.0)
    gap = variances[0] - variances[1] if len(variances) > 1 else variances[0]
    equal = settings.n_steps * settings.learning_rate / rate
    needed = min(E_FOLDS / (rate * max(gap, 1e-9)), LONGEST * equal)
    n_steps = ceil(max(equal, needed))
    return replace(settings, learning_rate=rate, n_steps=min(n_steps, LONGEST_RUN))


def _tolerances(settings: OjaSettings) -> dict[str, tuple[float, float]]:
    variances = input_variances(settings)
    noise = _noise(settings, variances)
    tolerances = {
        "norm_error": (0.0, round(noise / 2 + MARGIN, 3)),
        "explained_variance": (round(1 - noise - MARGIN, 3), 1.001),
    }
    misalignment = _misalignment(settings, variances)
    if misalignment <= LARGEST_MISALIGNMENT:
        tolerances["cosine"] = (round(sqrt(1 - misalignment) - MARGIN, 3), 1.0)
    return tolerances


def _noise(settings: OjaSettings, variances: FloatArray) -> float:
    """Share of the variance that Oja's rule leaves unexplained; 0 when an update sees the whole sample."""
    return _step_noise(settings) * float(variances[1:].sum())


def _misalignment(settings: OjaSettings, variances: FloatArray) -> float:
    """Squared sine of the angle of Oja's rule to the component; infinite when there are two largest."""
    gaps = variances[0] - variances[1:]
    if len(gaps) and gaps[0] <= 0:
        return np.inf
    return _step_noise(settings) * float(np.sum(variances[0] * variances[1:] / gaps))


def _step_noise(settings: OjaSettings) -> float:
    batch = settings.batch or 0
    return 0.0 if batch in (0, settings.n_samples) else settings.learning_rate / (2 * batch)

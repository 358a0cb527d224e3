"""Conditions of cross-validation that the principal-component tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from discover.tasks.pca import N_DIGIT_PIXELS, Source, Spectrum, digits, eigenvalues

__all__ = ["LONGEST_RUN", "Condition", "input_variances", "runs", "sizes", "sources", "spectra"]

FloatArray = NDArray[np.float64]

Condition = tuple[str, str, Any]
"""Name, title and settings of a fold."""

Settle = Callable[[Any], Any]
"""Gives settings a learning rate and a horizon at which the known rule settles."""

LONGEST_RUN = 10_000_000


def sizes(settings: Any, settled: Settle, largest: int, smallest: int = 2) -> Iterator[Condition]:
    """Yield other numbers of inputs, from `smallest` up to `largest` or the fitted number."""
    if settings.source == "digits":
        return
    fitted = settings.n_inputs
    for name, factor in (("half", 0.5), ("double", 2.0), ("tenfold", 10.0)):
        n_inputs = min(round(fitted * factor), max(largest, fitted))
        if n_inputs >= smallest and n_inputs != fitted:
            spectrum = settings.spectrum
            if isinstance(spectrum, tuple):
                spectrum = spectrum[:n_inputs]
            changed = replace(settings, n_inputs=n_inputs, spectrum=spectrum)
            yield f"inputs-{name}", f"{n_inputs} inputs instead of {fitted}", settled(changed)


def spectra(settings: Any, settled: Settle) -> Iterator[Condition]:
    """Yield other spectra of the inputs."""
    if settings.source == "digits" or settings.n_inputs < 2 or settings.spectrum == "isotropic":
        return
    fitted = input_variances(settings)
    for spectrum in get_args(Spectrum):
        changed = replace(settings, spectrum=spectrum)
        if not np.array_equal(input_variances(changed), fitted):
            yield f"spectrum-{spectrum}", f"{spectrum} spectrum of the inputs", settled(changed)


def sources(settings: Any, settled: Settle) -> Iterator[Condition]:
    """Yield other distributions of the inputs, and real images."""
    spectrum = "power-law" if settings.source == "digits" else settings.spectrum
    titles: dict[Source, str] = {
        "gaussian": "Gaussian inputs",
        "laplace": "inputs with heavy tails (Laplace)",
        "uniform": "inputs with light tails (uniform)",
    }
    for source, title in titles.items():
        if source != settings.source and (source != "gaussian" or settings.source == "digits"):
            yield source, title, settled(replace(settings, source=source, spectrum=spectrum))
    if settings.source != "digits" and settings.spectrum != "isotropic":
        changed = replace(settings, source="digits", n_inputs=N_DIGIT_PIXELS, spectrum="power-law")
        yield "digits", "images of handwritten digits, 64 pixels", settled(changed)


def runs(settings: Any, settled: Settle) -> Iterator[Condition]:
    """Yield other starts, learning rates and horizons."""
    started = replace(settings, initial_scale=min(3 * settings.initial_scale, 100.0))
    yield "start-large", "weights start 3 times larger", settled(started)
    rate, n_steps = settings.learning_rate, settings.n_steps
    slow = replace(settings, learning_rate=0.3 * rate, n_steps=min(ceil(n_steps / 0.3), LONGEST_RUN))
    yield "learning-slow", f"learning rate {slow.learning_rate:.3g}, {slow.n_steps} updates", settled(slow)
    fast = settled(replace(settings, learning_rate=min(3 * rate, 10.0)))
    if fast.learning_rate > rate:
        yield "learning-fast", f"learning rate {fast.learning_rate:.3g}", fast
    longer = replace(settings, n_steps=min(3 * n_steps, LONGEST_RUN))
    yield "run-long", f"{longer.n_steps} updates", settled(longer)


def input_variances(settings: Any) -> FloatArray:
    """Variances of the inputs along their principal axes, largest first."""
    if settings.source == "digits":
        images = digits()
        return np.asarray(np.linalg.svd(images, compute_uv=False) ** 2 / len(images))
    return eigenvalues(settings.spectrum, settings.n_inputs)

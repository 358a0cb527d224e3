"""Task ``ica``: one linear neuron should find one of the independent sources that its inputs are mixed from.

Inputs are sources of unit variance, rotated: all directions have the same variance, so that second moments
say nothing. What tells a source from a mixture is that it is further from a Gaussian, by tails that are
heavier (Laplace) or lighter (uniform). A bounded function of the output sees that. So does, a little, the
polynomial term ``x**2 * y**2``, a fourth moment that depends on the axes: in three dimensions it comes
near, in more it does not. A rule that looks for heavy tails turns away from light ones: known rules come
with a sign for each kind, and a fold with sources of the other kind asks a rule for what it cannot do.

References
----------
Hyvarinen & Oja (1998), Signal Processing 64:301.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import pi, sqrt
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.tasks.base import Answer, Fold
from discover.tasks.neuron import NeuronSettings, NeuronTask, plain_conditions, reached_by_reference
from discover.tasks.pca import random_axes, whitened

__all__ = ["TASK", "IcaSettings", "IcaTask", "SourceKind", "draw_sources"]

FloatArray = NDArray[np.float64]
SourceKind = Literal["laplace", "logistic", "sparse", "uniform", "binary", "mixed"]

HEAVY, LIGHT = "heavy", "light"

TAILS: Mapping[SourceKind, str] = {
    "laplace": HEAVY,
    "logistic": HEAVY,
    "sparse": HEAVY,
    "mixed": HEAVY,
    "uniform": LIGHT,
    "binary": LIGHT,
}
"""Which tails the sources have, or, in a mixture, those that are the easiest to find."""

KURTOSIS: Mapping[SourceKind, str] = {
    "laplace": "excess kurtosis 3",
    "logistic": "excess kurtosis 1.2",
    "sparse": "excess kurtosis 8.1",
    "uniform": "excess kurtosis -1.2",
    "binary": "excess kurtosis -2",
    "mixed": "half of them Laplace, half uniform",
}

SPARSE_POWER = 0.7
"""Sparse sources have the density ``exp(-|s / scale|**0.7)``."""

MARGIN = 0.03
"""What a cosine may be lower than the reference rule's, beside three standard errors of that."""

SIZES = (2, 5, 10, 20)


@dataclass(frozen=True)
class IcaSettings(NeuronSettings):
    """Settings of the task.

    Parameters
    ----------
    n_inputs : int
        Number of synapses, and of sources.
    source : str
        Distribution of the sources: ``laplace``, ``logistic``, ``sparse`` (heavy tails), ``uniform``,
        ``binary`` (light tails), or ``mixed``, half Laplace and half uniform.
    whitened : bool
        Whether the sources of a sample are made exactly uncorrelated and of unit variance, as inputs of
        independent component analysis are. Without it they are as they were drawn, and their chance
        correlations lead rules astray.
    n_samples, n_steps, learning_rate, batch, initial_scale
        As for every neuron, see :class:`discover.tasks.neuron.NeuronSettings`.
    """

    n_inputs: Annotated[int, Ge(2), Le(10_000)] = 3
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = 2000
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = 500
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.2
    batch: Annotated[int, Ge(0), Le(1_000_000)] = 100
    source: SourceKind = "laplace"
    whitened: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source not in get_args(SourceKind):
            raise TaskError(f"There are no {self.source!r} sources. Sources: {', '.join(KURTOSIS)}.")
        if self.whitened and self.n_samples <= self.n_inputs:
            raise TaskError(
                f"{self.n_samples} samples of {self.n_inputs} sources cannot be whitened; draw more samples."
            )


class IcaTask(NeuronTask):
    """One linear neuron, one independent component."""

    name: ClassVar[str] = "ica"
    title: ClassVar[str] = "One independent source of a mixture"
    settings_type: ClassVar[type] = IcaSettings
    sign_symmetric: ClassVar[bool] = True  # all sources are
    reference: ClassVar[str] = "hyvarinen-oja-heavy"
    known_rules: ClassVar[tuple[str, ...]] = ("hyvarinen-oja-heavy", "hyvarinen-oja", "oja", "hebb", "bcm")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance to the nearest column of the mixing matrix, either sign",
        "cosine": "absolute cosine between the weights and the column that it is largest for",
        "norm_error": "absolute difference of the weights' norm from one",
    }

    def reference_for(self, settings: IcaSettings) -> str:
        """Return the known rule for the tails of the sources."""
        return self.reference if TAILS[settings.source] == HEAVY else "hyvarinen-oja"

    def answer_for(self, settings: IcaSettings) -> Answer:
        """Say that many nonlinearities separate sources."""
        return "many forms"

    def draw_problem(self, settings: IcaSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw sources and a rotation; the targets are its columns."""
        n_inputs = settings.n_inputs
        sources = draw_sources(settings.source, settings.n_samples, n_inputs, rng)
        if settings.whitened:
            sources = whitened(sources)
        axes = random_axes(n_inputs, n_inputs, rng)
        return {"inputs": sources @ axes.T, "targets": axes.T}

    def folds(self, settings: IcaSettings) -> tuple[Fold, ...]:
        """Other sizes, sources of other kurtosis, samples that are not white, starts, rates and horizons."""
        return ica_folds(settings)


def draw_sources(kind: SourceKind, n_samples: int, n_sources: int, rng: np.random.Generator) -> FloatArray:
    """Draw independent sources of zero mean and unit variance, shape (n_samples, n_sources)."""
    shape = (n_samples, n_sources)
    if kind == "mixed":
        n_heavy = (n_sources + 1) // 2
        parts = [
            draw_sources("laplace", n_samples, n_heavy, rng),
            draw_sources("uniform", n_samples, n_sources - n_heavy, rng),
        ]
        return np.concatenate(parts, axis=1)
    if kind == "laplace":
        return rng.laplace(scale=sqrt(0.5), size=shape)
    if kind == "logistic":
        return rng.logistic(scale=sqrt(3) / pi, size=shape)
    if kind == "uniform":
        return rng.uniform(-sqrt(3), sqrt(3), size=shape)
    signs = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    if kind == "binary":
        return signs
    sizes = rng.gamma(1 / SPARSE_POWER, size=shape) ** (1 / SPARSE_POWER)
    return signs * sizes / _sparse_deviation()


def _sparse_deviation() -> float:
    from math import gamma

    return sqrt(gamma(3 / SPARSE_POWER) / gamma(1 / SPARSE_POWER))


@lru_cache(maxsize=16)
def ica_folds(settings: IcaSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    Tolerances are what the known rule for the sources of a fold reaches there.

    Examples
    --------
    >>> [fold.name for fold in ica_folds(IcaSettings(n_steps=20))][:6]
    ['inputs-2', 'inputs-5', 'inputs-10', 'inputs-20', 'logistic', 'sparse']
    """
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, ("cosine",), MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: IcaSettings) -> Iterator[tuple[str, str, Any]]:
    for n_inputs in SIZES:
        if n_inputs != settings.n_inputs:
            title = f"{n_inputs} inputs instead of {settings.n_inputs}"
            yield f"inputs-{n_inputs}", title, replace(settings, n_inputs=n_inputs)
    for kind in get_args(SourceKind):
        if kind != settings.source:
            title = f"{kind} sources ({KURTOSIS[kind]})"
            if "mixed" not in (kind, settings.source) and TAILS[kind] != TAILS[settings.source]:
                title += ", tails of the other kind"
            yield kind, title, replace(settings, source=kind)
    if settings.whitened:
        yield "not-whitened", "samples with chance correlations", replace(settings, whitened=False)
    for name, title, changed in plain_conditions(settings):
        if not name.startswith("inputs-"):
            yield name, title, changed


TASK = IcaTask()

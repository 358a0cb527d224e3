"""Task ``oja``: one linear neuron should find the first principal component of its inputs.

The target is the component of the sample about zero, as the neuron sees it. The published target is that of
the centred sample, which no rule can reach exactly: with it, Oja's rule ends at losses of about 0.01 (``d3``)
where it would otherwise end at 0.001.

References
----------
Confavreux et al. (NeurIPS 2020), section 3.1; Oja (1982), J. Math. Biol. 15:267.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.tasks.base import Answer, Fold
from discover.tasks.neuron import NeuronProblems, NeuronTask, unit_vectors
from discover.tasks.pca import (
    Isotropic,
    Source,
    Spectrum,
    complete_settings,
    draw_inputs,
    eigenvalues,
    principal_components,
    whitened,
)

__all__ = ["TASK", "OjaProblems", "OjaSettings", "OjaTask"]

FloatArray = NDArray[np.float64]
Preset = Literal["project", "d3", "d5", "d100"]

PUBLISHED: Mapping[str, Any] = {
    "n_samples": 100,
    "n_steps": 200,
    "learning_rate": 0.1,
    "batch": 0,
    "centred_targets": True,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "project": {
        "n_inputs": 20,
        "spectrum": "power-law",
        "n_samples": 100,
        "n_steps": 400,
        "learning_rate": 0.1,
        "batch": 10,
        "centred_targets": False,
    },
    "d3": {**PUBLISHED, "n_inputs": 3, "spectrum": (1.0, 0.5, 0.0)},
    "d5": {**PUBLISHED, "n_inputs": 5, "spectrum": (1.0, 0.7, 0.2, 0.1, 0.0)},
    "d100": {**PUBLISHED, "n_inputs": 100, "spectrum": "published"},
}
"""Settings by preset; ``d3``, ``d5`` and ``d100`` are those of Confavreux et al. (NeurIPS 2020)."""

FROM_PRESET: Any = None
"""Default of a setting that the preset gives; it is replaced when the settings are made."""


@dataclass(frozen=True)
class OjaSettings:
    """Settings of the task; what is not given comes from the preset.

    Parameters
    ----------
    preset : str
        ``project``, or ``d3``, ``d5``, ``d100`` for the published settings.
    n_inputs : int
        Number of synapses (D).
    spectrum : str or tuple of float
        Variances along the principal axes: ``published``, ``linear``, ``power-law``, ``steep`` or numbers; or
        ``isotropic``, a null task: samples are exactly white, so that they have no first component, and the
        target is any direction.
    n_samples : int
        Inputs of a problem; the target is the first principal component of these.
    n_steps : int
        Updates of the inner loop.
    learning_rate : float
        Factor of every change of a weight.
    batch : int
        Samples an update takes the mean over: 1 is online, 0 the whole sample.
    centred_targets : bool
        Whether the target is the component of the sample about its mean, as published, or about zero, as the
        neuron sees it.
    initial_scale : float
        Standard deviation of the initial weights.
    source : str
        Distribution of the inputs: ``gaussian``, ``laplace``, ``uniform`` or ``digits``.
    """

    preset: Preset = "project"
    n_inputs: Annotated[int, Ge(1), Le(100_000)] = FROM_PRESET
    spectrum: Spectrum | Isotropic | tuple[float, ...] = FROM_PRESET
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = FROM_PRESET
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = FROM_PRESET
    learning_rate: Annotated[float, Gt(0), Le(10)] = FROM_PRESET
    batch: Annotated[int, Ge(0), Le(1_000_000)] = FROM_PRESET
    centred_targets: bool = FROM_PRESET
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.1
    source: Source = "gaussian"

    def __post_init__(self) -> None:
        complete_settings(self, PRESETS)
        if self.spectrum == "isotropic" and (self.n_samples <= self.n_inputs or self.source == "digits"):
            raise TaskError(
                "Isotropic inputs are drawn, no digits, and more samples than inputs; got "
                f"{self.n_samples} samples of {self.n_inputs} inputs, source {self.source!r}."
            )


@dataclass(frozen=True)
class OjaProblems(NeuronProblems):
    """Drawn problems; `targets` (n_problems, n_inputs) are the first principal components of their samples.

    Attributes
    ----------
    variances : ndarray, shape (n_problems,)
        Mean square along the target, about the mean of the sample where targets are centred.
    """

    variances: FloatArray


class OjaTask(NeuronTask):
    """One linear neuron, first principal component."""

    name: ClassVar[str] = "oja"
    title: ClassVar[str] = "First principal component of one linear neuron"
    settings_type: ClassVar[type] = OjaSettings
    reference: ClassVar[str] = "oja"
    known_rules: ClassVar[tuple[str, ...]] = ("oja", "hebb", "covariance", "bcm", "hyvarinen-oja")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance to the first principal component, either sign",
        "cosine": "absolute cosine between weights and first principal component",
        "norm_error": "absolute difference of the weights' norm from one",
        "subspace_error": "Frobenius distance of the projections onto weights and component",
        "explained_variance": "variance along the weights over that along the component",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("cosine", "explained_variance")
    worst: ClassVar[Mapping[str, float]] = {"subspace_error": float(np.sqrt(2))}
    problems_type: ClassVar[type[NeuronProblems]] = OjaProblems

    def answer_for(self, settings: OjaSettings) -> Answer:
        """Say that it is Oja's rule, or nothing where the inputs have no first component."""
        return "nothing" if settings.spectrum == "isotropic" else "one law"

    def draw_problem(self, settings: OjaSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw inputs and find the first principal component of the sample."""
        variances = eigenvalues(settings.spectrum, settings.n_inputs)
        x = draw_inputs(settings.source, variances, settings.n_samples, rng)
        if settings.spectrum == "isotropic":
            target = unit_vectors(rng.normal(size=settings.n_inputs))
            return {"inputs": whitened(x), "targets": target, "variances": np.array(1.0)}
        components, mean_squares = principal_components(_seen(x, settings), 1)
        return {"inputs": x, "targets": components[0], "variances": mean_squares[0]}

    def measure(self, weights: FloatArray, problems: OjaProblems) -> dict[str, FloatArray]:
        """Measures of final weights (n_problems, n_inputs) by name, all but the loss."""
        measured = super().measure(weights, problems)
        outputs = np.einsum("psd,pd->ps", _seen(problems.inputs, problems.settings), unit_vectors(weights))
        return {
            **measured,
            "subspace_error": np.sqrt(2 * (1 - measured["cosine"] ** 2)),
            "explained_variance": np.mean(outputs**2, axis=1) / problems.variances,
        }

    def folds(self, settings: OjaSettings) -> tuple[Fold, ...]:
        """Other sizes, spectra, distributions, starts, learning rates and horizons, and real images."""
        from discover.tasks._oja_folds import oja_folds

        return oja_folds(settings)

    def asked(self, settings: OjaSettings) -> Fold:
        """Return what Oja's rule reaches in theory and a margin, where there is a first component."""
        from discover.tasks._oja_folds import settled_fold

        return super().asked(settings) if settings.spectrum == "isotropic" else settled_fold(settings)


def _seen(inputs: FloatArray, settings: OjaSettings) -> FloatArray:
    """Samples (..., n_samples, n_inputs) about the point that the target is a component about."""
    return inputs - inputs.mean(axis=-2, keepdims=True) if settings.centred_targets else inputs


TASK = OjaTask()

"""Task ``pca-network``: the outputs of a two-layer network should become the first principal components.

Feed-forward synapses and hierarchical lateral synapses change by two rules that are searched for together.
The loss looks at the weights with which an output answers to the inputs, through both layers. By feed-forward
weights alone the known pair ends with the same loss, for its lateral weights vanish; but that loss first
rises with the strength of an anti-Hebbian lateral rule, and without lateral plasticity its gradient points
the wrong way.

A target is a component of the sample about zero, as the network sees it, and the known pair comes as near to
it as the inner loop is long. The published targets are components of the centred sample, which no network can
reach; with them the known pair ends at losses of 0.019, 0.017 and 0.061 (``d3``, ``d5``, ``d50``).

References
----------
Confavreux et al. (NeurIPS 2020), section 3.2; Rubner & Tavan (1989), Europhys. Lett. 10:693.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.tasks.base import NOT_NEGATIVE, Fold
from discover.tasks.network import LayerProblems, NetworkTask, output_correlations
from discover.tasks.pca import (
    Source,
    Spectrum,
    complete_settings,
    draw_inputs,
    eigenvalues,
    principal_components,
    sign_free_distance,
)
from sims.published import NETWORKS

__all__ = ["TASK", "NetworkProblems", "NetworkSettings", "PcaNetworkTask"]

FloatArray = NDArray[np.float64]
Preset = Literal["project", "d3", "d5", "d50"]

PUBLISHED: Mapping[str, Any] = {
    "n_outputs": 2,
    "n_samples": 200,
    "n_steps": 1000,
    "learning_rate": 0.2,
    "batch": 0,
    "centred_targets": True,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "project": {
        "n_inputs": 10,
        "n_outputs": 2,
        "spectrum": "power-law",
        "n_samples": 200,
        "learning_rate": 0.1,
        "batch": 10,
        "centred_targets": False,
    },
    "d3": {**PUBLISHED, "n_inputs": 3, "spectrum": (1.0, 0.8, 0.0)},
    "d5": {**PUBLISHED, "n_inputs": 5, "spectrum": (1.0, 0.8, 0.6, 0.4, 0.2)},
    "d50": {**PUBLISHED, "n_inputs": 50, "spectrum": "published"},
}
"""Settings by preset; ``d3``, ``d5`` and ``d50`` are those of Confavreux et al. (NeurIPS 2020)."""

STEPS_PER_OUTPUT = 200
"""Updates of the inner loop in the project's own settings: components are found one after the other."""

FROM_PRESET: Any = None
"""Default of a setting that the preset gives; it is replaced when the settings are made."""


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the task; what is not given comes from the preset.

    Parameters
    ----------
    preset : str
        ``project``, or ``d3``, ``d5``, ``d50`` for the published settings.
    n_inputs, n_outputs : int
        Size of the network (D and K).
    spectrum : str or tuple of float
        Variances along the principal axes: ``published``, ``linear``, ``power-law``, ``steep`` or numbers.
    n_samples : int
        Inputs of a problem; the targets are the first principal components of these.
    n_steps : int
        Updates of the inner loop; 200 for each output where the preset is ``project``.
    learning_rate : float
        Of both layers.
    batch : int
        Samples an update takes the mean over: 1 is online, 0 the whole sample.
    centred_targets : bool
        Whether the targets are components of the sample about its mean, as published, or about zero, as the
        network sees it.
    initial_scale : float
        Standard deviation of the initial weights of both layers.
    source : str
        Distribution of the inputs: ``gaussian``, ``laplace``, ``uniform`` or ``digits``.
    """

    preset: Preset = "project"
    n_inputs: Annotated[int, Ge(2), Le(100_000)] = FROM_PRESET
    n_outputs: Annotated[int, Ge(2), Le(1_000)] = FROM_PRESET
    spectrum: Spectrum | tuple[float, ...] = FROM_PRESET
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = FROM_PRESET
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = FROM_PRESET
    learning_rate: Annotated[float, Gt(0), Le(10)] = FROM_PRESET
    batch: Annotated[int, Ge(0), Le(1_000_000)] = FROM_PRESET
    centred_targets: bool = FROM_PRESET
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.1
    source: Source = "gaussian"

    def __post_init__(self) -> None:
        if self.preset == "project" and self.n_steps is None:
            n_outputs = self.n_outputs or PRESETS[self.preset]["n_outputs"]
            object.__setattr__(self, "n_steps", STEPS_PER_OUTPUT * n_outputs)
        complete_settings(self, PRESETS)
        if self.source == "digits":
            rank = self.n_inputs
        else:
            rank = int(np.count_nonzero(eigenvalues(self.spectrum, self.n_inputs)))
        if self.n_outputs > min(rank, self.n_samples):
            raise TaskError(
                f"{self.n_outputs} outputs need as many principal components; {self.n_samples} samples of "
                f"{self.n_inputs} inputs with this spectrum have {min(rank, self.n_samples)}."
            )


@dataclass(frozen=True)
class NetworkProblems(LayerProblems):
    """Drawn problems.

    Attributes
    ----------
    targets : ndarray, shape (n_problems, n_outputs, n_inputs)
        First principal components of each problem's sample, unit norm, either sign.
    variances : ndarray, shape (n_problems, n_outputs)
        Mean squares along them.
    """

    targets: FloatArray
    variances: FloatArray


class PcaNetworkTask(NetworkTask):
    """Two-layer network, first principal components."""

    name: ClassVar[str] = "pca-network"
    title: ClassVar[str] = "First principal components of a two-layer network"
    settings_type: ClassVar[type] = NetworkSettings
    problems_type: ClassVar[type[LayerProblems]] = NetworkProblems
    reference: ClassVar[str] = "rubner-tavan"
    known_rules: ClassVar[tuple[str, ...]] = ("rubner-tavan", "oja")
    known_networks: ClassVar[tuple[str, ...]] = NETWORKS
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance of an output's answering weights to its component, either sign, mean over outputs",
        "cosine": "absolute cosine between these weights and the component, mean over outputs",
        "worst_cosine": "the same for the output where it is lowest",
        "norm_error": "absolute difference of the norms of these weights from one, mean over outputs",
        "subspace_error": "Frobenius distance of the projections onto weights and components",
        "explained_variance": "variance in the space of the weights over that in the space of the components",
        "output_correlation": "absolute correlation of two outputs, mean over pairs",
        "lateral_weight": "absolute lateral weight, mean over pairs; should vanish",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("cosine", "worst_cosine", "explained_variance")
    possible: ClassVar[Mapping[str, tuple[float, float]]] = {
        **NOT_NEGATIVE, "cosine": (0.0, 1.0), "worst_cosine": (0.0, 1.0),
    }  # fmt: skip

    def draw_problem(self, settings: NetworkSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw inputs and find the first principal components of the sample."""
        variances = eigenvalues(settings.spectrum, settings.n_inputs)
        x = draw_inputs(settings.source, variances, settings.n_samples, rng)
        seen = x - x.mean(axis=0) if settings.centred_targets else x
        targets, found = principal_components(seen, settings.n_outputs)
        return {"inputs": x, "targets": targets, "variances": found}

    def distance(self, response: FloatArray, problems: NetworkProblems) -> tuple[FloatArray, FloatArray]:
        """Sign-free distance, mean over outputs, and its derivative with respect to the answering weights."""
        distances, slopes = sign_free_distance(response, problems.targets)
        return distances.mean(axis=1), slopes / response.shape[1]

    def measure(
        self, response: FloatArray, lateral: FloatArray | None, problems: NetworkProblems
    ) -> dict[str, FloatArray]:
        """Measures by name, all but the loss; `lateral` is None for a network without lateral synapses."""
        norms = np.linalg.norm(response, axis=2)
        inner = np.einsum("pkd,pkd->pk", response, problems.targets)
        cosines = np.minimum(np.abs(inner) / np.where(norms > 0, norms, 1.0), 1.0)
        subspace_error, explained = _subspace(response, problems)
        pairs = np.tril_indices(problems.settings.n_outputs, -1)
        correlations = output_correlations(response, problems.inputs)[:, *pairs]
        measures = {
            "cosine": cosines.mean(axis=1),
            "worst_cosine": cosines.min(axis=1),
            "norm_error": np.abs(norms - 1).mean(axis=1),
            "subspace_error": subspace_error,
            "explained_variance": explained,
            "output_correlation": np.abs(correlations).mean(axis=1),
        }
        if lateral is not None:
            measures["lateral_weight"] = np.abs(lateral[:, *pairs]).mean(axis=1)
        return measures

    def at_blow_up(self, measure: str, settings: NetworkSettings) -> float:
        """Return the value of a measure where a problem blew up."""
        is_error = measure == "subspace_error"
        return sqrt(2 * settings.n_outputs) if is_error else super().at_blow_up(measure, settings)

    def folds(self, settings: NetworkSettings) -> tuple[Fold, ...]:
        """Other sizes, spectra, distributions, starts, learning rates and horizons, and real images."""
        from discover.tasks._pca_network_folds import network_folds

        return network_folds(settings)


def _subspace(response: FloatArray, problems: NetworkProblems) -> tuple[FloatArray, FloatArray]:
    """Frobenius distance of the projections, and share of the components' variance; each (n_problems,)."""
    n_outputs = problems.settings.n_outputs
    bases, _ = np.linalg.qr(response.swapaxes(1, 2))
    overlap = np.sum((problems.targets @ bases) ** 2, axis=(1, 2))
    variances = np.mean((problems.inputs @ bases) ** 2, axis=1).sum(axis=1)
    error = np.sqrt(np.maximum(2 * (n_outputs - overlap), 0.0))
    return error, variances / problems.variances.sum(axis=1)


TASK = PcaNetworkTask()

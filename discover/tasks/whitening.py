"""Task ``whitening``: the outputs of a two-layer network should be uncorrelated and of unit variance.

Which directions they answer to does not matter. Lateral synapses have to take away what outputs share, and
feed-forward synapses to hold each output's variance at one; the loss is the distance of the outputs' second
moments to the identity.

References
----------
Barlow & Foldiak (1989), Adaptation and decorrelation in the cortex; Pehlevan & Chklovskii (2015),
arXiv:1511.09468.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.tasks.base import Answer, Fold
from discover.tasks.network import NetworkTask, output_correlations
from discover.tasks.neuron import conditions_of_learning, reached_by_reference
from discover.tasks.pca import Spectrum, draw_inputs, eigenvalues

__all__ = ["TASK", "WhiteningSettings", "WhiteningTask"]

FloatArray = NDArray[np.float64]
Source = Literal["gaussian", "laplace", "uniform"]

MARGIN = 0.05
"""What a measure may be worse than the reference pair's, beside three standard errors of that."""


@dataclass(frozen=True)
class WhiteningSettings:
    """Settings of the task.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Size of the network; no more outputs than directions in which the inputs vary.
    spectrum : str or tuple of float
        Variances along the principal axes: ``published``, ``linear``, ``power-law``, ``steep`` or numbers.
    n_samples : int
        Inputs of a problem.
    n_steps : int
        Updates of the inner loop.
    learning_rate : float
        Of both layers.
    batch : int
        Samples an update takes the mean over: 1 is online, 0 the whole sample.
    initial_scale : float
        Standard deviation of the initial weights of both layers.
    source : str
        Distribution of the inputs: ``gaussian``, ``laplace`` or ``uniform``.
    """

    n_inputs: Annotated[int, Ge(2), Le(10_000)] = 8
    n_outputs: Annotated[int, Ge(2), Le(1_000)] = 3
    spectrum: Spectrum | tuple[float, ...] = "power-law"
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = 200
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = 400
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.1
    batch: Annotated[int, Ge(0), Le(1_000_000)] = 20
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.1
    source: Source = "gaussian"

    def __post_init__(self) -> None:
        if self.batch and self.n_samples % self.batch:
            raise TaskError(f"A batch of {self.batch} does not divide {self.n_samples} samples.")
        rank = int(np.count_nonzero(eigenvalues(self.spectrum, self.n_inputs)))
        if self.n_outputs > min(rank, self.n_samples):
            raise TaskError(
                f"{self.n_outputs} outputs cannot be uncorrelated where inputs vary in "
                f"{min(rank, self.n_samples)} directions."
            )


class WhiteningTask(NetworkTask):
    """Two-layer network, white outputs."""

    name: ClassVar[str] = "whitening"
    title: ClassVar[str] = "White outputs of a two-layer network"
    settings_type: ClassVar[type] = WhiteningSettings
    reference: ClassVar[str] = "homeostatic-decorrelation"
    known_rules: ClassVar[tuple[str, ...]] = ("homeostatic-decorrelation", "rubner-tavan", "oja")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance of the outputs' mean products to the identity, over the root of their number",
        "variance_error": "absolute difference of an output's mean square from one, mean over outputs",
        "output_correlation": "absolute correlation of two outputs, mean over pairs",
        "lateral_weight": "absolute lateral weight, mean over pairs",
    }

    def answer_for(self, settings: WhiteningSettings) -> Answer:
        """Say that several pairs of rules decorrelate outputs and hold their variance."""
        return "many forms"

    def draw_problem(self, settings: WhiteningSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw inputs."""
        variances = eigenvalues(settings.spectrum, settings.n_inputs)
        return {"inputs": draw_inputs(settings.source, variances, settings.n_samples, rng)}

    def distance(self, response: FloatArray, problems: Any) -> tuple[FloatArray, FloatArray]:
        """Frobenius distance of the outputs' second moments to the identity, and its derivative."""
        n_outputs = response.shape[1]
        outputs = problems.inputs @ response.swapaxes(1, 2)
        n_samples = outputs.shape[1]
        error = outputs.swapaxes(1, 2) @ outputs / n_samples - np.eye(n_outputs)
        norms = np.sqrt(np.sum(error**2, axis=(1, 2)))
        slopes = 2 * error @ outputs.swapaxes(1, 2) @ problems.inputs / n_samples
        scale = np.sqrt(n_outputs)
        return norms / scale, slopes / np.maximum(norms, 1e-12)[:, None, None] / scale

    def measure(
        self, response: FloatArray, lateral: FloatArray | None, problems: Any
    ) -> dict[str, FloatArray]:
        """Measures by name, all but the loss; `lateral` is None for a network without lateral synapses."""
        outputs = problems.inputs @ response.swapaxes(1, 2)
        variances = np.mean(outputs**2, axis=1)
        pairs = np.tril_indices(response.shape[1], -1)
        correlations = output_correlations(response, problems.inputs)[:, *pairs]
        measures = {
            "variance_error": np.abs(variances - 1).mean(axis=1),
            "output_correlation": np.abs(correlations).mean(axis=1),
        }
        if lateral is not None:
            measures["lateral_weight"] = np.abs(lateral[:, *pairs]).mean(axis=1)
        return measures

    def folds(self, settings: WhiteningSettings) -> tuple[Fold, ...]:
        """Other sizes, spectra, distributions, starts, learning rates and horizons."""
        return whitening_folds(settings)


@lru_cache(maxsize=16)
def whitening_folds(settings: WhiteningSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    Tolerances are what the reference pair reaches in each.
    """
    measures = ("variance_error", "output_correlation")
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, measures, MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: WhiteningSettings) -> Iterator[tuple[str, str, Any]]:
    variances = eigenvalues(settings.spectrum, settings.n_inputs)
    if not isinstance(settings.spectrum, tuple):
        for factor in (2, 5):
            n_inputs = factor * settings.n_inputs
            changed = replace(settings, n_inputs=n_inputs)
            yield f"inputs-{factor}-fold", f"{n_inputs} inputs instead of {settings.n_inputs}", changed
    rank = min(int(np.count_nonzero(variances)), settings.n_samples)
    for name, n_outputs in (("fewer", 2), ("more", min(2 * settings.n_outputs, rank))):
        if (n_outputs - settings.n_outputs) * (1 if name == "more" else -1) > 0:
            title = f"{n_outputs} outputs instead of {settings.n_outputs}"
            yield f"outputs-{name}", title, replace(settings, n_outputs=n_outputs)
    spectra: tuple[Spectrum, ...] = ("linear", "power-law", "steep")
    for spectrum in spectra:
        if not np.array_equal(eigenvalues(spectrum, settings.n_inputs), variances):
            yield f"spectrum-{spectrum}", f"{spectrum} spectrum", replace(settings, spectrum=spectrum)
    sources: tuple[Source, ...] = ("gaussian", "laplace", "uniform")
    for source in sources:
        if source != settings.source:
            yield source, f"{source} inputs", replace(settings, source=source)
    yield from conditions_of_learning(settings)


TASK = WhiteningTask()

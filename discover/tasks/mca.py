"""Task ``mca``: one linear neuron should find the direction in which its inputs vary least.

An anti-Hebbian rule turns the weights towards the minor component and shrinks them on the way. What holds
them up must not come from the inputs, for along the minor component there is next to none. Published rules
divide by the norm of the weight vector; a rule that knows a synapse alone can do with growth, ``w``, held
back by ``-w * y**2``, and then the norm that it ends with depends on the smallest variance.

References
----------
Oja (1992), Neural Networks 5:927.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

from discover.tasks.base import Answer, Fold
from discover.tasks.neuron import (
    NeuronProblems,
    NeuronSettings,
    NeuronTask,
    plain_conditions,
    reached_by_reference,
    unit_vectors,
)
from discover.tasks.pca import draw_inputs, principal_components

__all__ = ["TASK", "McaProblems", "McaSettings", "McaTask"]

FloatArray = NDArray[np.float64]
Source = Literal["gaussian", "laplace", "uniform"]

LOWEST_OF_OTHERS = 0.5
"""All variances but the smallest fall evenly from 1 to this."""

MARGIN = 0.03
"""What a measure may be worse than the reference rule's, beside three standard errors of that."""


@dataclass(frozen=True)
class McaSettings(NeuronSettings):
    """Settings of the task.

    Parameters
    ----------
    n_inputs : int
        Number of synapses.
    smallest : float
        Variance along the minor component; the others fall evenly from 1 to 0.5.
    source : str
        Distribution of the inputs: ``gaussian``, ``laplace`` or ``uniform``.
    n_samples, n_steps, learning_rate, batch, initial_scale
        As for every neuron, see :class:`discover.tasks.neuron.NeuronSettings`.
    """

    n_inputs: Annotated[int, Ge(2), Le(10_000)] = 10
    smallest: Annotated[float, Gt(0), Lt(LOWEST_OF_OTHERS)] = 0.1
    source: Source = "gaussian"


@dataclass(frozen=True)
class McaProblems(NeuronProblems):
    """Drawn problems; `targets` (n_problems, n_inputs) are the minor components of their samples.

    Attributes
    ----------
    variances : ndarray, shape (n_problems,)
        Mean square along the target.
    """

    variances: FloatArray


class McaTask(NeuronTask):
    """One linear neuron, minor component."""

    name: ClassVar[str] = "mca"
    title: ClassVar[str] = "Minor component of one linear neuron"
    settings_type: ClassVar[type] = McaSettings
    problems_type: ClassVar[type[NeuronProblems]] = McaProblems
    reference: ClassVar[str] = "oja-minor"
    known_rules: ClassVar[tuple[str, ...]] = ("oja-minor", "oja", "hebb")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance to the minor component, either sign",
        "cosine": "absolute cosine between weights and minor component",
        "norm_error": "absolute difference of the weights' norm from one",
        "excess_variance": "variance along the weights over that along the component, minus one",
    }
    worst: ClassVar[Mapping[str, float]] = {"excess_variance": 10.0}

    def answer_for(self, settings: McaSettings) -> Answer:
        """Say that growth and brake may stand in many ratios, each with a norm of its own."""
        return "many forms"

    def draw_problem(self, settings: McaSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw inputs and find the minor component of the sample."""
        variances = np.linspace(1.0, LOWEST_OF_OTHERS, settings.n_inputs)
        variances[-1] = settings.smallest
        x = draw_inputs(settings.source, variances, settings.n_samples, rng)
        components, mean_squares = principal_components(x, settings.n_inputs)
        return {"inputs": x, "targets": components[-1], "variances": mean_squares[-1]}

    def measure(self, weights: FloatArray, problems: McaProblems) -> dict[str, FloatArray]:
        """Measures of final weights (n_problems, n_inputs) by name, all but the loss."""
        outputs = np.einsum("psd,pd->ps", problems.inputs, unit_vectors(weights))
        excess = np.mean(outputs**2, axis=1) / problems.variances - 1
        return {**super().measure(weights, problems), "excess_variance": excess}

    def folds(self, settings: McaSettings) -> tuple[Fold, ...]:
        """Other sizes, smallest variances, distributions, starts, learning rates and horizons."""
        return mca_folds(settings)


@lru_cache(maxsize=16)
def mca_folds(settings: McaSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    Tolerances are what the reference rule reaches in each.
    """
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, ("cosine",), MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: McaSettings) -> Iterator[tuple[str, str, Any]]:
    for name, factor in (("half", 0.5), ("double", 2.0)):
        smallest = factor * settings.smallest
        if smallest < LOWEST_OF_OTHERS:
            title = f"smallest variance {smallest:.3g} instead of {settings.smallest:.3g}"
            yield f"smallest-{name}", title, replace(settings, smallest=smallest)
    sources: dict[Source, str] = {
        "gaussian": "Gaussian inputs",
        "laplace": "inputs with heavy tails (Laplace)",
        "uniform": "inputs with light tails (uniform)",
    }
    for source, title in sources.items():
        if source != settings.source:
            yield source, title, replace(settings, source=source)
    yield from plain_conditions(settings)


TASK = McaTask()

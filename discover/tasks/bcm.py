"""Task ``bcm``: a neuron should answer to one of several patterns and to none of the others.

The neuron keeps a threshold of its own, a low-pass of its squared output, and its synapses see it: rules
are expressions in x, y, w and theta. Which pattern the neuron chooses does not matter. What it should
answer is the number of patterns, as the known rule does: there the threshold, the mean square of the
outputs, equals the answer itself.

References
----------
Bienenstock, Cooper & Munro (1982), J. Neurosci. 2:32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.slots import SLIDING, Slot
from discover.tasks.base import Answer, Fold
from discover.tasks.neuron import (
    NeuronProblems,
    NeuronSettings,
    NeuronTask,
    neuron_circuit,
    plain_conditions,
    reached_by_reference,
    unit_vectors,
)
from discover.tasks.rate import Values
from sims.circuit import Circuit, LowPass

__all__ = ["TASK", "BcmSettings", "BcmTask"]

FloatArray = NDArray[np.float64]

MARGIN = 0.05
"""What a measure may be worse than the reference rule's, beside three standard errors of that."""


@dataclass(frozen=True)
class BcmSettings(NeuronSettings):
    """Settings of the task.

    Parameters
    ----------
    n_inputs : int
        Number of synapses.
    n_patterns : int
        Patterns to choose from, at most as many as there are inputs.
    noise : float
        Standard deviation of what is added to each input of a pattern shown; patterns have unit norm.
    time_constant : float
        Of the threshold, in updates.
    n_samples : int
        Inputs of a problem, a multiple of `n_patterns`: the patterns in turn.
    n_steps, learning_rate, batch, initial_scale
        As for every neuron, see :class:`discover.tasks.neuron.NeuronSettings`.
    """

    n_inputs: Annotated[int, Ge(2), Le(10_000)] = 8
    n_patterns: Annotated[int, Ge(2), Le(1_000)] = 4
    noise: Annotated[float, Ge(0), Le(10)] = 0.05
    time_constant: Annotated[float, Ge(1), Le(100_000)] = 4.0
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = 80
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = 600
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.1
    batch: Annotated[int, Ge(0), Le(1_000_000)] = 8
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_patterns > self.n_inputs or self.n_samples % self.n_patterns:
            raise TaskError(
                f"Patterns are at most as many as inputs, and their number divides that of samples; got "
                f"{self.n_patterns} patterns, {self.n_inputs} inputs, {self.n_samples} samples."
            )


class BcmTask(NeuronTask):
    """One linear neuron with a sliding threshold, one pattern."""

    takes_splines: ClassVar[bool] = False
    name: ClassVar[str] = "bcm"
    title: ClassVar[str] = "Selectivity for one of several patterns"
    settings_type: ClassVar[type] = BcmSettings
    slots: ClassVar[tuple[Slot, ...]] = (SLIDING,)
    reference: ClassVar[str] = "bcm-sliding"
    known_rules: ClassVar[tuple[str, ...]] = ("bcm-sliding",)
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance of the answers from one pattern's alone, relative to what that should be",
        "selectivity": "one minus the mean answer over the largest, by size; 1 - 1/n for one pattern alone",
        "answer_error": "absolute difference of the largest answer from the number of patterns, relative",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("selectivity",)

    def answer_for(self, settings: BcmSettings) -> Answer:
        """Say that thresholds of several forms make a neuron selective."""
        return "many forms"

    def draw_problem(self, settings: BcmSettings, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw patterns, which are the targets here, and show them in turn.

        Initial weights have the sign by which the answers are positive in the mean: from answers that are all
        negative the known rule takes long to come back.
        """
        patterns = unit_vectors(rng.normal(size=(settings.n_patterns, settings.n_inputs)))
        shown = np.tile(patterns, (settings.n_samples // settings.n_patterns, 1))
        inputs = shown + settings.noise * rng.normal(size=shown.shape)
        weights = rng.normal(0, settings.initial_scale, settings.n_inputs)
        sign = 1.0 if (patterns @ weights).sum() >= 0 else -1.0
        return {"inputs": inputs, "targets": patterns, "initial_weights": sign * weights}

    def distance(self, weights: FloatArray, problems: NeuronProblems) -> tuple[FloatArray, FloatArray]:
        """Distance of the answers to the nearest that has one pattern alone, and its derivative.

        Relative to the answer to that pattern, so that silence has a loss of one.
        """
        patterns = problems.targets
        wanted = patterns.shape[1]
        answers = np.einsum("pkd,pd->pk", patterns, weights)
        rows, best = np.arange(len(answers)), answers.argmax(axis=1)
        differences = answers.copy()
        differences[rows, best] -= wanted
        distances = np.linalg.norm(differences, axis=1)
        slopes = np.einsum("pk,pkd->pd", differences / np.maximum(distances, 1e-12)[:, None], patterns)
        return distances / wanted, slopes / wanted

    def measure(self, weights: FloatArray, problems: NeuronProblems) -> dict[str, FloatArray]:
        """Measures of final weights (n_problems, n_inputs) by name, all but the loss."""
        answers = np.abs(np.einsum("pkd,pd->pk", problems.targets, weights))
        largest = answers.max(axis=1)
        return {
            "selectivity": 1 - answers.mean(axis=1) / np.where(largest > 0, largest, 1.0),
            "answer_error": np.abs(largest / answers.shape[1] - 1),
        }

    def asked_size(self, weights: FloatArray, problems: NeuronProblems) -> FloatArray:
        """Return weights whose answers are as large in the mean square as those to one pattern alone."""
        answers = np.einsum("pkd,pd->pk", problems.targets, weights)
        asked = problems.targets.shape[1]
        scaled: FloatArray = weights * np.sqrt(asked / np.mean(answers**2, axis=1, keepdims=True))
        return scaled

    def circuit(self, problems: Any) -> Circuit:
        """Return the neuron with its threshold, a low pass of the squared output."""
        theta = LowPass("y**2", problems.settings.time_constant)
        return neuron_circuit(SLIDING.name, problems.inputs.shape[2], theta=theta)

    def start(self, problems: Any) -> tuple[Values, Values]:
        """Weights and thresholds that problems begin with: the mean square of the first outputs."""
        outputs = np.einsum("psd,pd->ps", problems.inputs, problems.initial_weights)
        return super().start(problems)[0], {"theta": np.mean(outputs**2, axis=1, keepdims=True)}

    def folds(self, settings: BcmSettings) -> tuple[Fold, ...]:
        """Other numbers of inputs and patterns, more noise, other thresholds, starts, rates and horizons."""
        return bcm_folds(settings)


@lru_cache(maxsize=16)
def bcm_folds(settings: BcmSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings.

    Tolerances are what the reference rule reaches in each.
    """
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, ("selectivity",), MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: BcmSettings) -> Iterator[tuple[str, str, Any]]:
    n_patterns = settings.n_patterns
    for name, changed_to in (("fewer", n_patterns // 2), ("more", 2 * n_patterns)):
        repeats, batch = settings.n_samples // n_patterns, settings.batch // n_patterns
        if 2 <= changed_to <= settings.n_inputs and changed_to != n_patterns:
            changed = replace(
                settings,
                n_patterns=changed_to,
                n_samples=repeats * changed_to,
                batch=batch * changed_to if settings.batch % n_patterns == 0 else settings.batch,
            )
            yield f"patterns-{name}", f"{changed_to} patterns instead of {n_patterns}", changed
    noisier = replace(settings, noise=2 * settings.noise)
    yield "noise-double", f"noise {noisier.noise:.3g}", noisier
    slower = replace(settings, time_constant=3 * settings.time_constant)
    yield "threshold-slow", f"threshold with a time constant of {slower.time_constant:.3g} updates", slower
    for name, title, changed in plain_conditions(settings):
        if changed.n_inputs >= n_patterns:
            yield name, title, changed


TASK = BcmTask()

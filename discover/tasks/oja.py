"""Task ``oja``: one linear neuron should find the first principal component of its inputs.

References
----------
Confavreux et al. (NeurIPS 2020), section 3.1; Oja (1982), J. Math. Biol. 15:267.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import FEEDFORWARD, Slot
from discover.tasks.base import Fold, TaskGradient, VisitedStates
from discover.tasks.pca import (
    Source,
    Spectrum,
    complete_settings,
    draw_inputs,
    eigenvalues,
    mini_batches,
    principal_components,
    sign_free_distance,
)
from sims.rules import PolynomialRule, Program

__all__ = ["TASK", "OjaProblems", "OjaSettings", "OjaTask"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Preset = Literal["project", "d3", "d5", "d100"]

PUBLISHED: Mapping[str, Any] = {"n_samples": 100, "n_steps": 200, "learning_rate": 0.1, "batch": 0}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "project": {
        "n_inputs": 20,
        "spectrum": "power-law",
        "n_samples": 100,
        "n_steps": 400,
        "learning_rate": 0.1,
        "batch": 10,
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
        Variances along the principal axes: ``published``, ``linear``, ``power-law``, ``steep`` or numbers.
    n_samples : int
        Inputs of a problem; the target is the first principal component of these.
    n_steps : int
        Updates of the inner loop.
    learning_rate : float
    batch : int
        Samples an update takes the mean over: 1 is online, 0 the whole sample.
    initial_scale : float
        Standard deviation of the initial weights.
    source : str
        Distribution of the inputs: ``gaussian``, ``laplace``, ``uniform`` or ``digits``.
    """

    preset: Preset = "project"
    n_inputs: Annotated[int, Ge(1), Le(100_000)] = FROM_PRESET
    spectrum: Spectrum | tuple[float, ...] = FROM_PRESET
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = FROM_PRESET
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = FROM_PRESET
    learning_rate: Annotated[float, Gt(0), Le(10)] = FROM_PRESET
    batch: Annotated[int, Ge(0), Le(1_000_000)] = FROM_PRESET
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.1
    source: Source = "gaussian"

    def __post_init__(self) -> None:
        complete_settings(self, PRESETS)


@dataclass(frozen=True)
class OjaProblems:
    """Drawn problems.

    Attributes
    ----------
    inputs : ndarray, shape (n_problems, n_samples, n_inputs)
    initial_weights : ndarray, shape (n_problems, n_inputs)
    targets : ndarray, shape (n_problems, n_inputs)
        First principal component of each problem's sample, unit norm, either sign.
    variances : ndarray, shape (n_problems,)
        Mean square along it.
    settings : OjaSettings
    """

    inputs: FloatArray
    initial_weights: FloatArray
    targets: FloatArray
    variances: FloatArray
    settings: OjaSettings

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.inputs)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in updates."""
        return self.settings.n_steps

    def subset(self, indices: Sequence[int] | IntArray) -> OjaProblems:
        """Return some of the problems."""
        picks = np.asarray(indices)
        return OjaProblems(
            self.inputs[picks],
            self.initial_weights[picks],
            self.targets[picks],
            self.variances[picks],
            self.settings,
        )


class OjaTask:
    """One linear neuron, first principal component."""

    name: ClassVar[str] = "oja"
    title: ClassVar[str] = "First principal component of one linear neuron"
    slots: ClassVar[tuple[Slot, ...]] = (FEEDFORWARD,)
    settings_type: ClassVar[type] = OjaSettings
    reference: ClassVar[str] = "oja"
    known_rules: ClassVar[tuple[str, ...]] = ("oja", "hebb", "covariance", "bcm", "hyvarinen-oja")
    known_networks: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance to the first principal component, either sign",
        "cosine": "absolute cosine between weights and first principal component",
        "norm_error": "absolute difference of the weights' norm from one",
        "subspace_error": "Frobenius distance of the projections onto weights and component",
        "explained_variance": "variance along the weights over that along the component",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("cosine", "explained_variance")

    def draw(self, settings: OjaSettings, n_problems: int, seed: np.random.SeedSequence) -> OjaProblems:
        """Draw problems; problem `n` is the same however many are drawn."""
        variances = eigenvalues(settings.spectrum, settings.n_inputs)
        inputs, weights, targets, found = [], [], [], []
        for child in seed.spawn(n_problems):
            rng = np.random.default_rng(child)
            x = draw_inputs(settings.source, variances, settings.n_samples, rng)
            components, mean_squares = principal_components(x, 1)
            inputs.append(x)
            weights.append(rng.normal(0, settings.initial_scale, settings.n_inputs))
            targets.append(components[0])
            found.append(mean_squares[0])
        return OjaProblems(np.array(inputs), np.array(weights), np.array(targets), np.array(found), settings)

    def losses(
        self, rule: Rule | FloatArray, problems: OjaProblems, n_steps: int | None = None
    ) -> FloatArray:
        """Distance of the final weights to the first principal component, either sign; shape (n_problems,).

        A blow-up after ``t`` of ``T`` steps counts ``2 - t/T``.
        """
        from sims.rate import simulate

        schedule = _schedule(problems, n_steps)
        outcome = simulate(_kernel_rule(rule), problems.inputs, problems.initial_weights, schedule)
        losses, _ = sign_free_distance(outcome.weights, problems.targets)
        return np.where(outcome.blow_up >= 0, 2.0 - outcome.blow_up / schedule.n_steps, losses)

    def gradient(
        self, rule: Rule | FloatArray, problems: OjaProblems, n_steps: int | None = None
    ) -> TaskGradient:
        """Losses and exact gradients with respect to the 27 coefficients, or to a rule's constants."""
        from sims.rate import meta_gradient

        kernel_rule = rule.program() if isinstance(rule, Rule) else _kernel_rule(rule)
        result = meta_gradient(
            kernel_rule,
            problems.inputs,
            problems.initial_weights,
            _schedule(problems, n_steps),
            lambda weights: sign_free_distance(weights, problems.targets),
        )
        return TaskGradient(result.losses, result.gradients, result.outcome.blow_up >= 0)

    def probe(
        self, problems: OjaProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States (x, y, w) at random weights of unit norm."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(problems.n_problems, 1, problems.inputs.shape[2]))
        weights /= np.linalg.norm(weights, axis=2, keepdims=True)
        return {FEEDFORWARD.name: _sampled_states(problems, weights, np.zeros(1, int), n_states, rng)}

    def visit(
        self, rule: Rule | FloatArray, problems: OjaProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States (x, y, w) at random steps, problems and synapses."""
        from sims.rate import simulate

        rng = np.random.default_rng(seed)
        schedule = _schedule(problems, None)
        every = max(1, schedule.n_steps // 100)
        outcome = simulate(
            _kernel_rule(rule), problems.inputs, problems.initial_weights, schedule, every=every
        )
        sound = problems.subset(np.flatnonzero(outcome.blow_up < 0))
        record = outcome.record[outcome.blow_up < 0]
        steps = np.arange(record.shape[1]) * every
        return {FEEDFORWARD.name: _sampled_states(sound, record, steps, n_states, rng)}

    def evaluate(self, rule: Rule | KnownRule, problems: OjaProblems) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a blow-up has the worst value of each."""
        from sims.rate import simulate

        schedule = _schedule(problems, None)
        outcome = simulate(_kernel_rule(rule), problems.inputs, problems.initial_weights, schedule)
        blown = outcome.blow_up >= 0
        weights = outcome.weights
        norms = np.linalg.norm(weights, axis=1)
        directions = weights / np.where(norms > 0, norms, 1.0)[:, None]
        cosines = np.minimum(np.abs(np.einsum("pd,pd->p", directions, problems.targets)), 1.0)
        outputs = np.einsum("psd,pd->ps", problems.inputs, directions)
        distances, _ = sign_free_distance(weights, problems.targets)
        return {
            "loss": np.where(blown, 2.0 - outcome.blow_up / schedule.n_steps, distances),
            "cosine": np.where(blown, 0.0, cosines),
            "norm_error": np.where(blown, 1.0, np.abs(norms - 1)),
            "subspace_error": np.where(blown, np.sqrt(2), np.sqrt(2 * (1 - cosines**2))),
            "explained_variance": np.where(blown, 0.0, np.mean(outputs**2, axis=1) / problems.variances),
        }

    def learning_curve(
        self, rule: Rule | KnownRule, problems: OjaProblems, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems)."""
        from sims.rate import simulate

        schedule = _schedule(problems, None)
        every = max(1, schedule.n_steps // n_points)
        outcome = simulate(
            _kernel_rule(rule), problems.inputs, problems.initial_weights, schedule, every=every
        )
        steps = np.arange(outcome.record.shape[1]) * every
        curves = [
            sign_free_distance(weights, problems.targets)[0] for weights in outcome.record.swapaxes(0, 1)
        ]
        losses = np.array(curves)
        late = (outcome.blow_up >= 0) & (steps[:, None] >= outcome.blow_up)
        losses[late] = np.broadcast_to(2.0 - outcome.blow_up / schedule.n_steps, losses.shape)[late]
        return steps, losses

    def folds(self, settings: OjaSettings) -> tuple[Fold, ...]:
        """Other sizes, spectra, distributions, starts, learning rates and horizons, and real images."""
        from discover.tasks._oja_folds import oja_folds

        return oja_folds(settings)


def _sampled_states(
    problems: OjaProblems, weights: FloatArray, steps: IntArray, n_states: int, rng: np.random.Generator
) -> VisitedStates:
    """Draw states at random; `weights` has shape (n_problems, n_records, n_inputs)."""
    if problems.n_problems == 0:
        n_states = 0
    n_problems, n_samples, n_inputs = problems.inputs.shape
    problem, record, sample, synapse = (
        rng.integers(max(size, 1), size=n_states) for size in (n_problems, len(steps), n_samples, n_inputs)
    )
    x = problems.inputs[problem, sample]
    w = weights[problem, record]
    rows = np.arange(n_states)
    values = np.column_stack([x[rows, synapse], np.einsum("sd,sd->s", x, w), w[rows, synapse]])
    return VisitedStates(values, problem, steps[record])


def _kernel_rule(rule: Rule | KnownRule | FloatArray) -> PolynomialRule | Program:
    if isinstance(rule, KnownRule):
        raise TaskError(f"The known rule {rule.name!r} has no network for this task.")
    if isinstance(rule, Rule):
        return rule.program()
    return PolynomialRule(np.reshape(rule, (3, 3, 3)))


def _schedule(problems: OjaProblems, n_steps: int | None) -> Any:
    settings = problems.settings
    n_samples = problems.inputs.shape[1]
    return mini_batches(n_samples, settings.batch, problems.n_steps, settings.learning_rate, n_steps)


TASK = OjaTask()

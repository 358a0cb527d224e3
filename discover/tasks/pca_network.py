"""Task ``pca-network``: the outputs of a two-layer network should become the first principal components.

Feed-forward synapses and hierarchical lateral synapses change by two rules that are searched for together.
The loss looks at the weights with which an output answers to the inputs, through both layers. By feed-forward
weights alone the known pair ends with the same loss, for its lateral weights vanish; but that loss first
rises with the strength of an anti-Hebbian lateral rule, and without lateral plasticity its gradient points
the wrong way.

A target is a component of the sample about zero, as the network sees it, and the known pair comes as near to
it as the inner loop is long. The published targets are components of the centred sample, which no network can
reach; with them the known pair ends at losses of .019, .017 and .061 (``d3``, ``d5``, ``d50``).

References
----------
Confavreux et al. (NeurIPS 2020), section 3.2; Rubner & Tavan (1989), Europhys. Lett. 10:693.
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
from discover.slots import FEEDFORWARD, LATERAL, Slot
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
from sims.published import NETWORKS
from sims.rules import PolynomialRule, Program

__all__ = ["TASK", "NetworkProblems", "NetworkSettings", "PcaNetworkTask"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
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

LATERAL_SIZE = 0.5
"""Root-mean-square of lateral weights at which the size of their terms is measured: they start small, grow
until outputs are decorrelated, and vanish at the end."""

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
class NetworkProblems:
    """Drawn problems.

    Attributes
    ----------
    inputs : ndarray, shape (n_problems, n_samples, n_inputs)
    initial_weights : ndarray, shape (n_problems, n_outputs, n_inputs)
    initial_lateral : ndarray, shape (n_problems, n_outputs, n_outputs)
        By postsynaptic and presynaptic output, below the diagonal.
    targets : ndarray, shape (n_problems, n_outputs, n_inputs)
        First principal components of each problem's sample, unit norm, either sign.
    variances : ndarray, shape (n_problems, n_outputs)
        Mean squares along them.
    settings : NetworkSettings
    """

    inputs: FloatArray
    initial_weights: FloatArray
    initial_lateral: FloatArray
    targets: FloatArray
    variances: FloatArray
    settings: NetworkSettings

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.inputs)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in updates."""
        return self.settings.n_steps

    def subset(self, indices: Sequence[int] | IntArray) -> NetworkProblems:
        """Return some of the problems."""
        picks = np.asarray(indices)
        return NetworkProblems(
            self.inputs[picks],
            self.initial_weights[picks],
            self.initial_lateral[picks],
            self.targets[picks],
            self.variances[picks],
            self.settings,
        )


class PcaNetworkTask:
    """Two-layer network, first principal components."""

    name: ClassVar[str] = "pca-network"
    title: ClassVar[str] = "First principal components of a two-layer network"
    slots: ClassVar[tuple[Slot, ...]] = (FEEDFORWARD, LATERAL)
    settings_type: ClassVar[type] = NetworkSettings
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

    def draw(
        self, settings: NetworkSettings, n_problems: int, seed: np.random.SeedSequence
    ) -> NetworkProblems:
        """Draw problems; problem `n` is the same however many are drawn."""
        variances = eigenvalues(settings.spectrum, settings.n_inputs)
        n_outputs = settings.n_outputs
        drawn: list[tuple[FloatArray, ...]] = []
        for child in seed.spawn(n_problems):
            rng = np.random.default_rng(child)
            x = draw_inputs(settings.source, variances, settings.n_samples, rng)
            w = rng.normal(0, settings.initial_scale, (n_outputs, settings.n_inputs))
            v = np.tril(rng.normal(0, settings.initial_scale, (n_outputs, n_outputs)), -1)
            seen = x - x.mean(axis=0) if settings.centred_targets else x
            drawn.append((x, w, v, *principal_components(seen, n_outputs)))
        inputs, weights, lateral, targets, found = (np.array(part) for part in zip(*drawn, strict=True))
        return NetworkProblems(inputs, weights, lateral, targets, found, settings)

    def losses(
        self, rule: Rule | FloatArray, problems: NetworkProblems, n_steps: int | None = None
    ) -> FloatArray:
        """Distance of the final answering weights to the components, mean over outputs; (n_problems,).

        A blow-up after ``t`` of ``T`` steps counts ``2 - t/T``.
        """
        outcome, longest = _simulate(rule, problems, n_steps)
        losses, _ = _distance(_response(outcome.weights, outcome.lateral), problems.targets)
        return np.where(outcome.blow_up >= 0, 2.0 - outcome.blow_up / longest, losses)

    def gradient(
        self, rule: Rule | FloatArray, problems: NetworkProblems, n_steps: int | None = None
    ) -> TaskGradient:
        """Losses and exact gradients with respect to the 54 coefficients, or to a rule's constants."""
        from sims.network import meta_gradient

        def loss(weights: FloatArray, lateral: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            losses, slopes = _distance(_response(weights, lateral), problems.targets)
            return losses, slopes + lateral.swapaxes(-1, -2) @ slopes, slopes @ weights.swapaxes(-1, -2)

        result = meta_gradient(
            _kernel_rule(rule),
            problems.inputs,
            problems.initial_weights,
            problems.initial_lateral,
            _schedule(problems, n_steps),
            loss,
        )
        parts = [result.feedforward, result.lateral]
        if isinstance(rule, Rule):
            parts = [part for slot, part in zip(self.slots, parts, strict=True) if slot.name in rule.slots]
        return TaskGradient(result.losses, np.concatenate(parts, axis=1), result.outcome.blow_up >= 0)

    def probe(
        self, problems: NetworkProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States at random feed-forward weights of unit norm and random lateral weights."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(problems.n_problems, 1, *problems.targets.shape[1:]))
        weights /= np.linalg.norm(weights, axis=3, keepdims=True)
        shape = (problems.n_problems, 1, *problems.initial_lateral.shape[1:])
        lateral = np.tril(rng.normal(0, LATERAL_SIZE, shape), -1)
        return _sampled_states(problems, weights, lateral, np.zeros(1, int), n_states, rng)

    def visit(
        self, rule: Rule | FloatArray, problems: NetworkProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States (x, y, w) and (y_pre, y_post, v) at random steps, problems and synapses."""
        rng = np.random.default_rng(seed)
        every = max(1, problems.n_steps // 100)
        outcome, _ = _simulate(rule, problems, None, every)
        sound = outcome.blow_up < 0
        record, lateral_record = outcome.record[sound], outcome.lateral_record[sound]
        steps = np.arange(record.shape[1]) * every
        return _sampled_states(
            problems.subset(np.flatnonzero(sound)), record, lateral_record, steps, n_states, rng
        )

    def evaluate(self, rule: Rule | KnownRule, problems: NetworkProblems) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a blow-up has the worst value of each.

        Networks without lateral synapses have no measure of them.
        """
        course = _course(rule, problems)
        blown = course.blow_up >= 0
        n_outputs = problems.settings.n_outputs
        response = course.response
        losses, _ = _distance(response, problems.targets)
        norms = np.linalg.norm(response, axis=2)
        inner = np.einsum("pkd,pkd->pk", response, problems.targets)
        cosines = np.minimum(np.abs(inner) / np.where(norms > 0, norms, 1.0), 1.0)
        subspace_error, explained = _subspace(response, problems)
        pairs = np.tril_indices(n_outputs, -1)
        correlations = _correlations(response, problems.inputs)[:, *pairs]
        measures = {
            "loss": np.where(blown, course.blow_up_loss, losses),
            "cosine": np.where(blown, 0.0, cosines.mean(axis=1)),
            "worst_cosine": np.where(blown, 0.0, cosines.min(axis=1)),
            "norm_error": np.where(blown, 1.0, np.abs(norms - 1).mean(axis=1)),
            "subspace_error": np.where(blown, np.sqrt(2 * n_outputs), subspace_error),
            "explained_variance": np.where(blown, 0.0, explained),
            "output_correlation": np.where(blown, 1.0, np.abs(correlations).mean(axis=1)),
        }
        if course.lateral is not None:
            lateral = np.abs(course.lateral[:, *pairs]).mean(axis=1)
            measures["lateral_weight"] = np.where(blown, 1.0, lateral)
        return measures

    def learning_curve(
        self, rule: Rule | KnownRule, problems: NetworkProblems, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems)."""
        every = max(1, problems.n_steps // n_points)
        course = _course(rule, problems, every)
        steps = np.arange(course.record.shape[1]) * every
        losses = np.array(
            [_distance(response, problems.targets)[0] for response in course.record.swapaxes(0, 1)]
        )
        late = (course.blow_up >= 0) & (steps[:, None] >= course.blow_up)
        losses[late] = np.broadcast_to(course.blow_up_loss, losses.shape)[late]
        return steps, losses

    def folds(self, settings: NetworkSettings) -> tuple[Fold, ...]:
        """Other sizes, spectra, distributions, starts, learning rates and horizons, and real images."""
        from discover.tasks._pca_network_folds import network_folds

        return network_folds(settings)


def _simulate(
    rule: Rule | FloatArray, problems: NetworkProblems, n_steps: int | None, every: int | None = None
) -> tuple[Any, int]:
    """Run the inner loop; return what it ended with, and its length."""
    from sims.network import simulate

    schedule = _schedule(problems, n_steps)
    outcome = simulate(
        _kernel_rule(rule), problems.inputs, problems.initial_weights, problems.initial_lateral, schedule,
        every=every,
    )  # fmt: skip
    return outcome, schedule.n_steps


@dataclass(frozen=True)
class _Course:
    """How the outputs of a network, of this task or a published one, answered to inputs.

    `response` (n_problems, n_outputs, n_inputs) are the answering weights at the end, `record`
    (n_problems, n_records, n_outputs, n_inputs) those on the way; `lateral` is None where the network has no
    lateral synapses.
    """

    response: FloatArray
    lateral: FloatArray | None
    blow_up: IntArray
    record: FloatArray
    longest: int

    @property
    def blow_up_loss(self) -> FloatArray:
        """Loss of each problem if it blew up."""
        loss: FloatArray = 2.0 - self.blow_up / self.longest
        return loss


def _course(rule: Rule | KnownRule, problems: NetworkProblems, every: int | None = None) -> _Course:
    if isinstance(rule, KnownRule):
        from sims import published

        schedule = _schedule(problems, None)
        end = published.simulate(rule.name, problems.inputs, problems.initial_weights, schedule, every=every)
        return _Course(end.response, end.lateral, end.blow_up, end.record, schedule.n_steps)
    outcome, longest = _simulate(rule, problems, None, every)
    return _Course(
        _response(outcome.weights, outcome.lateral),
        outcome.lateral,
        outcome.blow_up,
        _response(outcome.record, outcome.lateral_record),
        longest,
    )


def _schedule(problems: NetworkProblems, n_steps: int | None) -> Any:
    settings = problems.settings
    n_samples = problems.inputs.shape[1]
    return mini_batches(n_samples, settings.batch, problems.n_steps, settings.learning_rate, n_steps)


def _kernel_rule(rule: Rule | FloatArray) -> Any:
    """Return both slots' rules for the simulator; a slot in which the rule does not act stays as it is."""
    from sims.network import NetworkRule

    still = PolynomialRule(np.zeros((3, 3, 3)))
    parts: list[PolynomialRule | Program]
    if isinstance(rule, Rule):
        names = (slot.name for slot in PcaNetworkTask.slots)
        parts = [rule.program(name) if name in rule.slots else still for name in names]
    else:
        parts = [PolynomialRule(table) for table in np.reshape(rule, (2, 3, 3, 3))]
    return NetworkRule(*parts)


def _response(weights: FloatArray, lateral: FloatArray) -> FloatArray:
    """Weights with which outputs answer to inputs, through both layers; shape (..., n_outputs, n_inputs)."""
    response: FloatArray = weights + lateral @ weights
    return response


def _distance(response: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sign-free distance, mean over outputs, and its derivative with respect to the answering weights."""
    distances, slopes = sign_free_distance(response, targets)
    return distances.mean(axis=1), slopes / response.shape[1]


def _subspace(response: FloatArray, problems: NetworkProblems) -> tuple[FloatArray, FloatArray]:
    """Frobenius distance of the projections, and share of the components' variance; each (n_problems,)."""
    n_outputs = problems.settings.n_outputs
    bases, _ = np.linalg.qr(response.swapaxes(1, 2))
    overlap = np.sum((problems.targets @ bases) ** 2, axis=(1, 2))
    variances = np.mean((problems.inputs @ bases) ** 2, axis=1).sum(axis=1)
    error = np.sqrt(np.maximum(2 * (n_outputs - overlap), 0.0))
    return error, variances / problems.variances.sum(axis=1)


def _correlations(response: FloatArray, inputs: FloatArray) -> FloatArray:
    """Correlations of the outputs about zero, shape (n_problems, n_outputs, n_outputs)."""
    outputs = inputs @ response.swapaxes(1, 2)
    products = outputs.swapaxes(1, 2) @ outputs
    sizes = np.sqrt(np.maximum(np.einsum("pkk->pk", products), 1e-300))
    correlations: FloatArray = products / sizes[:, :, None] / sizes[:, None, :]
    return correlations


def _sampled_states(
    problems: NetworkProblems,
    weights: FloatArray,
    lateral: FloatArray,
    steps: IntArray,
    n_states: int,
    rng: np.random.Generator,
) -> dict[str, VisitedStates]:
    """Draw states at random; weights have the shapes (n_problems, n_records, n_outputs, ...)."""
    if problems.n_problems == 0:
        n_states = 0
    n_problems, n_samples, n_inputs = problems.inputs.shape
    n_outputs = problems.settings.n_outputs
    problem, record, sample, synapse, output = (
        rng.integers(max(size, 1), size=n_states)
        for size in (n_problems, len(steps), n_samples, n_inputs, n_outputs)
    )
    rows = np.arange(n_states)
    x, w, v = problems.inputs[problem, sample], weights[problem, record], lateral[problem, record]
    first = np.einsum("skd,sd->sk", w, x)
    y = first + np.einsum("skj,sj->sk", v, first)
    pair = rng.integers(n_outputs * (n_outputs - 1) // 2, size=n_states)
    post, pre = (index[pair] for index in np.tril_indices(n_outputs, -1))
    states = {
        FEEDFORWARD.name: (x[rows, synapse], y[rows, output], w[rows, output, synapse]),
        LATERAL.name: (y[rows, pre], y[rows, post], v[rows, post, pre]),
    }
    return {
        slot: VisitedStates(np.column_stack(columns), problem, steps[record])
        for slot, columns in states.items()
    }


TASK = PcaNetworkTask()

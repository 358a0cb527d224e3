"""Tasks of a two-layer network: everything but the problems and what is asked of the outputs.

Inputs reach the outputs through feed-forward weights, and earlier outputs reach later ones through lateral
weights, in one pass: ``y = (1 + V) W x``, where ``V`` is zero on and above its diagonal. The two kinds of
synapses change by two rules. What the outputs are is told by the *answering weights* ``(1 + V) W``, with
which they answer to the inputs.

References
----------
Rubner & Tavan (1989), Europhys. Lett. 10:693; Confavreux et al. (NeurIPS 2020), section 3.2.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import FEEDFORWARD, LATERAL, Slot
from discover.tasks.base import VisitedStates
from discover.tasks.neuron import DrawnProblems
from discover.tasks.rate import Course, RateTask, Values
from sims.circuit import Circuit, Projection, Rate

__all__ = ["LayerProblems", "NetworkTask", "output_correlations"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LATERAL_SIZE = 0.5
"""Root-mean-square of lateral weights at which the size of their terms is measured: they start small, grow
until outputs are decorrelated, and may vanish at the end."""


@dataclass(frozen=True)
class LayerProblems(DrawnProblems):
    """Drawn problems; `initial_weights` have the shape (n_problems, n_outputs, n_inputs).

    Attributes
    ----------
    initial_lateral : ndarray, shape (n_problems, n_outputs, n_outputs)
        By postsynaptic and presynaptic output, below the diagonal.
    """

    initial_lateral: FloatArray


class NetworkTask(RateTask):
    """A two-layer network whose feed-forward and lateral synapses change by two rules.

    A subclass gives `name`, `title`, `settings_type` with `n_inputs`, `n_outputs`, `n_samples`, `n_steps`,
    `learning_rate`, `batch` and `initial_scale` among its fields, `problems_type`, `reference`,
    `known_rules`, `measures`, and the methods :meth:`draw_problem`, :meth:`distance`, :meth:`measure` and
    :meth:`folds`.
    """

    problems_type: ClassVar[type[LayerProblems]] = LayerProblems
    slots: ClassVar[tuple[Slot, ...]] = (FEEDFORWARD, LATERAL)

    @abstractmethod
    def measure(
        self, response: FloatArray, lateral: FloatArray | None, problems: Any
    ) -> dict[str, FloatArray]:
        """Measures by name, all but the loss; `lateral` is None for a network without lateral synapses."""

    def started(self, problem: Values, settings: Any, rng: np.random.Generator) -> Values:
        """Return a drawn problem with random weights of both layers."""
        n_outputs = settings.n_outputs
        weights = rng.normal(0, settings.initial_scale, (n_outputs, settings.n_inputs))
        lateral = np.tril(rng.normal(0, settings.initial_scale, (n_outputs, n_outputs)), -1)
        return {**problem, "initial_weights": weights, "initial_lateral": lateral}

    def circuit(self, problems: Any) -> Circuit:
        """Return the two layers."""
        return _circuit(*problems.initial_weights.shape[1:])

    def start(self, problems: Any) -> tuple[Values, Values]:
        """Weights that problems begin with, by name; there are no states."""
        return {FEEDFORWARD.name: problems.initial_weights, LATERAL.name: problems.initial_lateral}, {}

    def answers_of(self, values: Values) -> FloatArray:
        """Return the answering weights, shape (..., n_outputs, n_inputs)."""
        weights = values[FEEDFORWARD.name]
        response: FloatArray = weights + values[LATERAL.name] @ weights
        return response

    def pull_answers(self, values: Values, slopes: FloatArray) -> Values:
        """Derivatives by weights, by name, from those by answering weights."""
        weights, lateral = values[FEEDFORWARD.name], values[LATERAL.name]
        by_weight = slopes + lateral.swapaxes(-1, -2) @ slopes
        return {FEEDFORWARD.name: by_weight, LATERAL.name: slopes @ weights.swapaxes(-1, -2)}

    def measures_of(self, answers: FloatArray, values: Values, problems: Any) -> dict[str, FloatArray]:
        """Measures by name, all but the loss; networks without lateral synapses have none of them."""
        return self.measure(answers, values.get(LATERAL.name), problems)

    def run(self, rule: Any, problems: Any, n_steps: int | None = None, every: int | None = None) -> Course:
        """Run the inner loop, of a known rule in its own network."""
        if not isinstance(rule, KnownRule):
            return super().run(rule, problems, n_steps, every)
        from sims import published

        schedule = self.schedule(problems, n_steps)
        end = published.simulate(rule.name, problems.inputs, problems.initial_weights, schedule, every=every)
        final = {} if end.lateral is None else {LATERAL.name: end.lateral}
        return Course(end.response, end.record, end.blow_up, schedule.n_steps, final, {})

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States at random feed-forward weights of unit norm and random lateral weights."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(problems.n_problems, 1, *problems.initial_weights.shape[1:]))
        weights /= np.linalg.norm(weights, axis=3, keepdims=True)
        shape = (problems.n_problems, 1, *problems.initial_lateral.shape[1:])
        lateral = np.tril(rng.normal(0, LATERAL_SIZE, shape), -1)
        return _sampled_states(problems, weights, lateral, np.zeros(1, int), n_states, rng)

    def visit(
        self, rule: Rule | FloatArray, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States (x, y, w) and (y_pre, y_post, v) at random steps, problems and synapses."""
        rng = np.random.default_rng(seed)
        every = max(1, problems.n_steps // 100)
        course = self.run(rule, problems, None, every)
        sound = course.blow_up < 0
        record, lateral_record = (course.records[slot.name][sound] for slot in self.slots)
        steps = np.arange(record.shape[1]) * every
        return _sampled_states(
            problems.subset(np.flatnonzero(sound)), record, lateral_record, steps, n_states, rng
        )


def output_correlations(response: FloatArray, inputs: FloatArray) -> FloatArray:
    """Correlations of the outputs about zero, shape (n_problems, n_outputs, n_outputs)."""
    outputs = inputs @ response.swapaxes(1, 2)
    products = outputs.swapaxes(1, 2) @ outputs
    sizes = np.sqrt(np.maximum(np.einsum("pkk->pk", products), 1e-300))
    correlations: FloatArray = products / sizes[:, :, None] / sizes[:, None, :]
    return correlations


@lru_cache(maxsize=64)
def _circuit(n_outputs: int, n_inputs: int) -> Circuit:
    lateral = Projection("y", "y", 1.0, plastic=True, hierarchical=True, symbol="v")
    return Circuit(
        {"x": Rate(n_inputs), "y": Rate(n_outputs)},
        {FEEDFORWARD.name: Projection("x", "y", 1.0, plastic=True), LATERAL.name: lateral},
    )


def _sampled_states(
    problems: Any,
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
    n_outputs = problems.initial_weights.shape[1]
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

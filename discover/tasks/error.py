"""Task ``error``: a neuron should have the potential that a teacher has, whose weights it does not know.

Both are driven by the same Poisson inputs, and neither is reset by its own spikes: potentials are sums over
synapses of weights times filtered inputs, ``u = sum_j w_j s_j``. The student's synapses see their filtered
input s, the student's potential u, the teacher's potential v, which is handed over every few milliseconds,
and their weight w. As the potentials do not depend on spikes, the circuit is one of rates, and gradients are
exact.

References
----------
Jordan, Schmidt, Senn & Petrovici (2021), eLife 10:66273. Urbanczik & Senn (2014), Neuron 81:521.
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
from discover.slots import ERROR, Slot
from discover.tasks.base import SECONDS, Fold, VisitedStates
from discover.tasks.neuron import DrawnProblems, reached_by_reference
from discover.tasks.rate import RateTask, Values
from sims.circuit import Circuit, Projection, Rate, Signal
from sims.rules import Program

__all__ = ["TASK", "ErrorProblems", "ErrorSettings", "ErrorTask", "filtered"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WEIGHT_UNIT_PA = 20.0
"""Weights are in this unit: the half width of the teacher's distribution."""

POTENTIAL_UNIT_MV = 3.0
"""Potentials are in this unit, about the mean of a teacher's."""

TEACHER = (-0.25, 1.75)
"""Lowest and highest weight of a teacher: -5 and 35 pA."""

START = 0.25
"""Weights of the student at the start: 5 pA."""

CAPACITANCE_PF, TAU_MEMBRANE_MS, TAU_SYNAPSE_MS = 250.0, 10.0, 2.0
"""The neuron: those of NEST's ``iaf_psc_exp``, as published."""

TOLD = "told"
"""What the circuit calls v, a name that circuits keep for voltages."""

FORGOTTEN = 0.1
"""The first part of a run, which is not judged."""

WORST_MV = 1000.0
"""Largest value of the published error: that of 10 mV all the time."""

MARGIN = 0.05
"""What a measure may be worse than the reference rule's, beside three standard errors of that."""


@dataclass(frozen=True)
class ErrorSettings:
    """Settings of the task; those of Jordan et al. (2021) unless something else is given.

    Parameters
    ----------
    n_inputs : int
        Number of synapses.
    lowest_hz, highest_hz : float
        Rates of the inputs, evenly spaced between these.
    duration_s : float
        Length of the inner loop, a multiple of `window_ms`.
    sample_ms : float
        Step of the simulation.
    handed_ms : float
        The student's synapses are told the teacher's potential this often, and keep it in between; a multiple
        of `sample_ms`.
    window_ms : float
        An update is the mean over this time, a multiple of `sample_ms`; published updates are low-passed
        with this time constant.
    noise_mv : float
        Standard deviation of what is added to each potential that is handed over.
    learning_rate : float
        Factor of every change of a weight.
    """

    n_inputs: Annotated[int, Ge(1), Le(1_000)] = 5
    lowest_hz: Annotated[float, Gt(0), Le(10_000)] = 150.0
    highest_hz: Annotated[float, Gt(0), Le(10_000)] = 850.0
    duration_s: Annotated[float, Gt(0), Le(10_000)] = 10.0
    sample_ms: Annotated[float, Gt(0), Le(100)] = 1.0
    handed_ms: Annotated[float, Gt(0), Le(1_000)] = 5.0
    window_ms: Annotated[float, Gt(0), Le(10_000)] = 100.0
    noise_mv: Annotated[float, Ge(0), Le(100)] = 0.0
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.9

    def __post_init__(self) -> None:
        for name, whole, part in (
            ("handed_ms", self.handed_ms, self.sample_ms),
            ("window_ms", self.window_ms, self.sample_ms),
            ("duration_s", 1000 * self.duration_s, self.window_ms),
        ):
            ratio = whole / part
            if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-9 * ratio:
                raise TaskError(f"{name} is a multiple of {part:g} ms, got {whole:g} ms.")
        if self.lowest_hz > self.highest_hz:
            raise TaskError(f"Rates go from low to high, got {self.lowest_hz} to {self.highest_hz} Hz.")

    @property
    def batch(self) -> int:
        """Samples that an update takes the mean over."""
        return round(self.window_ms / self.sample_ms)

    @property
    def n_steps(self) -> int:
        """Number of updates."""
        return round(1000 * self.duration_s / self.window_ms)


@dataclass(frozen=True)
class ErrorProblems(DrawnProblems):
    """Drawn problems; `initial_weights` have the shape (n_problems, n_inputs).

    Attributes
    ----------
    inputs : ndarray, shape (n_problems, n_samples, n_inputs + 1)
        Filtered inputs, and the teacher's potential as it is handed over.
    targets : ndarray, shape (n_problems, n_inputs)
        Weights of the teacher.
    moments : ndarray, shape (n_problems, n_inputs, n_inputs)
        Mean products of filtered inputs, by which differences of weights become differences of potentials.
    """

    targets: FloatArray
    moments: FloatArray

    def mean_square(self, weights: FloatArray) -> FloatArray:
        """Mean of (u - v)**2 over the run that weights (n_problems, ..., n_inputs) would have."""
        away = weights - self.targets.reshape(len(weights), *(weights.ndim - 2) * (1,), -1)
        mean: FloatArray = np.einsum("p...i,pij,p...j->p...", away, self.moments, away)
        return mean


class ErrorTask(RateTask):
    """A student neuron and its teacher."""

    name: ClassVar[str] = "error"
    title: ClassVar[str] = "The potential of a teacher, by a rule that sees it"
    slots: ClassVar[tuple[Slot, ...]] = (ERROR,)
    settings_type: ClassVar[type] = ErrorSettings
    problems_type: ClassVar[type[ErrorProblems]] = ErrorProblems
    reference: ClassVar[str] = "delta-rule"
    known_rules: ClassVar[tuple[str, ...]] = ("delta-rule", "sign-error", "hebb-teacher")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "root mean square of u - v with the final weights, relative to that with the first ones",
        "error": "root of the summed squares of u - v in samples of 1 ms after the first tenth, in mV",
        "weight_error": "distance of the final weights to the teacher's, relative to that of the first ones",
    }

    def draw_problem(self, settings: ErrorSettings, rng: np.random.Generator) -> Values:
        """Draw a teacher's weights and spikes of the inputs."""
        n_samples = settings.n_steps * settings.batch
        rates = np.linspace(settings.lowest_hz, settings.highest_hz, settings.n_inputs)
        targets = rng.uniform(*TEACHER, settings.n_inputs)
        spikes = rng.poisson(rates * settings.sample_ms / 1000, (n_samples, settings.n_inputs))
        s = filtered(spikes, settings.sample_ms)
        held = round(settings.handed_ms / settings.sample_ms)
        noise = settings.noise_mv / POTENTIAL_UNIT_MV * rng.normal(size=-(-n_samples // held))
        handed = np.repeat((s @ targets)[::held] + noise, held)[:n_samples]
        inputs = np.column_stack([s, handed])
        return {"inputs": inputs, "targets": targets, "moments": s.T @ s / n_samples}

    def started(self, problem: Values, settings: ErrorSettings, rng: np.random.Generator) -> Values:
        """Return a drawn problem with the weights that it begins with."""
        return {**problem, "initial_weights": np.full(settings.n_inputs, START)}

    def circuit(self, problems: ErrorProblems) -> Circuit:
        """Return the student, with the potential that is handed over as a signal."""
        return student(problems.settings.n_inputs)

    def kernel_rules(self, rule: Any) -> dict[str, Any]:
        """Return a rule, or a vector of all coefficients, with the variables of the circuit."""
        forms = super().kernel_rules(rule)
        return {slot: _as_the_circuit_says(form) for slot, form in forms.items()}

    def start(self, problems: ErrorProblems) -> tuple[Values, Values]:
        """Weights that problems begin with; there are no states."""
        return {ERROR.name: problems.initial_weights[:, None]}, {}

    def answers_of(self, values: Values) -> FloatArray:
        """Return the weights, shape (..., n_inputs)."""
        return values[ERROR.name][..., 0, :]

    def pull_answers(self, values: Values, slopes: FloatArray) -> Values:
        """Derivatives by weights, from those by the same weights as a vector."""
        return {ERROR.name: slopes[:, None]}

    def distance(self, weights: FloatArray, problems: ErrorProblems) -> tuple[FloatArray, FloatArray]:
        """Root mean square of u - v relative to that of the first weights, and its derivative."""
        scale = np.sqrt(problems.mean_square(problems.initial_weights))
        sizes = np.sqrt(np.maximum(problems.mean_square(weights), 0.0))
        slopes = np.einsum("pij,pj->pi", problems.moments, weights - problems.targets)
        return sizes / scale, slopes / (scale * np.maximum(sizes, 1e-12))[:, None]

    def measures_of(
        self, weights: FloatArray, values: Values, problems: ErrorProblems
    ) -> dict[str, FloatArray]:
        """Measures of final weights by name, all but the loss and the published error."""
        away = np.linalg.norm(weights - problems.targets, axis=1)
        before = np.linalg.norm(problems.initial_weights - problems.targets, axis=1)
        return {"weight_error": away / before, "error": self._published(weights[:, None], problems)}

    def at_blow_up(self, measure: str, settings: ErrorSettings) -> float:
        """Return the value of a measure where a problem blew up."""
        return WORST_MV if measure == "error" else 2.0

    def evaluate(self, rule: Any, problems: ErrorProblems) -> dict[str, FloatArray]:
        """Measures of each problem, the published error with the weights of each step."""
        measured = super().evaluate(rule, problems)
        course = self.run(rule, problems, None, 1)
        error = self._published(course.record, problems)
        return {**measured, "error": np.where(course.blow_up >= 0, WORST_MV, np.minimum(error, WORST_MV))}

    def probe(
        self, problems: ErrorProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of synapses with weights as teachers have them."""
        rng = np.random.default_rng(seed)
        weights = rng.uniform(*TEACHER, (problems.n_problems, 1, problems.settings.n_inputs))
        return {ERROR.name: _sampled(problems, weights, np.zeros(1, dtype=np.int64), n_states, rng)}

    def visit(
        self, rule: Any, problems: ErrorProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of synapses at random steps, problems and samples."""
        rng = np.random.default_rng(seed)
        every = max(1, problems.n_steps // 100)
        course = self.run(rule, problems, None, every)
        sound = np.flatnonzero(course.blow_up < 0)
        steps = np.arange(course.record.shape[1]) * every
        states = _sampled(problems.subset(sound), course.record[sound], steps, n_states, rng)
        return {ERROR.name: states}

    def curve_axis(self, settings: ErrorSettings) -> tuple[float, str]:
        """Updates of the curve are windows of time."""
        return settings.window_ms / 1000.0, SECONDS

    def folds(self, settings: ErrorSettings) -> tuple[Fold, ...]:
        """Other rates and numbers of inputs, noise, other times, rates of learning and horizons."""
        return error_folds(settings)

    def _published(self, record: FloatArray, problems: ErrorProblems) -> FloatArray:
        """Root of the summed squares of u - v after the first tenth, (n_problems,).

        The weights (n_problems, n_records, n_inputs) are those of equal parts of the run.
        """
        n_problems, n_parts, n_inputs = record.shape
        s = problems.inputs[:, :, :n_inputs].reshape(n_problems, n_parts, -1, n_inputs)
        away = record - problems.targets[:, None]
        squares = np.einsum("pksi,pki->pks", s, away).reshape(n_problems, -1) ** 2
        judged = squares[:, round(FORGOTTEN * squares.shape[1]) :]
        total: FloatArray = POTENTIAL_UNIT_MV * np.sqrt(judged.sum(axis=1) * problems.settings.sample_ms)
        return total


@lru_cache(maxsize=64)
def student(n_inputs: int) -> Circuit:
    """Return the circuit: a linear neuron whose synapses are told a potential."""
    return Circuit(
        populations={"s": Rate(n_inputs), "handed": Rate(1), "u": Rate(1)},
        projections={ERROR.name: Projection("s", "u", 1.0, plastic=True)},
        states={TOLD: Signal(of="handed")},
    )


def filtered(spikes: FloatArray | IntArray, sample_ms: float) -> FloatArray:
    """Filter spikes as a membrane does, in units of 3 mV for a weight of one.

    Each spike adds to a synaptic current, which decays and charges the membrane.

    Parameters
    ----------
    spikes : ndarray, shape (n_samples, n_inputs)
        Number of spikes in each sample.
    sample_ms : float

    Returns
    -------
    ndarray, shape (n_samples, n_inputs)

    Examples
    --------
    A single spike of weight one, 20 pA, has its largest effect after 4 ms.

    >>> response = filtered(np.eye(30)[:, :1], 1.0)[:, 0]
    >>> int(response.argmax()), round(float(response.max()), 3)
    (4, 0.036)
    """
    from scipy.signal import lfilter

    membrane, synapse = (np.exp(-sample_ms / tau) for tau in (TAU_MEMBRANE_MS, TAU_SYNAPSE_MS))
    charge = WEIGHT_UNIT_PA / CAPACITANCE_PF / (1 / TAU_SYNAPSE_MS - 1 / TAU_MEMBRANE_MS)
    slow, fast = (lfilter([1.0], [1.0, -decay], spikes, axis=0) for decay in (membrane, synapse))
    response: FloatArray = charge / POTENTIAL_UNIT_MV * (slow - fast)
    return response


def _as_the_circuit_says(form: Any) -> Any:
    if not isinstance(form, Program):
        return form
    names = tuple(TOLD if name == ERROR.state else name for name in form.variables)
    return replace(form, variables=names)


def _sampled(
    problems: ErrorProblems, weights: FloatArray, steps: IntArray, n_states: int, rng: np.random.Generator
) -> VisitedStates:
    """Draw states; weights (n_problems, n_records, n_inputs)."""
    n_problems, n_records, n_inputs = weights.shape
    n_states = n_states if n_problems else 0
    problem, record, sample, synapse = (
        rng.integers(max(size, 1), size=n_states)
        for size in (n_problems, n_records, problems.inputs.shape[1], n_inputs)
    )
    seen, w = problems.inputs[problem, sample], weights[problem, record]
    u = np.einsum("si,si->s", seen[:, :n_inputs], w)
    rows = np.arange(n_states)
    columns = [seen[rows, synapse], u, w[rows, synapse], seen[:, n_inputs]]
    return VisitedStates(np.column_stack(columns), problem, steps[record])


@lru_cache(maxsize=16)
def error_folds(settings: ErrorSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings; tolerances are what the reference rule reaches."""
    return tuple(
        Fold(
            name, title, changed, reached_by_reference(TASK, changed, ("loss",), MARGIN),
            tuned_at=settings if name.startswith("learning") else None,
        )
        for name, title, changed in _conditions(settings)
    )  # fmt: skip


def _conditions(settings: ErrorSettings) -> Iterator[tuple[str, str, Any]]:
    low, high, n_inputs = settings.lowest_hz, settings.highest_hz, settings.n_inputs
    for name, factor in (("low", 0.5), ("high", 2.0)):
        changed = replace(settings, lowest_hz=factor * low, highest_hz=factor * high)
        yield f"rates-{name}", f"inputs of {factor * low:g} to {factor * high:g} Hz", changed
    if low < high:
        even = replace(settings, lowest_hz=(low + high) / 2, highest_hz=(low + high) / 2)
        yield "rates-equal", f"all inputs at {even.lowest_hz:g} Hz", even
    for name, factor in (("half", 0.6), ("double", 2.0)):
        changed = replace(settings, n_inputs=max(1, round(factor * n_inputs)))
        yield f"inputs-{name}", f"{changed.n_inputs} inputs instead of {n_inputs}", changed
    noisy = replace(settings, noise_mv=max(2 * settings.noise_mv, 0.5))
    yield "noise", f"noise of {noisy.noise_mv:g} mV in the potential that is handed over", noisy
    rarer = replace(settings, handed_ms=4 * settings.handed_ms)
    yield "handed-rarely", f"a potential is handed over every {rarer.handed_ms:g} ms", rarer
    longer = replace(settings, duration_s=3 * settings.duration_s)
    yield "run-long", f"{longer.duration_s:g} s", longer
    slow = replace(settings, learning_rate=settings.learning_rate / 3, duration_s=3 * settings.duration_s)
    yield "learning-slow", f"learning rate {slow.learning_rate:.3g}, {slow.duration_s:g} s", slow


TASK = ErrorTask()

"""What a task is: problems to draw, a network to run a rule in, a loss, and conditions to try it under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from discover.basis import VolterraBasis
from discover.errors import RuleError, TaskError
from discover.known_rules import KnownRule, get_known_rule
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.slots import FEEDFORWARD, Slot

__all__ = [
    "NOT_NEGATIVE",
    "Answer",
    "Fold",
    "Problems",
    "Task",
    "TaskGradient",
    "VisitedStates",
    "all_known_of",
    "are_constants",
    "bases",
    "check_slots",
    "coefficients_of",
    "collect",
    "known_networks_of",
    "known_rules_of",
    "n_coefficients",
    "rule_in",
    "rule_of",
    "update_slots",
    "with_splines",
    "without_gradients",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SECONDS = "time in the inner loop (s)"
"""What the axis of a learning curve says where steps are ones of time."""

NOT_NEGATIVE: Mapping[str, tuple[float, float]] = MappingProxyType({"loss": (0.0, np.inf)})
"""What values losses may have."""

N_ASKED = 64
"""Problems on which the reference rule is run where it says what counts as doing the task."""

GRANTED = 0.05
"""Loss that a rule may have above that of the reference rule and still do the task."""

Answer = Literal["one law", "one form", "many forms", "nothing"]


class Problems(Protocol):
    """Drawn instances of a task, each with its inputs and its start."""

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        ...

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in updates."""
        ...

    def subset(self, indices: Sequence[int] | IntArray) -> Problems:
        """Return some of the problems."""
        ...


@dataclass(frozen=True)
class TaskGradient:
    """Losses of problems with their gradients.

    Attributes
    ----------
    losses : ndarray, shape (n_problems,)
    gradients : ndarray, shape (n_problems, n_parameters)
        Zero where the problem blew up.
    blown : ndarray of bool, shape (n_problems,)
    """

    losses: FloatArray
    gradients: FloatArray
    blown: NDArray[np.bool_]


@dataclass(frozen=True)
class VisitedStates:
    """What synapses of one slot see on their way.

    Attributes
    ----------
    values : ndarray, shape (n_states, n_variables)
        Local variables, in the order of the slot.
    problem, step : ndarray of int, shape (n_states,)
    """

    values: FloatArray
    problem: IntArray
    step: IntArray


@dataclass(frozen=True)
class Fold:
    """One held-out condition of cross-validation.

    Attributes
    ----------
    name : str
        Short, such as ``spectrum-linear``.
    title : str
        What is different, in words.
    settings : dataclass
        Settings of the task to draw the problems with.
    tolerances : mapping from str to tuple of float
        Measure -> lowest and highest mean that passes.
    most_problems : int, optional
        Largest number of problems, for a condition that takes long.
    tuned_at : dataclass, optional
        Settings to draw the problems with on which each rule's speed is tuned, where that is not to be done
        in the condition itself: because this takes long, or because it changes the learning rate and asks
        what a rule that suits the usual rate does then.
    """

    name: str
    title: str
    settings: Any
    tolerances: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    most_problems: int | None = None
    tuned_at: Any = None


class Task(ABC):
    """One function for a circuit to acquire.

    What a task can do beyond the abstract methods it says by overriding a default.

    Attributes
    ----------
    name, title : str
    slots : tuple of Slot
        Where the rule that is searched for acts.
    settings_type : type
        Frozen dataclass of the task's settings.
    reference : str
        Known rule that solves the task, by which others are measured.
    known_rules : tuple of str
        Known rules that can run in the task's network.
    known_networks : tuple of str
        Known rules that need more than a synapse's own variables and run in networks of their own, on the
        same problems.
    own_rules : tuple of KnownRule
        Known rules that the library lacks; for tasks from outside of this package.
    measures : mapping from str to str
        Name of each measure -> what it is, in words.
    higher_is_better : tuple of str
        Measures that are good when large, and best at one; the others are good when small.
    plausible : mapping from str to pair of float
        Ranges of measures within which every value is as good as any other; outside a measure is the worse
        the farther it is from the range.
    possible : mapping from str to pair of float
        Lowest and highest possible value of measures, infinite where there is none. Intervals end there, and
        allow for rare problems which a sample lacks where both ends of a measure are known.
    takes_splines : bool
        Whether the network runs rules without a formula, in its only slot: losses, gradient and visit take a
        :class:`sims.rules.SplineRule`, and gradients are with respect to the coefficients of its splines.
    takes_trace_splines : bool
        Whether the network of spiking synapses runs rules without a formula over the traces, see
        :class:`sims.spike_splines.SplineSpikeRule`.
    sign_symmetric : bool
        Whether problems are as likely with the signs of all inputs, or of all weights, turned round, and as
        well solved: then rules without a formula treat both signs alike.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    slots: ClassVar[tuple[Slot, ...]]
    settings_type: ClassVar[type]
    reference: ClassVar[str]
    known_rules: ClassVar[tuple[str, ...]]
    known_networks: ClassVar[tuple[str, ...]] = ()
    own_rules: ClassVar[tuple[KnownRule, ...]] = ()
    measures: ClassVar[Mapping[str, str]]
    higher_is_better: ClassVar[tuple[str, ...]] = ()
    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {}
    possible: ClassVar[Mapping[str, tuple[float, float]]] = NOT_NEGATIVE
    takes_splines: ClassVar[bool] = False
    takes_trace_splines: ClassVar[bool] = False
    sign_symmetric: ClassVar[bool] = False

    @abstractmethod
    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems (see :class:`Problems`); the same seed gives the same problems."""

    def subset(self, problems: Any, indices: IntArray) -> Any:
        """Return some of the problems, such as those that a step of an optimiser looks at."""
        return problems.subset(indices)

    @abstractmethod
    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of each problem after the inner loop, shape (n_problems,).

        `rule` is a rule or a vector of all coefficients of the polynomial basis, slot by slot.
        """

    @abstractmethod
    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States, by slot, at random weights of the size that the task asks for."""

    @abstractmethod
    def visit(
        self, rule: Any, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States that synapses visit under a rule, by slot; problems that blow up give none."""

    @abstractmethod
    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop, by name, and the loss as ``loss``.

        `rule` is a rule, or a known one of `known_networks`, whose network may lack some of the measures.
        """

    @abstractmethod
    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems).

        `rule` is a rule, or a known one of `known_networks`.
        """

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """What a step of :meth:`learning_curve` is worth on the axis of a figure, and what the axis says."""
        return 1.0, "updates of the inner loop"

    @abstractmethod
    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Conditions for cross-validation."""

    def asked(self, settings: Any) -> Fold:
        """Return what counts as doing the task on a problem: settings to draw it with, and tolerances.

        By default a loss that is not more than :data:`GRANTED` above nearly all losses of the reference rule.
        """
        rule = get_known_rule(self.reference_for(settings))
        problems = self.draw(settings, N_ASKED, np.random.SeedSequence(0))
        own = rule if rule.rule is None else self.in_own_slots(rule.rule)
        losses = self.evaluate(own, problems)["loss"]
        highest = float(losses.mean() + 3 * losses.std(ddof=1)) + GRANTED
        title = f"a loss that is nearly as low as that of {rule.title}"
        return Fold("asked", title, settings, {"loss": (-np.inf, highest)})

    def gradient(self, rule: Any, problems: Any, n_steps: int | None = None) -> TaskGradient:
        """Losses and exact gradients with respect to the coefficients, or to a rule's constants.

        Rules of tasks that have none are fitted and refined by CMA-ES.
        """
        raise without_gradients(self)

    @property
    def has_gradient(self) -> bool:
        """Whether losses come with gradients."""
        return type(self).gradient is not Task.gradient

    def losses_of_rules(self, rules: Sequence[Any], problems: Any) -> FloatArray:
        """Loss of each of several rules on each problem, shape (n_rules, n_problems).

        For simulators that share work between rules.
        """
        return np.array([self.losses(rule, problems) for rule in rules])

    def evaluate_rules(self, rules: Sequence[Rule | KnownRule], problems: Any) -> list[dict[str, FloatArray]]:
        """Measures of each of several rules, see :meth:`evaluate`."""
        return [self.evaluate(rule, problems) for rule in rules]

    def reference_for(self, settings: Any) -> str:
        """Name of the known rule that solves the task under some settings."""
        return self.reference

    def answer_for(self, settings: Any) -> Answer:
        """Say what there is to find: the reference rule, its form, one of many that serve, or nothing.

        A study over many seeds counts accordingly (:mod:`discover.outcome`).

        Examples
        --------
        >>> from discover.tasks import get_task
        >>> task = get_task("oja")
        >>> task.answer_for(task.settings_type(spectrum="isotropic"))
        'nothing'
        """
        return "one law"

    def in_own_slots(self, rule: Rule) -> Rule:
        """Return a rule in the slots of this task, where it can be said in them."""
        return rule

    def data_digest(self, settings: Any) -> str:
        """Return the checksum of the data from outside that the problems are made of; empty for none."""
        return ""

    def check(self, settings: Any) -> None:
        """Refuse a task whose parts do not fit together, before a run spends time on it.

        Raises
        ------
        TaskError
        """
        return


def known_rules_of(task: Task) -> dict[str, Rule]:
    """Return the known rules that can run in a task's network, by name.

    Examples
    --------
    >>> from discover.tasks import get_task
    >>> print(known_rules_of(get_task("oja"))["oja"])
    x*y - w*y**2
    """
    rules = {name: get_known_rule(name).rule for name in task.known_rules}
    return {name: task.in_own_slots(rule) for name, rule in rules.items() if rule is not None}


def known_networks_of(task: Task) -> dict[str, KnownRule]:
    """Return the known rules that run in networks of their own on a task's problems, by name."""
    return {name: get_known_rule(name) for name in task.known_networks}


def all_known_of(task: Task) -> dict[str, Rule | KnownRule]:
    """Return the known rules of a task's network and those with networks of their own, by name."""
    return {**known_rules_of(task), **known_networks_of(task)}


def without_gradients(task: Task) -> TaskError:
    """Return the error of whoever asks a task for gradients that it does not have."""
    return TaskError(
        f'The task {task.name!r} has no gradients. Fit it without: optimiser = "cmaes" under [fit].'
    )


def with_splines(task: Task) -> Task:
    """Return a task whose network runs rules without a formula, of outputs or of synaptic traces.

    Raises
    ------
    TaskError
        If it does not.
    """
    if not (task.takes_splines or task.takes_trace_splines):
        raise TaskError(f"The network of the task {task.name!r} runs no rules without a formula.")
    return task


def update_slots(task: Task) -> tuple[Slot, ...]:
    """Return the slots in which an update acts: those that do not hold a constant of the synapse."""
    return tuple(slot for slot in task.slots if not slot.is_constant)


def rule_in(task: Task, text: str) -> Rule:
    """Read a rule in the form in which fronts of a task print it.

    An update without the name of a slot is that of the feed-forward slot, or of the only one with updates.

    Raises
    ------
    RuleError
        If the text is no rule, has a slot that the task lacks, or does not say which of several it is for.

    Examples
    --------
    >>> from discover.tasks import get_task
    >>> rule_in(get_task("bcm"), "x*y*(y - theta)").slots
    ('sliding',)
    """
    slots = [slot.name for slot in update_slots(task)]
    if ":" in text or FEEDFORWARD.name in slots:
        rule = Rule.parse(text)
        check_slots(task, task.in_own_slots(rule))
        return rule
    if len(slots) > 1:
        raise RuleError(
            f"The task {task.name} has several updates, {', '.join(slots)}: the name of its slot stands in "
            f"front of each, as in '{slots[0]}: ...; {slots[1]}: ...'."
        )
    return Rule.parse({slots[0]: text})


def check_slots(task: Task, rule: Rule) -> None:
    """Make sure that a rule has updates only where a task's network has synapses for them.

    Raises
    ------
    RuleError
        If it has others.
    """
    own = [slot.name for slot in task.slots]
    foreign = [name for name in rule.slots if name not in own]
    if foreign:
        raise RuleError(
            f"The rule {rule} has a slot {foreign[0]!r}, which the task {task.name} lacks: its slots are "
            f"{', '.join(own)}. An update of another slot than feedforward has the slot's name in front, "
            f"as in '{own[0]}: ...', and a semicolon stands between two."
        )


def bases(task: Task) -> tuple[VolterraBasis, ...]:
    """Return the polynomial basis of each slot."""
    return tuple(VolterraBasis(slot) for slot in task.slots)


def n_coefficients(task: Task) -> int:
    """Return the number of coefficients of all slots."""
    return sum(len(basis) for basis in bases(task))


def are_constants(task: Task) -> NDArray[np.bool_]:
    """Return which coefficients are constants of the synapse and no terms of an update.

    Returns
    -------
    ndarray of bool, shape (n_coefficients,)
    """
    return np.concatenate([np.full(len(basis), basis.slot.is_constant) for basis in bases(task)])


def coefficients_of(task: Task, rule: Rule) -> FloatArray:
    """Return a polynomial rule as the vector of all coefficients, slot by slot.

    Constants of the synapse that the rule does not state have their usual values.

    Raises
    ------
    RuleError
        If the rule is not a polynomial of the basis.
    """
    parts = []
    for basis in bases(task):
        if basis.slot.is_constant:
            parts.append(np.array([rule.constant(basis.slot.name)]))
        elif basis.slot.name in rule.slots and basis.slot.further:
            parts.append(basis.coefficients(rule))
        elif basis.slot.name in rule.slots:
            parts.append(rule.polynomial(basis.slot.name).coefficients[tuple(basis.exponents.T)])
        else:
            parts.append(np.zeros(len(basis)))
    return np.concatenate(parts)


def rule_of(task: Task, coefficients: FloatArray) -> Rule:
    """Return the rule of a coefficient vector; zero coefficients give no term.

    Examples
    --------
    >>> from discover.tasks import get_task
    >>> task = get_task("oja")
    >>> print(rule_of(task, coefficients_of(task, Rule.parse("x*y - 0.5*w"))))
    -0.5*w + x*y
    """
    tables: dict[str, dict[str, float]] = {}
    start = 0
    for basis in bases(task):
        values = coefficients[start : start + len(basis)]
        tables[basis.slot.name] = {
            name: float(value) for name, value in zip(basis.names, values, strict=True) if value != 0
        }
        start += len(basis)
    return Rule.from_coefficients(tables)


N_BASELINES = 5
BASELINE_SCALE = 0.02
N_BASELINE_PROBLEMS = 8
N_BASELINE_STATES = 400


def collect(task: Task, settings: Any, seed: int, progress: Progress = silent) -> dict[str, NDArray[Any]]:
    """Record what synapses visit under baseline rules that know nothing of the task.

    The baselines are the zero rule, under which weights stay where they start, and random small polynomial
    rules; constants of the synapse have their usual values.

    Returns
    -------
    dict from str to ndarray
        For each slot ``<slot>.states`` (n_states, n_variables), ``<slot>.update`` (n_states,), and the
        integer arrays ``<slot>.baseline``, ``<slot>.problem``, ``<slot>.step``; ``coefficients``
        (n_baselines, n_coefficients) of the baselines.
    """
    draw_seed, rule_seed, state_seed = np.random.SeedSequence(seed).spawn(3)
    problems = task.draw(settings, N_BASELINE_PROBLEMS, draw_seed)
    table = np.random.default_rng(rule_seed).normal(0, BASELINE_SCALE, (N_BASELINES, n_coefficients(task)))
    table[0] = 0.0
    are_kept = are_constants(task)
    table[:, are_kept] = coefficients_of(
        task, Rule.from_coefficients({slot.name: {} for slot in update_slots(task)})
    )[are_kept]
    parts: dict[str, list[NDArray[Any]]] = {}
    for number, (coefficients, child) in enumerate(zip(table, state_seed.spawn(N_BASELINES), strict=True)):
        rule = rule_of(task, coefficients)
        progress(number / N_BASELINES, f"baseline rule {number + 1} of {N_BASELINES}")
        for slot, states in task.visit(coefficients, problems, N_BASELINE_STATES, child).items():
            columns = dict(zip(rule.numpy()[slot].variables, states.values.T, strict=True))
            for name, values in (
                ("states", states.values),
                ("update", rule.numpy()[slot](**columns)),
                ("baseline", np.full(len(states.values), number)),
                ("problem", states.problem),
                ("step", states.step),
            ):
                parts.setdefault(f"{slot}.{name}", []).append(values)
    progress(1.0, "baseline rules done")
    return {"coefficients": table, **{name: np.concatenate(values) for name, values in parts.items()}}

"""Which rules are possible before anything was simulated: a family of rules and ranges of its constants.

Every constant is uniform within its range, time constants in their logarithm; coefficients of rules for
pairing experiments, whose likelihood is known, are normally distributed. Inside this package a rule is a
point of *standard* coordinates, in which the prior is a standard normal distribution: no sample can leave the
ranges, and a neural density has no edges to learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from discover.basis import VolterraBasis
from discover.errors import ConfigError, did_you_mean
from discover.rule import Rule
from discover.slots import Slot
from discover.stored import RuleOrNone, Stored
from discover.tasks.base import Task, update_slots

__all__ = [
    "LARGEST",
    "LONGEST_MS",
    "MOST_PARAMETERS",
    "SHORTEST_MS",
    "Family",
    "Parameter",
    "family_of_rule",
    "family_of_terms",
    "with_range",
]

FloatArray = NDArray[np.float64]

LARGEST = 2.0
"""Coefficients are between this and its negative unless another range is asked for."""

SHORTEST_MS, LONGEST_MS = 10.0, 100.0
"""Range of time constants."""

FACTOR = 3.0
"""A constant of a chosen candidate is between so many times its value and the negative of that."""

MOST_PARAMETERS = 40


@dataclass(frozen=True)
class Parameter(Stored):
    """A constant of a rule and its range.

    Attributes
    ----------
    slot : str
    term : str
        The term that it multiplies; empty for a constant of the synapse, such as a time constant.
    low, high : float
    scale : str
        ``linear``, ``log`` where its logarithm is uniform, or ``normal`` where it is normally distributed
        and the range is three standard deviations to either side.
    """

    slot: str
    term: str
    low: float
    high: float
    scale: Literal["linear", "log", "normal"] = "linear"

    @property
    def name(self) -> str:
        """What it is called in tables, such as ``on_pre: x_post``."""
        return f"{self.slot}: {self.term}" if self.term else self.slot


@dataclass(frozen=True)
class Family(Stored):
    """Rules of one form, with the ranges of their constants.

    Attributes
    ----------
    parameters : tuple of Parameter
    pattern : Rule or None
        A rule whose constants are the parameters; None for sums of terms.

    Examples
    --------
    >>> terms = "x*y", "w*y**2"
    >>> family = Family(tuple(Parameter("feedforward", term, -2.0, 2.0) for term in terms))
    >>> print(family.rule(np.array([1.0, -1.0])))
    x*y - w*y**2
    >>> family.standard(np.array([[0.0, 0.0]])).tolist()
    [[0.0, 0.0]]
    """

    parameters: tuple[Parameter, ...]
    pattern: RuleOrNone = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(one.name for one in self.parameters)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self.parameters)

    def rule(self, values: FloatArray) -> Rule:
        """Return the rule of parameters, shape (n_parameters,)."""
        if self.pattern is not None:
            return self.pattern.with_constants(values.tolist())
        tables: dict[str, dict[str, float]] = {one.slot: {} for one in self.parameters}
        for one, value in zip(self.parameters, values.tolist(), strict=True):
            tables[one.slot][one.term or "1"] = value
        return Rule.from_coefficients(tables)

    def values_of(self, rule: Rule) -> FloatArray | None:
        """Return the parameters of a rule, shape (n_parameters,); None for one that is not of the family."""
        if self.pattern is not None:
            same = rule.slots == self.pattern.slots and len(rule.constants()) == self.n_parameters
            fits = same and self.pattern.with_constants(rule.constants()) == rule
            return rule.constants() if fits else None
        if not rule.is_polynomial:
            return None
        table, found = rule.coefficients(), np.empty(self.n_parameters)
        stated = {(one.slot, one.term or "1") for one in self.parameters}
        for slot, terms in table.items():
            if any((slot, term) not in stated and value for term, value in terms.items()):
                return None
        for place, one in enumerate(self.parameters):
            found[place] = table.get(one.slot, {}).get(one.term, 0.0) if one.term else rule.constant(one.slot)
        return found

    def values(self, standard: FloatArray) -> FloatArray:
        """Return the parameters of points in standard coordinates, shape (n, n_parameters)."""
        low, high = self._ends
        found = low + (high - low) * np.where(self._is("normal"), 0.5 + standard / 6.0, ndtr(standard))
        return np.where(self._is("log"), np.exp(found), found)

    def standard(self, values: FloatArray) -> FloatArray:
        """Return points in standard coordinates; what lies outside of the ranges is infinitely far out."""
        low, high = self._ends
        is_log = self._is("log")
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = np.where(is_log, np.log(np.where(is_log, values, 1.0)), values)
        shares = (plain - low) / (high - low)
        return np.where(self._is("normal"), 6.0 * (shares - 0.5), ndtri(np.clip(shares, 0.0, 1.0)))

    def draw(self, n_rules: int, rng: np.random.Generator) -> FloatArray:
        """Draw points from the prior in standard coordinates, shape (n_rules, n_parameters)."""
        return rng.normal(size=(n_rules, self.n_parameters))

    def scaled(self, values: FloatArray) -> FloatArray:
        """Return parameters as shares of their ranges, 0 to 1, logarithms where the prior is of these."""
        return np.asarray(ndtr(self.standard(values)))

    def _is(self, scale: str) -> NDArray[np.bool_]:
        return np.array([one.scale == scale for one in self.parameters])

    @property
    def _ends(self) -> tuple[FloatArray, FloatArray]:
        rows = [
            (np.log(one.low), np.log(one.high)) if one.scale == "log" else (one.low, one.high)
            for one in self.parameters
        ]
        low, high = np.array(rows, dtype=np.float64).T
        return low, high


def family_of_terms(
    task: Task,
    terms: Mapping[str, Sequence[str]],
    largest: float = LARGEST,
    times_ms: tuple[float, float] = (SHORTEST_MS, LONGEST_MS),
) -> Family:
    """Return the sums of some terms, and the time constants of the task's synapses.

    Parameters
    ----------
    task : Task
    terms : mapping from str to sequence of str
        Slot -> its terms.
    largest : float
        Coefficients are uniform between this and its negative.
    times_ms : tuple of float
        Shortest and longest time constant, ms.

    Raises
    ------
    ConfigError
        If a slot or a range is none, or there are too many parameters.
    RuleError
        If a term is none of the basis.
    """
    low, high = times_ms
    if not (0 < low < high < np.inf and 0 < largest < np.inf):
        raise ConfigError(
            f"Ranges go from a smaller to a larger positive number; got coefficients up to {largest:g} "
            "and time "
            f"constants from {low:g} to {high:g} ms."
        )
    own = {slot.name: slot for slot in update_slots(task)}
    found = []
    for name, chosen in terms.items():
        if name not in own:
            raise ConfigError(
                f"The task {task.name} has no slot {name[:40]!r}.{did_you_mean(name, own)} "
                f"Its slots are {', '.join(own)}."
            )
        basis = VolterraBasis(own[name])
        for term in chosen:
            found.append(Parameter(name, basis.names[basis.index(term)], -largest, largest))
    if not found:
        raise ConfigError("A family of rules has at least one term.")
    times = [Parameter(slot.name, "", low, high, "log") for slot in task.slots if _is_time(slot)]
    return _checked(Family(tuple(dict.fromkeys([*found, *times]))))


def family_of_rule(rule: Rule, times_ms: tuple[float, float] = (SHORTEST_MS, LONGEST_MS)) -> Family:
    """Return the rules that differ from one in their constants alone.

    Raises
    ------
    ConfigError
        If the rule has no constants, or too many.

    Examples
    --------
    >>> family_of_rule(Rule.parse("x*tanh(0.5*y) - w")).names
    ('feedforward: constant 1',)
    >>> family_of_rule(Rule.parse("x*y - 0.5*w")).names
    ('feedforward: w', 'feedforward: x*y')
    """
    if rule.is_polynomial:
        return _checked(_family_of_polynomial(rule, times_ms))
    slots, values = rule.slots_of_constants, rule.constants()
    numbers: dict[str, int] = {}
    parameters = []
    for slot, value in zip(slots, values.tolist(), strict=True):
        if _is_time(_slot(slot)):
            parameters.append(Parameter(slot, "", *times_ms, "log"))
            continue
        numbers[slot] = numbers.get(slot, 0) + 1
        reach = FACTOR * abs(value) or 1.0
        parameters.append(Parameter(slot, f"constant {numbers[slot]}", -reach, reach))
    if not parameters:
        raise _no_constants(rule)
    return _checked(Family(tuple(parameters), rule))


def _family_of_polynomial(rule: Rule, times_ms: tuple[float, float]) -> Family:
    """Return the sums of the terms that a rule has."""
    found = []
    for slot, terms in rule.coefficients().items():
        if _slot(slot).is_constant:
            continue
        found += [
            Parameter(slot, term, -FACTOR * abs(value), FACTOR * abs(value))
            for term, value in terms.items()
            if value
        ]
    if not found:
        raise _no_constants(rule)
    times = [Parameter(slot, "", *times_ms, "log") for slot in rule.slots if _is_time(_slot(slot))]
    return Family((*found, *times))


def _no_constants(rule: Rule) -> ConfigError:
    return ConfigError(
        f"The rule {rule} has no constants that could be other ones. Name the terms of a family instead, "
        "such as --terms 'x*y, w*y**2'."
    )


def with_range(family: Family, largest: float) -> Family:
    """Return a family whose coefficients have another range."""
    return replace(
        family,
        parameters=tuple(
            one if one.scale == "log" else replace(one, low=-largest, high=largest)
            for one in family.parameters
        ),
    )


def _checked(family: Family) -> Family:
    if family.n_parameters > MOST_PARAMETERS:
        raise ConfigError(
            f"The family has {family.n_parameters} parameters; up to {MOST_PARAMETERS} can be sampled. "
            "Choose "
            "some of its terms with --terms, or a candidate with --candidate."
        )
    return family


def _slot(name: str) -> Slot:
    from discover.slots import get_slot

    return get_slot(name)


def _is_time(slot: Slot) -> bool:
    return slot.is_constant and slot.unit == "ms"

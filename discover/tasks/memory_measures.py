"""Settings of the memory task, and what is made of a run: criteria of stability, class, measures and loss.

Stable is a network that at all tests has a rate of 0.1 to 100 Hz and irregular intervals, and at the last one
weights of moderate size. These criteria are the published ones. Where the publication leaves a choice open it
is made here: intervals of all excitatory neurons are taken together, and no projection may have more than a
tenth of its weights at the upper bound.

References
----------
Confavreux et al. (2025), "Memory by a thousand rules", bioRxiv 2025.05.28.656584.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from discover.errors import TaskError

if TYPE_CHECKING:
    from sims.memory import MemoryCircuit
    from sims.memory_protocol import MemoryOutcome, MemoryProtocol, MemoryTest

__all__ = [
    "CLASSES",
    "CRITERIA",
    "MemoryClass",
    "MemorySettings",
    "Verdict",
    "goes_on_after",
    "is_sound",
    "loss_of",
    "measures_of",
    "outcome_up_to",
    "settings_up_to",
    "verdict_on",
]

MemoryClass = Literal["unstable", "stable", "novelty", "familiarity"]

CLASSES: Mapping[str, str] = {
    "unstable": "fails a criterion of stability",
    "stable": "stable, and prefers neither stimulus at all late tests",
    "novelty": "stable, and answers more to the novel stimulus at all late tests",
    "familiarity": "stable, and answers more to the familiar stimulus at all late tests",
}

CRITERIA: Mapping[str, str] = {
    "blow-up": "excitatory neurons above 100 Hz for two seconds, or a weight that is not a number",
    "quiet": "excitatory rate below 0.1 Hz before a test",
    "active": "excitatory rate above 100 Hz before a test",
    "regular": "coefficient of variation of excitatory intervals below 0.7 before a test",
    "weights": "mean weight above 0.5 (EE, EI) or 5 (IE, II) at the last test",
    "bounds": "more than a tenth of a projection's weights at the upper bound at the last test",
}
"""Ways to be unstable; of several that a network fails, the first one is told."""

LOWEST_HZ, HIGHEST_HZ, LOWEST_CV = 0.1, 100.0, 0.7
LARGEST_MEAN: Mapping[str, float] = {"EE": 0.5, "EI": 0.5, "IE": 5.0, "II": 5.0}
MOST_AT_BOUND = 0.1
PREFERS = 0.1
"""A preference above this is one for the novel stimulus, below its negative one for the familiar stimulus."""

BLOWN, UNSTABLE = 2.0, 1.0
"""Lowest losses of networks that blow up, and of those that are unstable otherwise."""

NO_PREFERENCE = 0.5
"""What a late test costs at which neither stimulus is preferred."""

SMALLEST = 1e-3
"""A criterion that is failed costs at least this."""

FAMILIAR_FIRST, NOVEL_FIRST = 7500, 2000
ALSO_FIRST = (4750, 0)
"""First inputs of the stimuli: the familiar one, the novel one, and others that are learned as well."""


@dataclass(frozen=True)
class MemorySettings:
    """Settings of the task `memory`.

    Parameters
    ----------
    size, connections : float
        Of the copy of the network, see :class:`sims.memory.MemoryCircuit`; both 1 for the published one.
    learning_rate : float
        Factor of every change of a weight.
    input_rate_hz : float
        Of all inputs without a stimulus.
    stimulus_inputs : int
        Inputs of a stimulus.
    stimulus_hz : float
        Their rate while it is shown.
    overlap : float
        Share of the familiar stimulus's inputs that the novel one has too.
    background_s, training_s : float
        Time before training, and its length.
    breaks_s : tuple of float
        Times of tests after training.
    late_s : float
        Tests from this time on are late ones, which ask for the memory.
    goal : float
        Preference for the novel stimulus from which on nothing is gained.
    n_familiar : int
        Stimuli that are learned in turn, each for `training_s`; tests ask for the first.
    """

    size: Annotated[float, Gt(0), Le(1)] = 0.125
    connections: Annotated[float, Gt(0), Le(1)] = 0.7
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.01
    input_rate_hz: Annotated[float, Gt(0), Le(1000)] = 10.0
    stimulus_inputs: Annotated[int, Ge(1), Le(2500)] = 500
    stimulus_hz: Annotated[float, Gt(0), Le(1000)] = 60.0
    overlap: Annotated[float, Ge(0), Lt(1)] = 0.0
    background_s: Annotated[float, Ge(1), Le(100_000)] = 30.0
    training_s: Annotated[float, Gt(0), Le(100_000)] = 10.0
    breaks_s: Annotated[tuple[Annotated[float, Ge(1), Le(1_000_000)], ...], MinLen(1)] = (1.0, 10.0, 60.0)
    late_s: Annotated[float, Ge(1), Le(1_000_000)] = 60.0
    goal: Annotated[float, Gt(0), Le(2)] = 0.3
    n_familiar: Annotated[int, Ge(1), Le(1 + len(ALSO_FIRST))] = 1

    def __post_init__(self) -> None:
        if self.late_s > self.breaks_s[-1]:
            raise TaskError(
                f"No test is a late one: the last is {self.breaks_s[-1]:g} s after training, and late_s is "
                f"{self.late_s:g}."
            )
        try:
            self.circuit(), self.protocol()
        except ValueError as error:
            raise TaskError(str(error)) from None

    def circuit(self) -> MemoryCircuit:
        """Return the settings of the circuit."""
        from sims.memory import MemoryCircuit

        return MemoryCircuit(
            size=self.size,
            connections=self.connections,
            learning_rate=self.learning_rate,
            input_rate_hz=self.input_rate_hz,
        )

    def protocol(self) -> MemoryProtocol:
        """Return what networks go through."""
        from sims.memory import Stimulus
        from sims.memory_protocol import MemoryProtocol

        n, rate = self.stimulus_inputs, self.stimulus_hz
        also = tuple(Stimulus(first, n, rate) for first in ALSO_FIRST[: self.n_familiar - 1])
        moved = FAMILIAR_FIRST - round((1.0 - self.overlap) * n)
        novel = moved if self.overlap > 0 else NOVEL_FIRST
        return MemoryProtocol(
            Stimulus(FAMILIAR_FIRST, n, rate),
            Stimulus(novel, n, rate),
            self.background_s,
            self.training_s,
            breaks_s=self.breaks_s,
            also=also,
        )


@dataclass(frozen=True)
class Verdict:
    """What a run showed.

    Attributes
    ----------
    kind : str
        One of `CLASSES`.
    criterion : str
        The first of `CRITERIA` that an unstable network fails; empty for others.
    projection : str
        Whose weights fail it, where they do.
    break_s : float
        Time of the test at which it fails; of the last test that was made where it blew up after one, and
        negative where it blew up before all.
    instability : float
        How far the network is from stable, 0 (it is) to 1.
    """

    kind: MemoryClass
    criterion: str
    projection: str
    break_s: float
    instability: float


def is_sound(test: MemoryTest) -> bool:
    """Return whether a test shows a network with the rate and the irregular intervals of a stable one."""
    return not _activity(test)


def verdict_on(outcome: MemoryOutcome, settings: MemorySettings) -> Verdict:
    """Class a run by the criteria."""
    tests = outcome.tests
    last_s = tests[-1].break_s if tests else -1.0
    n_missing = len(settings.breaks_s) - len(tests)
    costs = [max(_activity(test).values(), default=0.0) for test in tests] + [1.0] * n_missing
    at_end = {} if n_missing else _at_end(tests[-1])
    last_cost = 1.0 if n_missing else max((cost for cost, _ in at_end.values()), default=0.0)
    instability = (sum(costs) / len(costs) + last_cost) / 2
    if outcome.stop != 0:
        return Verdict("unstable", "blow-up", "", last_s, instability)
    for test in tests:
        for criterion in _activity(test):
            return Verdict("unstable", criterion, "", test.break_s, instability)
    for criterion, (_, projection) in at_end.items():
        return Verdict("unstable", criterion, projection, last_s, instability)
    late = [test.preference for test in tests if test.break_s >= settings.late_s]
    if min(late) > PREFERS:
        return Verdict("novelty", "", "", last_s, 0.0)
    return Verdict("familiarity" if max(late) < -PREFERS else "stable", "", "", last_s, 0.0)


def goes_on_after(settings: MemorySettings) -> Callable[[MemoryTest], bool]:
    """Return what says after a test whether the rest of a run can change its loss."""
    return lambda test: is_sound(test) and not _is_forgotten(test, settings)


def loss_of(outcome: MemoryOutcome, settings: MemorySettings) -> float:
    """Return the loss of a run, which leads from blowing up over stability to a stable memory.

    A network that blows up costs 2 to 3, the more the sooner it does. One that is unstable otherwise costs 1
    to 2, by how far it is from the criteria; tests that were not reached count as failed altogether. A stable
    one costs 0 to 1: the mean over late tests of ``(goal - preference) / (2 goal)``, cut off at both ends.
    The first late test without a preference for the novel stimulus ends the memory: later ones cost as much
    as it does, and at least as much as no preference.
    """
    n = next((n for n, test in enumerate(outcome.tests, 1) if _is_forgotten(test, settings)), 0)
    n_missing = sum(time >= settings.late_s for time in settings.breaks_s[n:]) if n else 0
    if n:
        outcome, settings = outcome_up_to(outcome, n), settings_up_to(settings, n)
    verdict = verdict_on(outcome, settings)
    if verdict.criterion == "blow-up":
        return BLOWN + 1.0 - outcome.completed
    if verdict.kind == "unstable":
        return UNSTABLE + verdict.instability
    late = [test.preference for test in outcome.tests if test.break_s >= settings.late_s]
    goal = settings.goal
    costs = [min(max((goal - one) / (2 * goal), 0.0), 1.0) for one in late]
    return (sum(costs) + n_missing * max(costs[-1], NO_PREFERENCE)) / (len(costs) + n_missing)


def outcome_up_to(outcome: MemoryOutcome, n: int) -> MemoryOutcome:
    """Return what had come out at the n-th test, if there was one."""
    if len(outcome.tests) < n:
        return outcome
    return replace(outcome, tests=outcome.tests[:n], stop=type(outcome.stop).RAN)


def settings_up_to(settings: MemorySettings, n: int) -> MemorySettings:
    """Return the settings of a protocol that ends with the n-th test."""
    breaks = settings.breaks_s[:n]
    return replace(settings, breaks_s=breaks, late_s=min(settings.late_s, breaks[-1]))


def measures_of(outcome: MemoryOutcome, settings: MemorySettings) -> dict[str, float]:
    """Return the measures of a run by name, and its loss; of what was not reached the worst values."""
    verdict, tests = verdict_on(outcome, settings), outcome.tests
    stable = verdict.kind != "unstable"
    late = [test.preference for test in tests if test.break_s >= settings.late_s]
    last = tests[-1] if tests else None
    return {
        "loss": loss_of(outcome, settings),
        "stable": float(stable),
        "novelty": float(verdict.kind == "novelty"),
        "preference": min(late) if stable else 0.0,
        "early_preference": tests[0].preference if stable else 0.0,
        "bias_before": abs(outcome.before.preference) if outcome.before else 0.0,
        "rate": last.rate_hz["E"] if last else HIGHEST_HZ,
        "interval_cv": last.interval_cv if last else 0.0,
        "drift": _drift(tests) if stable else 1.0,
        "at_bound": max(last.at_highest.values()) if last else 1.0,
    }


def _is_forgotten(test: MemoryTest, settings: MemorySettings) -> bool:
    """Return whether a late test shows a sound network that does not prefer the novel stimulus."""
    return is_sound(test) and test.break_s >= settings.late_s and test.preference <= PREFERS


def _activity(test: MemoryTest) -> dict[str, float]:
    """What a test fails of rate and intervals, and by how much."""
    rate, failed = test.rate_hz["E"], {}
    if rate < LOWEST_HZ:
        failed["quiet"] = _cost(math.log(LOWEST_HZ / max(rate, 1e-3)) / math.log(100.0))
    if rate > HIGHEST_HZ:
        failed["active"] = _cost(math.log(rate / HIGHEST_HZ) / math.log(10.0))
    if test.interval_cv < LOWEST_CV:
        failed["regular"] = _cost(1.0 - test.interval_cv / LOWEST_CV)
    return failed


def _at_end(test: MemoryTest) -> dict[str, tuple[float, str]]:
    """What the last test fails of weights: by how much, and those of which projection the most."""
    from sims.memory import MemoryCircuit

    largest, failed = MemoryCircuit.largest_weight, {}
    excess = max(
        (math.log(max(test.mean_weight[name], 1e-9) / most) / math.log(largest / most), name)
        for name, most in LARGEST_MEAN.items()
    )
    if excess[0] > 0:
        failed["weights"] = _cost(excess[0]), excess[1]
    share = max((share, name) for name, share in test.at_highest.items())
    if share[0] > MOST_AT_BOUND:
        failed["bounds"] = _cost((share[0] - MOST_AT_BOUND) / (1.0 - MOST_AT_BOUND)), share[1]
    return failed


def _cost(excess: float) -> float:
    return min(max(excess, SMALLEST), 1.0)


def _drift(tests: tuple[MemoryTest, ...]) -> float:
    """Largest relative change of a projection's mean weight per second between the last two tests."""
    if len(tests) < 2:
        return 0.0
    before, last = tests[-2:]
    seconds = last.break_s - before.break_s
    return max(
        abs(last.mean_weight[name] - value) / max(value, 1e-3) / seconds
        for name, value in before.mean_weight.items()
    )

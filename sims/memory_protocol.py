"""Training and tests of the circuit with four plastic projections.

After some time without a stimulus the network sees the familiar one, again and again; then it is left to
itself. Before training, and after each of several breaks, it is shown the novel and the familiar stimulus,
one after the other from one saved state, and goes on from that state as if nothing had been shown. Both
showings begin with the same random numbers, so that their difference comes from the stimuli.

References
----------
Confavreux et al. (2025), "Memory by a thousand rules", bioRxiv 2025.05.28.656584.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, pairwise

import numpy as np
from numpy.typing import NDArray

from sims._checks import check_numbers
from sims._groups import run_groups
from sims.circuit_state import CircuitState
from sims.memory import FAMILIAR, INPUT, NOVEL, PROJECTIONS, MemoryCircuit, Stimulus
from sims.rules import Program
from sims.spike_measures import AT_BOUND
from sims.spike_rules import ActivityLimits, Stop
from sims.spike_splines import TraceSplines
from sims.spiking_circuit import CircuitOutcome, Network, Spikes

__all__ = [
    "MemoryOutcome",
    "MemoryPiece",
    "MemoryProtocol",
    "MemoryTest",
    "pooled_interval_cv",
    "run_memories",
    "run_memory",
]

FloatArray = NDArray[np.float64]

HIGHEST_HZ, WINDOW_S = 100.0, 2.0
"""A run ends where excitatory neurons are above this rate for so long."""

WATCHED_S = 1.0
"""Who watches a run is shown pieces of this length at most."""


@dataclass(frozen=True)
class MemoryProtocol:
    """What a network goes through.

    Parameters
    ----------
    familiar, novel : Stimulus
    background_s : float
        Before training.
    training_s, on_s, off_s : float
        During training the familiar stimulus is on and off in turn, for so long each.
    also : tuple of Stimulus
        Further stimuli that are learned, in turn with the familiar one. Training is so many times longer that
        each is shown as often as the familiar one would be alone. Tests do not ask for them.
    test_s : float
        How long a stimulus is shown in a test.
    breaks_s : tuple of float
        Times of the tests, counted from the end of training, rising; at least 1 s.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    familiar: Stimulus = FAMILIAR
    novel: Stimulus = NOVEL
    background_s: float = 30.0
    training_s: float = 10.0
    on_s: float = 1.0
    off_s: float = 0.01
    test_s: float = 1.0
    breaks_s: tuple[float, ...] = (1.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
    also: tuple[Stimulus, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(
            self, "protocol", positive=("training_s", "on_s", "test_s"), not_negative=("off_s",), counts=()
        )
        if not 1.0 <= self.background_s < math.inf:
            raise ValueError(f"A protocol begins with at least 1 s of background, got {self.background_s} s.")
        breaks = (0.0, *self.breaks_s)
        if len(breaks) < 2 or not all(b - a >= 1.0 for a, b in pairwise(breaks)):
            raise ValueError(f"Breaks rise by at least 1 s from test to test, got {self.breaks_s}.")
        if not math.isfinite(breaks[-1]):
            raise ValueError(f"Breaks are finite, got {self.breaks_s}.")

    @property
    def duration_s(self) -> float:
        """From the start to the last test, tests not counted."""
        return self.background_s + self.trained_s + self.breaks_s[-1]

    @property
    def trained_s(self) -> float:
        """Length of training, with the time for further stimuli."""
        return self.training_s * (1 + len(self.also))

    def training(self) -> Iterator[tuple[Stimulus | None, float]]:
        """Yield the pieces of training: what is shown, and for how long."""
        left, turns = self.trained_s, cycle((self.familiar, *self.also))
        while left > 1e-9:
            for stimulus, seconds in ((next(turns), self.on_s), (None, self.off_s)):
                piece = min(seconds, left)
                if piece > 1e-9:
                    yield stimulus, piece
                left -= piece


@dataclass(frozen=True)
class MemoryTest:
    """What one test finds.

    Attributes
    ----------
    break_s : float
        Since training; negative for the test before it.
    rate_hz : mapping of str to float
        Mean rate of each population in the second before the test.
    interval_cv : float
        Standard deviation over mean of all intervals between spikes of excitatory neurons in that second; 0
        where there are fewer than two.
    mean_weight, at_lowest, at_highest : mapping of str to float
        Of each projection: mean weight, and the share of weights at either bound.
    novel_hz, familiar_hz : float
        Mean rate of excitatory neurons while a stimulus is shown.
    """

    break_s: float
    rate_hz: Mapping[str, float]
    interval_cv: float
    mean_weight: Mapping[str, float]
    at_lowest: Mapping[str, float]
    at_highest: Mapping[str, float]
    novel_hz: float
    familiar_hz: float

    @property
    def preference(self) -> float:
        """How much more excitatory neurons answer to the novel stimulus, from -2 to 2."""
        difference, total = self.novel_hz - self.familiar_hz, self.novel_hz + self.familiar_hz
        return 2.0 * difference / (total + 0.01)


@dataclass(frozen=True)
class MemoryOutcome:
    """What a network went through and what its tests found.

    Attributes
    ----------
    before : MemoryTest or None
        The test before training; None where the run ended sooner.
    tests : tuple of MemoryTest
        Those after the breaks, up to where the run ended.
    stop : Stop
        ``TOO_ACTIVE`` or ``NOT_A_NUMBER`` where the network blew up; ``RAN`` too where a test ended the run.
    completed : float
        Share of the protocol that was gone through.
    state : CircuitState
        At the end.
    """

    before: MemoryTest | None
    tests: tuple[MemoryTest, ...]
    stop: Stop
    completed: float
    state: CircuitState = field(repr=False)


@dataclass(frozen=True)
class MemoryPiece:
    """A piece of a run, for who watches it.

    Attributes
    ----------
    start_s, seconds : float
        When it begins, without the tests before it, and how long it is.
    stimulus : Stimulus or None
        What is shown.
    is_test : bool
        Whether the network goes on from before it.
    spikes : mapping of str to Spikes
        Of both populations.
    state : CircuitState
        At its end.
    """

    start_s: float
    seconds: float
    stimulus: Stimulus | None
    is_test: bool
    spikes: Mapping[str, Spikes] = field(repr=False)
    state: CircuitState = field(repr=False)


def run_memory(
    rules: Mapping[str, Program | TraceSplines | float],
    settings: MemoryCircuit,
    protocol: MemoryProtocol,
    *,
    network: Network | None = None,
    seed: int = 0,
    goes_on: Callable[[MemoryTest], bool] | None = None,
    watch: Callable[[MemoryPiece], None] | None = None,
) -> MemoryOutcome:
    """Train a network and test it after each break.

    The run ends early where excitatory neurons are above 100 Hz for two seconds, after the first two.

    Parameters
    ----------
    rules : mapping of str to Program, TraceSplines or float
        Updates and time constants, see :meth:`Network.run`. Projections without an update keep their weights.
    settings : MemoryCircuit
    protocol : MemoryProtocol
    network : Network, optional
        One of these settings and this seed, where there is one; drawn otherwise.
    seed : int
        Of the network, its initial state and all spikes of inputs.
    goes_on : callable, optional
        Is shown each test after a break; where it says no the run ends.
    watch : callable, optional
        Is shown every piece of the run, of one second at most. Activity is then limited over one second.
    """
    run = _Course(rules, settings, network or Network(settings.circuit(seed), seed), seed, watch)
    tests: list[MemoryTest] = []
    before = None

    def outcome() -> MemoryOutcome:
        done = min(1.0, run.seconds / protocol.duration_s)
        return MemoryOutcome(before, tuple(tests), run.stop, done, run.state)

    if not run.rests(protocol.background_s):
        return outcome()
    before = run.test(-protocol.trained_s, protocol)
    for stimulus, seconds in protocol.training():
        if not run.goes(seconds, stimulus):
            return outcome()
    since = 0.0
    for time in protocol.breaks_s:
        if not run.rests(time - since):
            break
        since = time
        tests.append(run.test(time, protocol))
        if goes_on is not None and not goes_on(tests[-1]):
            break
    return outcome()


def run_memories(
    rules: Sequence[Mapping[str, Program | TraceSplines | float]],
    settings: MemoryCircuit,
    protocol: MemoryProtocol,
    seeds: Sequence[int],
    goes_on: Callable[[MemoryTest], bool] | None = None,
) -> list[list[MemoryOutcome]]:
    """Run each rule in the network of each seed, on threads; for each rule the outcomes of all networks.

    Parameters and what is raised are those of :func:`run_memory`.
    """
    networks = [Network(settings.circuit(seed), seed) for seed in seeds]
    found: dict[int, MemoryOutcome] = {}

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            rule, n = divmod(number, len(seeds))
            found[number] = run_memory(
                rules[rule], settings, protocol, network=networks[n], seed=seeds[n], goes_on=goes_on
            )

    n_runs = len(rules) * len(seeds)
    n_steps = networks[0].circuit.steps(1000.0 * protocol.duration_s) if networks else 0
    run_groups(run, n_runs, n_runs * n_steps * settings.sizes[0], one_by_one=True)
    return [[found[rule * len(seeds) + n] for n in range(len(seeds))] for rule in range(len(rules))]


class _Course:
    """A network on its way through a protocol."""

    def __init__(
        self,
        rules: Mapping[str, Program | TraceSplines | float],
        settings: MemoryCircuit,
        network: Network,
        seed: int,
        watch: Callable[[MemoryPiece], None] | None,
    ) -> None:
        self.state, self.stop, self.seconds = network.initial_state(seed), Stop.RAN, 0.0
        self._watch = watch
        self._rules, self._settings, self._network = rules, settings, network
        self._grace_s = WINDOW_S
        self._latest: Spikes | None = None
        self._rates: dict[str, float] = {}

    def goes(self, seconds: float, stimulus: Stimulus | None = None, *, record: bool = False) -> bool:
        """Run for some time; return whether the network is still sound."""
        while self._watch is not None and seconds > WATCHED_S + 1e-9:
            if not self.goes(WATCHED_S, stimulus):
                return False
            seconds -= WATCHED_S
        limits = ActivityLimits(0.0, HIGHEST_HZ, min(WINDOW_S, seconds), min(self._grace_s, seconds))
        self._grace_s = 0.0
        outcome = self._network.run(
            self._rules, self.state, seconds, rates_hz={INPUT: self._settings.rates_hz(stimulus)},
            limits={"E": limits}, record=self._recorded(record),
        )  # fmt: skip
        self.state, self.stop = outcome.state, outcome.stop
        self._show(stimulus, seconds, outcome)
        self.seconds += outcome.completed * seconds
        self._latest = outcome.spikes.get("E")
        self._rates = {name: float(outcome.rates_hz[name].mean()) for name in ("E", "I")}
        return self.stop == Stop.RAN

    def rests(self, seconds: float) -> bool:
        """Run without a stimulus, and note the spikes of the last second."""
        if seconds > 1.0 and not self.goes(seconds - 1.0):
            return False
        return self.goes(min(seconds, 1.0), record=True)

    def test(self, time: float, protocol: MemoryProtocol) -> MemoryTest:
        """Show both stimuli from the state that there is."""
        shown = []
        for stimulus in (protocol.novel, protocol.familiar):
            outcome = self._network.run(
                self._rules, self.state, protocol.test_s,
                rates_hz={INPUT: self._settings.rates_hz(stimulus)}, record=self._recorded(False),
            )  # fmt: skip
            self._show(stimulus, protocol.test_s, outcome, is_test=True)
            n_spikes = int(outcome.state.arrays.counts[0])
            shown.append(n_spikes / self._settings.sizes[0] / protocol.test_s)
        weights = {name: self.state.weights(name) for name in PROJECTIONS}
        margin, largest = AT_BOUND * self._settings.largest_weight, self._settings.largest_weight
        assert self._latest is not None
        return MemoryTest(
            time, dict(self._rates), pooled_interval_cv(self._latest),
            {name: float(one.mean()) for name, one in weights.items()},
            {name: float(np.mean(one < margin)) for name, one in weights.items()},
            {name: float(np.mean(one > largest - margin)) for name, one in weights.items()}, *shown,
        )  # fmt: skip

    def _recorded(self, needed: bool) -> Sequence[str]:
        return ("E", "I") if self._watch is not None else ("E",) if needed else ()

    def _show(
        self, stimulus: Stimulus | None, seconds: float, outcome: CircuitOutcome, is_test: bool = False
    ) -> None:
        if self._watch is not None:
            piece = MemoryPiece(self.seconds, seconds, stimulus, is_test, outcome.spikes, outcome.state)
            self._watch(piece)


def pooled_interval_cv(spikes: Spikes) -> float:
    """Return the coefficient of variation of the intervals of all neurons together; 0 for fewer than two.

    In a second a neuron has few intervals, and a mean over neurons would be that of a few busy ones.

    Examples
    --------
    >>> pooled_interval_cv(Spikes(np.array([0, 1, 3, 5]), np.array([0, 1, 0, 1])))
    0.14285714285714285
    """
    order = np.lexsort((spikes.step, spikes.neuron))
    same = np.diff(spikes.neuron[order]) == 0
    intervals = np.diff(spikes.step[order])[same]
    return float(intervals.std() / intervals.mean()) if len(intervals) > 1 else 0.0

"""What a readable rule gives away to synapses with constants of their own: completing patterns from memory.

Run with ``python -m benchmarks.pattern_completion --output results/pattern-completion.json``. In an episode a
recurrent network sees a few new patterns of bits, one after the other with pauses; then half of the bits of
one of them, and should say the others. Its connections have a fixed part w and a plastic part, alpha times a
trace H that a rule changes within the episode:

    x_j(t) = tanh(drive_j(t) + sum_i (w_ij + alpha_ij H_ij(t-1)) x_i(t-1))
    H_ij(t) = H_ij(t-1) + eta (x_i(t-1) x_j(t) - H_ij(t-1))                Hebb's product with decay
    H_ij(t) = H_ij(t-1) + eta x_j(t) (x_i(t-1) - x_j(t) H_ij(t-1))         Oja's rule

As published each synapse has a w and an alpha of its own, learnt along the exact gradient through the
episode. A readable rule is the same with one alpha for all synapses and no w: its two constants are learnt
along the same gradient. Here no neuron has a connection to itself.

References
----------
Miconi, Clune & Stanley (2018), ICML, arXiv:1804.02464, equations 1 to 3 and section 4.1; Oja (1982), J. Math.
Biol. 15:267.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.learners import (
    STEP_SIZE,
    arguments_for,
    descended,
    print_rows,
    rows_of,
    side_by_side,
    write_parts,
)

FloatArray = NDArray[np.float64]
Plasticity = Literal["none", "hebb", "oja"]

SCHEMA = "plasticity-discovery/pattern-completion/1"
DRIVE = 20.0
"""Strength of inputs, as in the published program: a neuron with an input does what the input says."""

FIRST_ALPHA, FIRST_RATE = 1.0, 0.01
"""Of a shared rule, and eta of all networks, before learning."""

BATCH = 32
CHUNK = 8
"""Episodes that are run side by side: their traces stay in the cache."""

N_STEPS, N_STEPS_SHARED = 400, 60
SYNAPSE_STEP, CAREFUL_STEP = 0.005, 0.001
"""Steps of Adam for constants of single synapses, from small ones and from a shared rule. Steps as large as
those for shared constants make thousands of them worse together."""

N_TUNING, N_TEST = 512, 1024


@dataclass(frozen=True)
class Settings:
    """What episodes are like.

    Attributes
    ----------
    n_neurons, n_patterns : int
    n_shown, n_pause, n_asked : int
        Steps for which a pattern is shown, of the pause after it, and for which half of its bits are given.
    n_rounds : int
        How often each pattern is shown, each time in another order.
    reach : float
        Distance, in neurons along a ring, over which bits resemble each other; 0 for independent bits.
    """

    n_neurons: int = 50
    n_patterns: int = 4
    n_shown: int = 3
    n_pause: int = 2
    n_asked: int = 5
    n_rounds: int = 2
    reach: float = 0.0


@dataclass(frozen=True)
class Episodes:
    """Episodes that learners meet.

    Attributes
    ----------
    drive : ndarray, shape (n_steps, n_episodes, n_neurons)
    target : ndarray, shape (n_episodes, n_neurons)
        The pattern that is asked for, of -1 and 1.
    missing : ndarray of bool, shape (n_episodes, n_neurons)
        Bits that are not given at the end.
    """

    drive: FloatArray
    target: FloatArray
    missing: NDArray[np.bool_]

    def part(self, start: int, end: int) -> Episodes:
        """Return some of the episodes."""
        return Episodes(self.drive[:, start:end], self.target[start:end], self.missing[start:end])


def drawn_episodes(settings: Settings, n_episodes: int, rng: np.random.Generator) -> Episodes:
    """Draw episodes, each with patterns of its own."""
    n, n_patterns = settings.n_neurons, settings.n_patterns
    patterns = _patterns(settings, (n_episodes, n_patterns), rng)
    rows, shown, pause = np.arange(n_episodes), settings.n_shown, settings.n_pause
    parts = []
    for _ in range(settings.n_rounds):
        order = rng.permuted(np.tile(np.arange(n_patterns), (n_episodes, 1)), axis=1)
        for place in range(n_patterns):
            parts += [patterns[rows, order[:, place]]] * shown + [np.zeros((n_episodes, n))] * pause
    target = patterns[rows, rng.integers(n_patterns, size=n_episodes)]
    missing = rng.permuted(np.tile(np.arange(n) < n // 2, (n_episodes, 1)), axis=1)
    parts += [np.where(missing, 0.0, target)] * settings.n_asked
    return Episodes(DRIVE * np.array(parts), target, missing)


def _patterns(settings: Settings, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Draw bits; smooth random functions on a ring, or independent numbers, say their signs."""
    n = settings.n_neurons
    numbers = rng.normal(size=(*shape, n))
    if settings.reach > 0:
        away = np.minimum(np.arange(n), n - np.arange(n))
        kernel = np.exp(-0.5 * (away / settings.reach) ** 2)
        numbers = np.fft.irfft(np.fft.rfft(numbers) * np.fft.rfft(kernel), n)
    return np.where(numbers > 0, 1.0, -1.0)


@dataclass(frozen=True)
class Answer:
    """The activities of a run, and what the way back needs."""

    activities: FloatArray  # (n_steps + 1, n_episodes, n_neurons), from zero
    traces: list[FloatArray]  # H before each step, (n_episodes, n_neurons, n_neurons); or none


@dataclass(frozen=True)
class Network:
    """A network with fixed and plastic connections, whose parameters are one vector.

    Parameters are w (n_neurons, n_neurons) where it has them; then alpha, of this shape or a single one, and
    the log-odds of the rate eta, where it is plastic.

    Attributes
    ----------
    n_neurons : int
    plasticity : {"none", "hebb", "oja"}
    has_fixed : bool
        Whether there are weights w.
    is_shared : bool
        Whether all synapses have the same alpha.
    """

    n_neurons: int
    plasticity: Plasticity
    has_fixed: bool
    is_shared: bool

    @property
    def n_parameters(self) -> int:
        """Number of constants that are learnt."""
        n_alpha = 1 if self.is_shared else self.n_neurons**2
        return self.has_fixed * self.n_neurons**2 + (0 if self.plasticity == "none" else n_alpha + 1)

    @property
    def is_of_synapse(self) -> NDArray[np.bool_]:
        """Which parameters belong to single synapses."""
        n_shared = 0 if self.plasticity == "none" else 1 + self.is_shared
        return np.arange(self.n_parameters) < self.n_parameters - n_shared

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters to begin with; those of synapses are small."""
        point = rng.normal(0, 0.01, self.n_parameters)
        if self.plasticity != "none":
            point[-1] = np.log(FIRST_RATE / (1 - FIRST_RATE))
            if self.is_shared:
                point[-2] = FIRST_ALPHA
        return point

    def start_from(self, shared: FloatArray) -> FloatArray:
        """Return the parameters under which this network does what one with a shared rule and no w does."""
        if self.plasticity == "none" or len(shared) != 2:
            raise ValueError("A network begins with a shared rule's alpha and rate, two numbers.")
        n_alpha = 1 if self.is_shared else self.n_neurons**2
        fixed = np.zeros(self.has_fixed * self.n_neurons**2)
        return np.concatenate([fixed, np.full(n_alpha, shared[0]), shared[1:]])

    def _parts(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Return w, alpha and eta; the first two of shape (n_neurons, n_neurons), zero at the diagonal."""
        n, others = self.n_neurons, 1 - np.eye(self.n_neurons)
        fixed = parameters[: n * n].reshape(n, n) * others if self.has_fixed else np.zeros((n, n))
        if self.plasticity == "none":
            return fixed, np.zeros((n, n)), 0.0
        alpha = parameters[-2] if self.is_shared else parameters[-1 - n * n : -1].reshape(n, n)
        return fixed, alpha * others, float(1 / (1 + np.exp(-parameters[-1])))

    def run(self, parameters: FloatArray, episodes: Episodes, is_kept: bool = False) -> Answer:
        """Let the network meet episodes; keep the traces of all steps, or none."""
        fixed, alpha, rate = self._parts(parameters)
        n_steps, n_episodes, n = episodes.drive.shape
        x = np.zeros((n_steps + 1, n_episodes, n))
        trace, traces = np.zeros((n_episodes, n, n)), []
        for t in range(n_steps):
            current = episodes.drive[t] + x[t] @ fixed
            if self.plasticity != "none":
                current += (x[t][:, None] @ (alpha * trace))[:, 0]
                if is_kept:
                    traces.append(trace)
            x[t + 1] = np.tanh(current)
            if self.plasticity != "none":
                change = x[t][:, :, None] * x[t + 1][:, None]
                change -= trace * self._decay(x[t + 1])
                change *= rate
                trace = trace + change
        return Answer(x, traces)

    def _decay(self, post: FloatArray) -> FloatArray:
        """By what the trace is multiplied where it decays, (n_episodes, 1, n_neurons)."""
        return (post**2 if self.plasticity == "oja" else np.ones_like(post))[:, None]

    def losses(self, parameters: FloatArray, episodes: Episodes) -> FloatArray:
        """Mean square error of the missing bits in each episode; 1 for activities of zero."""
        return self._judged(parameters, episodes, lambda end, target: (end - target) ** 2)

    def bit_errors(self, parameters: FloatArray, episodes: Episodes) -> FloatArray:
        """Share of the missing bits with the wrong sign in each episode; zero is half wrong."""
        return self._judged(parameters, episodes, lambda end, target: 0.5 - 0.5 * np.sign(end) * target)

    def _judged(self, parameters: FloatArray, episodes: Episodes, error: Any) -> FloatArray:
        found = []
        for start in range(0, len(episodes.target), CHUNK):
            some = episodes.part(start, start + CHUNK)
            errors = error(self.run(parameters, some).activities[-1], some.target)
            found.append((errors * some.missing).sum(axis=1) / some.missing.sum(axis=1))
        return np.concatenate(found)

    def gradient(self, parameters: FloatArray, episodes: Episodes) -> FloatArray:
        """Exact derivative of the mean loss by the parameters, back through the episode."""
        total = np.zeros_like(parameters)
        for start in range(0, len(episodes.target), CHUNK):
            total += self._summed_gradient(parameters, episodes.part(start, start + CHUNK))
        return total / len(episodes.target)

    def _summed_gradient(self, parameters: FloatArray, episodes: Episodes) -> FloatArray:
        fixed, alpha, rate = self._parts(parameters)
        answer = self.run(parameters, episodes, is_kept=True)
        x, weights = answer.activities, episodes.missing / episodes.missing.sum(axis=1, keepdims=True)
        by_fixed, by_alpha, by_rate = np.zeros_like(fixed), np.zeros_like(alpha), 0.0
        by_x = 2 * weights * (x[-1] - episodes.target)
        by_trace = np.zeros((x.shape[1], self.n_neurons, self.n_neurons))
        for t in range(len(x) - 2, -1, -1):
            by_before = np.zeros_like(by_x)
            if self.plasticity != "none":
                trace, decay = answer.traces[t], self._decay(x[t + 1])
                product = x[t][:, :, None] * x[t + 1][:, None]
                by_rate += float(np.sum(by_trace * (product - trace * decay)))
                by_x = by_x + rate * (x[t][:, None] @ by_trace)[:, 0]
                if self.plasticity == "oja":
                    by_x -= 2 * rate * x[t + 1] * (by_trace * trace).sum(axis=1)
                by_before += rate * (by_trace @ x[t + 1][:, :, None])[:, :, 0]
                by_trace = by_trace * (1 - rate * decay)
            by_current = by_x * (1 - x[t + 1] ** 2)
            by_fixed += x[t].T @ by_current
            by_before += by_current @ fixed.T
            if self.plasticity != "none":
                by_weight = x[t][:, :, None] * by_current[:, None]
                by_alpha += (trace * by_weight).sum(axis=0)
                by_before += ((alpha * trace) @ by_current[:, :, None])[:, :, 0]
                by_trace += alpha * by_weight
            by_x = by_before
        return self._joined(by_fixed, by_alpha, by_rate * rate * (1 - rate))

    def _joined(self, by_fixed: FloatArray, by_alpha: FloatArray, by_rate: float) -> FloatArray:
        others = 1 - np.eye(self.n_neurons)
        parts = [(by_fixed * others).ravel()] if self.has_fixed else []
        if self.plasticity != "none":
            by_alpha = by_alpha * others
            parts += [[by_alpha.sum()] if self.is_shared else by_alpha.ravel(), [by_rate]]
        return np.concatenate(parts)


def learned(
    network: Network,
    settings: Settings,
    start: FloatArray,
    n_steps: int,
    rng: np.random.Generator,
    synapse_step: float = SYNAPSE_STEP,
) -> FloatArray:
    """Return parameters after Adam, each step with fresh episodes."""
    return descended(
        lambda point: network.gradient(point, drawn_episodes(settings, BATCH, rng)),
        start,
        n_steps,
        np.where(network.is_of_synapse, synapse_step, STEP_SIZE),
    )


@dataclass(frozen=True)
class Judged:
    """A learner: its mean loss on the tuning episodes, its losses and bit errors on the test episodes."""

    point: FloatArray
    tuning: float
    losses: FloatArray
    bit_errors: FloatArray


def judged(network: Network, point: FloatArray, settings: Settings, seed: int, n_test: int) -> Judged:
    """Measure a learner on episodes that depend on the seed alone."""
    seeds = np.random.SeedSequence(seed).spawn(2)
    sizes = min(N_TUNING, n_test), n_test
    tuning, test = (
        drawn_episodes(settings, size, np.random.default_rng(one))
        for size, one in zip(sizes, seeds, strict=True)
    )
    loss = float(network.losses(point, tuning).mean())
    return Judged(point, loss, network.losses(point, test), network.bit_errors(point, test))


def learned_anew(
    network: Network,
    settings: Settings,
    n_steps: int,
    child: np.random.SeedSequence,
    seed: int,
    n_test: int,
) -> Judged:
    """Return what was learnt from small random constants."""
    rng = np.random.default_rng(child)
    point = learned(network, settings, network.start(rng), n_steps, rng)
    return judged(network, point, settings, seed, n_test)


def networks(n_neurons: int) -> dict[str, Network]:
    """Return the learners that are compared, by name."""
    return {
        "fixed weights alone": Network(n_neurons, "none", has_fixed=True, is_shared=True),
        "Hebb with decay, shared": Network(n_neurons, "hebb", has_fixed=False, is_shared=True),
        "Oja, shared": Network(n_neurons, "oja", has_fixed=False, is_shared=True),
        "Hebb, shared, and fixed weights": Network(n_neurons, "hebb", has_fixed=True, is_shared=True),
        "Hebb, per synapse": Network(n_neurons, "hebb", has_fixed=True, is_shared=False),
        "Oja, per synapse": Network(n_neurons, "oja", has_fixed=True, is_shared=False),
    }


FROM_RULE = ", from the shared rule"


def compared(
    settings: Settings,
    seed: int,
    n_starts: int,
    n_steps: int = N_STEPS,
    n_steps_shared: int = N_STEPS_SHARED,
    n_test: int = N_TEST,
    n_workers: int = 1,
) -> dict[str, Any]:
    """Learn all networks, and measure them on the same fresh episodes.

    The formula is the shared rule that has the lower loss on the tuning episodes. Its network with an alpha
    for each synapse is learnt once more from it, and stays the shared rule where it gets no better.

    Parameters
    ----------
    settings : Settings
    seed, n_starts : int
    n_steps, n_steps_shared : int
        Steps of Adam of networks with constants of each synapse, and of shared rules.
    n_test : int
        Episodes on which all are judged.
    n_workers : int
        Processes in which starts run side by side.
    """
    start_seed, last = np.random.SeedSequence([seed, 1]).spawn(2)
    best: dict[str, Judged] = {}
    starts: dict[str, list[float]] = {}

    def settle(name: str, found: Sequence[Judged]) -> None:
        starts[name] = [one.tuning for one in found]
        best[name] = min(found, key=lambda one: one.tuning)

    learners = networks(settings.n_neurons)
    jobs = [
        (
            learned_anew,
            network,
            settings,
            n_steps if network.has_fixed else n_steps_shared,
            child,
            seed,
            n_test,
        )
        for network in learners.values()
        for child in start_seed.spawn(n_starts)
    ]
    found = side_by_side(jobs, n_workers)
    for number, name in enumerate(learners):
        settle(name, found[number * n_starts : (number + 1) * n_starts])
    shared = ("Hebb with decay, shared", "Oja, shared")
    formula = min(shared, key=lambda name: best[name].tuning)
    name = "Hebb, per synapse" if formula == shared[0] else "Oja, per synapse"
    network, rng = learners[name], np.random.default_rng(last)
    start = network.start_from(best[formula].point)
    end = learned(network, settings, start, n_steps, rng, CAREFUL_STEP)
    settle(name + FROM_RULE, [judged(network, one, settings, seed, n_test) for one in (start, end)])
    losses = {name: one.losses for name, one in best.items()}
    rows = rows_of(losses, formula)
    for row in rows:
        row["bit_error"] = float(best[row["learner"]].bit_errors.mean())
    points = {name: best[name].point for name in shared}
    constants = {name: [float(one[0]), float(1 / (1 + np.exp(-one[1])))] for name, one in points.items()}
    return {
        "settings": vars(settings),
        "formula": formula,
        "alpha_and_eta": constants,
        "tuning_losses_of_starts": starts,
        "n_test": n_test,
        "rows": rows,
    }


def main() -> None:
    """Run, print and write."""
    parser = arguments_for(__doc__.splitlines()[0], "results/pattern-completion.json", 2)
    parser.add_argument("--reaches", type=float, nargs="+", default=[0.0, 2.0], help="0: independent bits")
    parser.add_argument("--neurons", type=int, default=Settings.n_neurons)
    parser.add_argument("--patterns", type=int, default=Settings.n_patterns)
    parser.add_argument(
        "--steps", type=int, default=N_STEPS, help="of Adam, where synapses have own constants"
    )
    parser.add_argument("--shared-steps", type=int, default=N_STEPS_SHARED, help="of Adam, for shared rules")
    parser.add_argument("--episodes", type=int, default=N_TEST, help="on which all are judged")
    arguments = parser.parse_args()
    parts = []
    for reach in arguments.reaches:
        settings = Settings(n_neurons=arguments.neurons, n_patterns=arguments.patterns, reach=reach)
        efforts = arguments.steps, arguments.shared_steps, arguments.episodes, arguments.workers
        parts.append(compared(settings, arguments.seed, arguments.starts, *efforts))
        found = parts[-1]
        print_rows(f"reach {reach:g}: {found['formula']}, {found['alpha_and_eta']}", found["rows"])
        for row in found["rows"]:
            print(f"  {row['learner']:48s} wrong bits {row['bit_error']:.4f}")
    write_parts(arguments.output, parts, SCHEMA)


if __name__ == "__main__":
    main()

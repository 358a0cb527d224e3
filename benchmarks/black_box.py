"""What a readable rule gives away: learners without one, on the choices of the task ``bandit``.

Run with ``python -m benchmarks.black_box --output results/black-box.json``. With ``--task reward`` or
``--task error`` the rules of these tasks are compared, see :mod:`benchmarks.network_update`. In ``bandit``
three learners meet the environments that the rules meet: weights that a small network changes (it sees what a
rule sees), a recurrent network that sees the choice and the reward, and an observer who knows the
probabilities and the volatility and keeps the exact posterior. With two options of which one is the best,
each choice tells the same, so nobody loses less than that observer in the mean.

Both networks learn by Adam along the gradient of the expected regret that the task estimates: the derivative
along the run with its choices held, and the logarithm of the probability of each choice times its credit.

References
----------
Andrychowicz et al. (2016), arXiv:1606.04474 (learned updates); Wang et al. (2016), arXiv:1611.05763
(recurrent learners of choices); Kingma & Ba (2015), ICLR, algorithm 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import network_update
from benchmarks.learners import arguments_for, descended, known_losses, print_rows, rows_of, write_parts
from discover.rule import Rule
from discover.slots import CHOICE
from discover.tasks import get_task
from discover.tasks.bandit import BanditProblems, BanditSettings, credits_of
from pipelines.config import load_toml

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_UNITS = 12
N_STEPS, BATCH = 600, 64
N_TRAIN, N_TUNING, N_TEST = 2048, 256, 2048
SCHEMA = "plasticity-discovery/black-box/1"

FOUND = {
    "bandit-still": "13.77*x*R - 6.884*x",
    "bandit": "-0.4483*(w - (R - 0.6423*m)/(1 - 0.9679*x))",
    "bandit-volatile": "-1.767 + 1.037*x*w + 0.07598*w**2 - 1.767*x*w*R",
}
"""What the pipelines found, with the seeds of their files (docs/tasks/bandit.md)."""


@dataclass(frozen=True)
class Run:
    """One run of a learner: its probabilities, choices and regrets, and what the way back needs."""

    y: FloatArray  # (n_problems, n_trials, n_options)
    choices: IntArray  # (n_problems, n_trials)
    regrets: FloatArray  # (n_problems, n_trials)
    kept: tuple[FloatArray, ...]


class Learner(ABC):
    """A learner of choices whose parameters are one vector."""

    @abstractmethod
    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters to begin with."""

    @abstractmethod
    def run(self, parameters: FloatArray, problems: BanditProblems, choices: IntArray | None = None) -> Run:
        """Choose in all problems; or make the choices that are given."""

    @abstractmethod
    def pull(
        self, parameters: FloatArray, problems: BanditProblems, run: Run, by_y: FloatArray
    ) -> FloatArray:
        """Return the derivative by the parameters, from that by the probabilities of each trial."""

    def losses(self, parameters: FloatArray, problems: BanditProblems) -> FloatArray:
        """Relative regret of each problem, as the task has it."""
        return self.run(parameters, problems).regrets.sum(axis=1) / blind(problems)

    def gradient(self, parameters: FloatArray, problems: BanditProblems) -> tuple[float, FloatArray]:
        """Mean loss, and the estimate of the gradient of the expected one."""
        run, scale = self.run(parameters, problems), 1 / blind(problems)
        losses = run.regrets * scale[:, None]
        credits = credits_of(losses, np.ones(len(losses), dtype=np.bool_), problems.settings.credit_trials)
        slopes = surrogate_slopes(run, problems, scale, credits)
        return float(losses.sum(axis=1).mean()), self.pull(parameters, problems, run, slopes)


@dataclass(frozen=True)
class LearnedUpdate(Learner):
    """Weights that a network of one hidden layer changes; it sees x, y, w, R and m, as rules do."""

    n_units: int = N_UNITS

    def _parts(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        n = self.n_units
        return (
            parameters[: 5 * n].reshape(5, n),
            parameters[5 * n : 6 * n],
            parameters[6 * n : 7 * n],
            parameters[-1],
        )

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters to begin with."""
        n = self.n_units
        return np.concatenate([rng.normal(0, 0.7, 6 * n), rng.normal(0, 0.1, n + 1)])

    def run(self, parameters: FloatArray, problems: BanditProblems, choices: IntArray | None = None) -> Run:
        """Choose in all problems; or make the choices that are given."""
        into, offset, out, last = self._parts(parameters)
        n_problems, n_trials, n_options = problems.rewards.shape
        settings, rows = problems.settings, np.arange(n_problems)
        w, m = np.zeros((n_problems, n_options)), np.zeros(n_problems)
        y = np.zeros(problems.rewards.shape)
        made = np.zeros((n_problems, n_trials), dtype=np.int64)
        seen = np.zeros((n_trials, n_problems, n_options, 5))
        hidden = np.zeros((n_trials, n_problems, n_options, self.n_units))
        for t in range(n_trials):
            y[:, t] = softmax(settings.sharpness * w)
            made[:, t] = drawn(y[:, t], problems.uniforms[:, t]) if choices is None else choices[:, t]
            reward = problems.rewards[rows, t, made[:, t]]
            seen[t, rows, made[:, t], 0] = 1.0
            seen[t, :, :, 1], seen[t, :, :, 2] = y[:, t], w
            seen[t, :, :, 3], seen[t, :, :, 4] = reward[:, None], m[:, None]
            hidden[t] = np.tanh(seen[t] @ into + offset)
            w = w + settings.learning_rate * (hidden[t] @ out + last)
            m = m + (reward - m) / settings.mean_trials
        return Run(y, made, regrets_of(y, problems), (seen, hidden))

    def pull(
        self, parameters: FloatArray, problems: BanditProblems, run: Run, by_y: FloatArray
    ) -> FloatArray:
        """Return the derivative by the parameters, from that by the probabilities of each trial."""
        into, offset, out, _ = self._parts(parameters)
        (seen, hidden), settings = run.kept, problems.settings
        by_into, by_offset, by_out, by_last = (
            np.zeros_like(into),
            np.zeros_like(offset),
            np.zeros_like(out),
            0.0,
        )
        by_w = np.zeros(run.y[:, 0].shape)
        for t in range(run.y.shape[1] - 1, -1, -1):
            change = settings.learning_rate * by_w
            by_last += change.sum()
            by_out += np.einsum("po,poh->h", change, hidden[t])
            inner = change[:, :, None] * out * (1 - hidden[t] ** 2)
            by_into += np.einsum("poi,poh->ih", seen[t], inner)
            by_offset += inner.sum(axis=(0, 1))
            by_seen = inner @ into.T
            slope = by_y[:, t] + by_seen[:, :, 1]
            by_w = by_w + by_seen[:, :, 2] + settings.sharpness * pulled_softmax(run.y[:, t], slope)
        return np.concatenate([by_into.ravel(), by_offset, by_out, [by_last]])


@dataclass(frozen=True)
class Recurrent(Learner):
    """A recurrent network that sees its last choice and whether it was rewarded; for two options."""

    n_units: int = N_UNITS

    def _parts(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        n = self.n_units
        ends = np.cumsum([n * n, 3 * n, n])
        within, seen, offset, out = np.split(parameters, ends)
        return within.reshape(n, n), seen.reshape(3, n), offset, out

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters to begin with."""
        n = self.n_units
        within = 0.5 * np.eye(n) + rng.normal(0, 0.3 / np.sqrt(n), (n, n))
        return np.concatenate([within.ravel(), rng.normal(0, 0.5, 4 * n), rng.normal(0, 0.3, n)])

    def run(self, parameters: FloatArray, problems: BanditProblems, choices: IntArray | None = None) -> Run:
        """Choose in all problems; or make the choices that are given."""
        within, inward, offset, out = self._parts(parameters)
        n_problems, n_trials, _ = problems.rewards.shape
        rows = np.arange(n_problems)
        states = np.zeros((n_trials + 1, n_problems, self.n_units))
        seen = np.zeros((n_trials, n_problems, 3))
        y = np.zeros(problems.rewards.shape)
        made = np.zeros((n_problems, n_trials), dtype=np.int64)
        for t in range(n_trials):
            logit = states[t] @ out
            y[:, t] = softmax(np.stack([logit, -logit], axis=1))
            made[:, t] = drawn(y[:, t], problems.uniforms[:, t]) if choices is None else choices[:, t]
            side, reward = 1.0 - 2.0 * made[:, t], problems.rewards[rows, t, made[:, t]]
            seen[t] = np.stack([side, reward, side * reward], axis=1)
            states[t + 1] = np.tanh(states[t] @ within + seen[t] @ inward + offset)
        return Run(y, made, regrets_of(y, problems), (states, seen))

    def pull(
        self, parameters: FloatArray, problems: BanditProblems, run: Run, by_y: FloatArray
    ) -> FloatArray:
        """Return the derivative by the parameters, from that by the probabilities of each trial."""
        within, inward, offset, out = self._parts(parameters)
        states, seen = run.kept
        by_within, by_inward = np.zeros_like(within), np.zeros_like(inward)
        by_offset, by_out = np.zeros_like(offset), np.zeros_like(out)
        by_state = np.zeros_like(states[0])
        for t in range(len(seen) - 1, -1, -1):
            inner = by_state * (1 - states[t + 1] ** 2)
            by_within += states[t].T @ inner
            by_inward += seen[t].T @ inner
            by_offset += inner.sum(axis=0)
            slope = pulled_softmax(run.y[:, t], by_y[:, t])
            by_logit = slope[:, 0] - slope[:, 1]
            by_out += by_logit @ states[t]
            by_state = inner @ within.T + by_logit[:, None] * out
        return np.concatenate([by_within.ravel(), by_inward.ravel(), by_offset, by_out])


def observer_losses(problems: BanditProblems) -> FloatArray:
    """Relative regret of who knows both probabilities and the volatility, and keeps the exact posterior."""
    settings, n_problems = problems.settings, problems.n_problems
    rows, first = np.arange(n_problems), np.full(n_problems, 0.5)  # probability that the first option is best
    y = np.zeros(problems.rewards.shape)
    for t in range(problems.n_steps):
        choice = (first < 0.5).astype(np.int64)
        y[rows, t, choice] = 1.0
        reward = problems.rewards[rows, t, choice]
        speaks_for_first = (reward > 0.5) == (choice == 0)
        likely = np.where(speaks_for_first, settings.high, settings.low)
        # As high + low = 1, an option that is not the best one fails as often as the best one succeeds.
        first = first * likely / (first * likely + (1 - first) * (1 - likely))
        first = first * (1 - settings.volatility) + (1 - first) * settings.volatility
    losses: FloatArray = regrets_of(y, problems).sum(axis=1) / blind(problems)
    return losses


def surrogate_slopes(
    run: Run, problems: BanditProblems, scale: FloatArray, credits: FloatArray
) -> FloatArray:
    """Derivative by probabilities of the mean over problems of regrets plus credited logarithms."""
    n_problems, n_trials, _ = run.y.shape
    rows, trials = np.arange(n_problems)[:, None], np.arange(n_trials)
    slopes = -problems.values * scale[:, None, None]
    slopes[rows, trials, run.choices] += credits / run.y[rows, trials, run.choices]
    result: FloatArray = slopes / n_problems
    return result


def regrets_of(y: FloatArray, problems: BanditProblems) -> FloatArray:
    """What the best option of each trial gives more than the probabilities promise."""
    regrets: FloatArray = problems.values.max(axis=2) - (y * problems.values).sum(axis=2)
    return regrets


def blind(problems: BanditProblems) -> FloatArray:
    """Regret of who chooses blindly, (n_problems,)."""
    whole: FloatArray = (problems.values.max(axis=2) - problems.values.mean(axis=2)).sum(axis=1)
    return whole


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities of options, which stand last."""
    sizes = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: FloatArray = sizes / sizes.sum(axis=-1, keepdims=True)
    return result


def pulled_softmax(y: FloatArray, slopes: FloatArray) -> FloatArray:
    """Derivative by logits, from that by probabilities."""
    result: FloatArray = y * (slopes - (y * slopes).sum(axis=-1, keepdims=True))
    return result


def drawn(y: FloatArray, uniforms: FloatArray) -> IntArray:
    """Choices: the first option whose cumulated probability exceeds the uniform number."""
    passed = (uniforms[:, None] >= y.cumsum(axis=1)).sum(axis=1)
    return np.minimum(passed, y.shape[1] - 1)


def learned(
    learner: Learner, problems: BanditProblems, rng: np.random.Generator, n_steps: int = N_STEPS
) -> FloatArray:
    """Return parameters after Adam, each step with other problems."""
    start = learner.start(rng)

    def gradient_at(point: FloatArray) -> FloatArray:
        picks = rng.choice(problems.n_problems, min(BATCH, problems.n_problems), replace=False)
        return learner.gradient(point, problems.subset(picks))[1]

    return descended(gradient_at, start, n_steps)


def compared(name: str, seed: int, n_starts: int, n_steps: int = N_STEPS) -> dict[str, Any]:
    """Learn all learners of one pipeline, and measure all losses on the same problems."""
    task, settings = get_task("bandit"), _settings(name)
    train_seed, tuning_seed, test_seed, start_seed = np.random.SeedSequence(seed).spawn(4)
    train = task.draw(settings, N_TRAIN, train_seed)
    tuning = task.draw(settings, N_TUNING, tuning_seed)
    test = task.draw(settings, N_TEST, test_seed)
    losses = {"observer": observer_losses(test), "formula": task.losses(_rule(FOUND[name]), test)}
    losses |= known_losses(task, tuning, test)
    for kind, learner in (("learned update", LearnedUpdate()), ("recurrent network", Recurrent())):
        children = start_seed.spawn(n_starts)
        points = [learned(learner, train, np.random.default_rng(child), n_steps) for child in children]
        best = min(points, key=lambda point: float(learner.losses(point, tuning).mean()))
        losses[kind] = learner.losses(best, test)
    return {
        "pipeline": name,
        "formula": FOUND[name],
        "n_test": N_TEST,
        "n_starts": n_starts,
        "rows": rows_of(losses),
    }


def _settings(name: str) -> BanditSettings:
    settings: BanditSettings = load_toml(Path(f"pipelines/{name}.toml")).problems
    if abs(settings.high + settings.low - 1) > 1e-12 or settings.n_options != 2 or settings.reversal:
        raise ValueError("The observer is exact for two options, high + low = 1 and no reversal in mid-run.")
    return settings


def _rule(text: str) -> Rule:
    return Rule.parse({CHOICE.name: text})


def main() -> None:
    """Run, print and write."""
    parser = arguments_for("A formula beside learners without one.", "results/black-box.json", 2)
    parser.add_argument("--task", choices=("bandit", *network_update.FOUND), default="bandit")
    parser.add_argument(
        "--pipelines", default=",".join(FOUND), help="of the task bandit, with commas between"
    )
    arguments = parser.parse_args()
    parts = []
    names = arguments.pipelines.split(",") if arguments.task == "bandit" else [arguments.task]
    for name in names:
        asked = name, arguments.seed, arguments.starts
        if arguments.task == "bandit":
            parts.append(compared(*asked))
        else:
            parts.append(network_update.compared(*asked, arguments.workers))
        print_rows(f"{name}: {parts[-1]['formula']}", parts[-1]["rows"])
    write_parts(arguments.output, parts, SCHEMA)


if __name__ == "__main__":
    main()

"""The set of all rules that balance a neuron, beside the surface on which one line of algebra puts them.

For independent spike trains a weight stands still at the postsynaptic rate
``-alpha*pre / (beta + (gamma*tau_pre + kappa*tau_post)*pre)``. So theory predicts a surface of rules that
reach a target rate. Many restarts of the search say which of these rules a simulated circuit really accepts,
where found rules lie off the surface, what correlations between the trains explain of it, and which
combinations of parameters the task leaves free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.fit import FitSettings
from discover.fit.cmaes import evolve
from discover.journal import Arrays, Journal, JournaledTask, remembered
from discover.predict import LinearParameters, mean_field_rate
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.spread import losses_of_population, spread
from discover.stored import Artefact, NumberOrNaN, Stored
from discover.tasks._balance import BalanceTask, SpikeTrains, losses_of, tuning_of
from discover.tasks._balance_problems import BalanceProblems, mean_input_rate
from discover.tasks.base import Task
from discover.traces import trace_at

__all__ = ["Direction", "Manifold", "Solution", "covariances", "judged", "manifold", "surface_rules"]

FloatArray = NDArray[np.float64]

COORDINATES = ("alpha", "beta", "gamma*tau_pre", "kappa*tau_post", "log tau_pre", "log tau_post")
"""Coordinates of a rule; the first four are relative to ``gamma*tau_pre + kappa*tau_post``."""

CONVERGED = 0.3
"""Held-out loss up to which a restart has converged."""

TOLERANCE = 0.2
"""How far, relative to the simulated rate, the predicted one may lie from it."""

TUNED = 0.9
"""Correlation of the currents from which on inhibition counts as tuned."""

PULL = 6.0
"""``beta + (gamma*tau_pre + kappa*tau_post)*pre`` of rules drawn from the surface; Vogels' rule has 2."""

LARGEST_LOG = 2.5
SPREAD = 0.5


@dataclass(frozen=True)
class Solution(Stored):
    """One rule of the published family, in simulation and in theory.

    Attributes
    ----------
    parameters : LinearParameters
    loss : float
        Mean over held-out problems.
    simulated_hz, predicted_hz, corrected_hz : float
        Output rate; by the mean field; and by the mean field with the measured covariances. Means over the
        problems; NaN where there is none.
    tuning : float
        Correlation over channels of the mean currents.
    converged : bool
        Whether the loss is small.
    on_surface : bool
        Whether the predicted rate is within tolerance of the simulated one.
    """

    parameters: LinearParameters
    loss: NumberOrNaN
    simulated_hz: NumberOrNaN
    predicted_hz: NumberOrNaN
    corrected_hz: NumberOrNaN
    tuning: NumberOrNaN
    converged: bool
    on_surface: bool


@dataclass(frozen=True)
class Direction(Stored):
    """A principal direction of the set of converged rules.

    Attributes
    ----------
    spread : float
        Standard deviation of the rules along it: large where the task leaves the combination free.
    weights : mapping from str to float
        Its components, of unit length together.
    """

    spread: float
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Manifold(Artefact):
    """``manifold.json``: what many restarts found, compared with what a mean field predicts.

    Attributes
    ----------
    task : str
    target_hz, pre_hz : float
        Target, and mean rate of an inhibitory input.
    tolerance : float
        Of the surface.
    converged_loss : float
        Held-out loss up to which a restart has converged.
    searched : tuple of Solution
        From the whole loss, one a restart.
    rate_only : tuple of Solution
        From the rate's share of the loss alone, judged by the whole.
    surface : tuple of Solution
        Rules drawn from the surface and simulated.
    directions : tuple of Direction
        Of the converged ones of `searched`, the widest first.
    answers : mapping from str to str
        What the study says, in words.
    """

    kind = "manifold"
    task: str
    target_hz: Annotated[float, Gt(0)]
    pre_hz: Annotated[float, Gt(0)]
    tolerance: float
    converged_loss: float = field(default=CONVERGED, kw_only=True)
    searched: tuple[Solution, ...]
    rate_only: tuple[Solution, ...]
    surface: tuple[Solution, ...]
    directions: tuple[Direction, ...]
    answers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", self.answers or self._in_words())

    def _in_words(self) -> dict[str, str]:
        converged = [one for one in self.searched if one.converged]
        off = [one for one in converged if not one.on_surface]
        failing = [one for one in self.surface if not one.converged]
        untuned = [one for one in failing if one.tuning < TUNED]
        excluded = [
            one for one in self.rate_only if abs(one.simulated_hz / self.target_hz - 1) < self.tolerance
        ]
        flat = [one for one in excluded if one.tuning < TUNED]
        shift = [one.predicted_hz / one.simulated_hz - 1 for one in converged if one.on_surface]
        rest = [one.corrected_hz / one.simulated_hz - 1 for one in converged if np.isfinite(one.corrected_hz)]
        return {
            "on the surface": f"{len(converged) - len(off)} of {len(converged)} converged restarts "
            f"(of {len(self.searched)}) lie within {self.tolerance:.0%} of the mean-field surface.",
            "not predicted": f"Which found rules does the algebra not predict? {len(off)} of "
            f"{len(converged)} converged ones lie off the surface{_examples(off)}.",
            "covariance": "The mean field puts the rate "
            + (
                f"{_percent(shift)} from the simulated one; with the measured covariances of the spike "
                f"trains {_percent(rest)} are left."
                if shift
                else "nowhere near: no restart converged on the surface."
            ),
            "fails in simulation": f"Which of its rules fail in simulation? {len(failing)} of "
            f"{len(self.surface)} drawn from the surface{_examples(failing)}. {len(untuned)} of these leave "
            "inhibition untuned.",
            "excluded by tuning": f"Asked for the rate alone, {len(excluded)} of {len(self.rate_only)} "
            f"restarts reach it; {len(flat)} of these without tuned inhibition, and the tuning term excludes "
            "them.",
        }


NUMBERS = ("loss", "simulated_hz", "predicted_hz", "corrected_hz", "tuning")
FLAGS = ("converged", "on_surface")

MOST_EXAMPLES = 3


def manifold(
    task: Task,
    settings: Any,
    fit: FitSettings,
    restarts: int,
    seed: int,
    progress: Progress = silent,
    *,
    n_rate_only: int | None = None,
    n_surface: int = 24,
    journal: Journal | None = None,
) -> Manifold:
    """Search the published family from many random starts and set what is found beside the mean field.

    Parameters
    ----------
    task : Task
        One of balance, such as ``ei-balance``.
    settings : BalanceSettings
    fit : FitSettings
        Budget: `population`, `steps`, `n_train`, `n_heldout`.
    restarts : int
    seed : int
    progress : callable, optional
    n_rate_only : int, optional
        Restarts that ask for the rate alone; default a quarter of `restarts`.
    n_surface : int
        Rules to draw from the mean-field surface and to simulate.
    journal : Journal, optional
        Keeps what was simulated, so that a study that was cut off goes on where it was.

    Returns
    -------
    Manifold

    Raises
    ------
    TaskError
        If the task is not one of balance.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 4; Vogels et al. (2011), Science 334:1569.
    """
    if not isinstance(task, BalanceTask):
        raise TaskError("A manifold of rules is studied for tasks of balance, such as ei-balance.")
    n_flat = max(1, restarts // 4) if n_rate_only is None else n_rate_only
    train_seed, heldout_seed, surface_seed, *starts = np.random.SeedSequence(seed).spawn(
        3 + restarts + n_flat
    )
    train = task.draw(settings, fit.n_train, train_seed)
    heldout = task.draw(settings, fit.n_heldout, heldout_seed)
    kept = task if journal is None else JournaledTask(task, journal)
    rate_settings = replace(settings, tuning_weight=0.0)
    rate_train = replace(train, settings=rate_settings)
    found = spread(
        _searched,
        kept,
        [(train if number < restarts else rate_train, fit, child) for number, child in enumerate(starts)],
        part(progress, 0.0, 0.8),
        [
            f"restart {number + 1} of {len(starts)}{', rate alone' if number >= restarts else ''}"
            for number in range(len(starts))
        ],
        has_populations=True,
    )
    progress(0.8, "trying the rules on held-out problems")
    solutions = _remembered_judgement(kept, found, heldout)
    progress(0.9, "trying rules of the mean-field surface")
    drawn = surface_rules(
        settings.target_hz, _pre_hz(heldout), n_surface, np.random.default_rng(surface_seed)
    )
    on_surface = _remembered_judgement(kept, drawn, heldout)
    progress(1.0, f"{len(starts)} restarts done")
    searched = solutions[:restarts]
    return Manifold(
        task.name,
        settings.target_hz,
        float(_pre_hz(heldout).mean()),
        TOLERANCE,
        tuple(searched),
        tuple(solutions[restarts:]),
        tuple(on_surface),
        _directions([one.parameters for one in searched if one.converged], settings.target_hz),
    )


def surface_rules(
    target_hz: float, pre_hz: FloatArray, n_rules: int, rng: np.random.Generator
) -> list[LinearParameters]:
    """Draw rules that the mean field predicts at the target rate, Hebbian ones and others.

    Signs and sizes of all parameters are random; alpha is what the target asks for at the mean presynaptic
    rate. All are stable in the mean field and pull a wrong rate back equally hard, so that none fails for
    being slow.
    """
    pre = float(pre_hz.mean())
    rules: list[LinearParameters] = []
    while len(rules) < n_rules:
        gamma, kappa = rng.normal(size=2)
        beta = float(rng.choice([0.0, 0.3 * rng.normal()]))
        taus = 20.0 * np.exp(rng.uniform(-1, 1, 2))
        shape = LinearParameters(-1.0, beta, float(gamma), float(kappa), float(taus[0]), float(taus[1]))
        slope = beta + shape.coincidence * pre
        if slope > 0:
            unit = PULL / slope
            rules.append(
                LinearParameters(
                    -target_hz * PULL / pre,
                    unit * beta,
                    unit * float(gamma),
                    unit * float(kappa),
                    *taus.tolist(),
                )
            )
    return rules


def covariances(
    trains: SpikeTrains, parameters: LinearParameters, from_ms: float, n_synapses: int
) -> tuple[float, float]:
    """Return what each term of a rule adds, per synapse and second, beyond independent trains.

    Parameters
    ----------
    trains : SpikeTrains
    parameters : LinearParameters
        Its time constants are used.
    from_ms : float
        Spikes before this time build up the traces only.
    n_synapses : int

    Returns
    -------
    at_pre : float
        Mean over synapses of ``<x_post at presynaptic spikes> - pre * post * tau_post``, per second.
    at_post : float
        The same of ``x_pre`` at postsynaptic spikes.
    """
    end = max(float(trains.pre_ms[-1]) if len(trains.pre_ms) else from_ms, from_ms + 1.0)
    seconds = (end - from_ms) / 1000.0
    late_pre = trains.pre_ms >= from_ms
    late_post = trains.post_ms >= from_ms
    pre_hz = late_pre.sum() / n_synapses / seconds
    post_hz = late_post.sum() / seconds
    at_pre = trace_at(trains.post_ms, trains.pre_ms[late_pre], parameters.tau_post, counts_ties=False).sum()
    at_post = trace_at(trains.pre_ms, trains.post_ms[late_post], parameters.tau_pre, counts_ties=True).sum()
    return (
        float(at_pre / n_synapses / seconds - pre_hz * post_hz * parameters.tau_post / 1000.0),
        float(at_post / n_synapses / seconds - pre_hz * post_hz * parameters.tau_pre / 1000.0),
    )


def _remembered_judgement(
    task: Any, found: Sequence[LinearParameters], problems: BalanceProblems
) -> list[Solution]:
    """Return rules judged, from the journal if they were there before."""

    def compute(plain: BalanceTask) -> Arrays:
        solutions = judged(plain, found, problems)
        return {
            "numbers": np.array([[getattr(one, name) for name in NUMBERS] for one in solutions], dtype=float),
            "flags": np.array([[getattr(one, name) for name in FLAGS] for one in solutions], dtype=bool),
        }

    arrays = remembered(task, "judged", problems, (found,), compute)
    return [
        Solution(parameters, *numbers, *flags)
        for parameters, numbers, flags in zip(
            found, arrays["numbers"].tolist(), arrays["flags"].tolist(), strict=True
        )
    ]


def _searched(
    task: BalanceTask, item: tuple[BalanceProblems, FitSettings, np.random.SeedSequence], progress: Progress
) -> LinearParameters:
    """Return what CMA-ES finds from one random start."""
    problems, fit, seed = item
    rng = np.random.default_rng(seed)

    def values_of(points: list[FloatArray]) -> list[float]:
        rules = [_at(point).rule for point in points]
        return [float(value) for value in losses_of_population(task, rules, problems).mean(axis=1)]

    start = rng.normal(0, [1, 1, 1, 1, 0.5, 0.5])
    best, _ = evolve(values_of, start, SPREAD, fit.population, fit.steps, rng, progress)
    return _at(best)


def _at(point: FloatArray) -> LinearParameters:
    taus = 20.0 * np.exp(np.clip(point[4:], -LARGEST_LOG, LARGEST_LOG))
    alpha, beta, gamma, kappa = (float(value) for value in point[:4])
    return LinearParameters(alpha, beta, gamma, kappa, float(taus[0]), float(taus[1]))


def _pre_hz(problems: BalanceProblems) -> FloatArray:
    return np.array([mean_input_rate(problems.circuit, factor) for factor in problems.rate_factors])


def judged(task: BalanceTask, found: Sequence[LinearParameters], problems: BalanceProblems) -> list[Solution]:
    """Simulate rules of the published family on problems and set the mean field beside them."""
    rules: list[Rule] = [parameters.rule for parameters in found]
    pre = _pre_hz(problems)
    solutions = []
    outcome = task.outcome(rules, problems)
    losses = losses_of(outcome, problems.settings).mean(axis=1)
    tunings = tuning_of(outcome).mean(axis=1)
    rates = np.nan_to_num(outcome.rate_hz).mean(axis=1)
    for n, parameters in enumerate(found):
        loss, tuning, simulated = float(losses[n]), float(tunings[n]), float(rates[n])
        predicted = float(mean_field_rate(parameters, pre).mean())
        converged = loss <= CONVERGED
        corrected = _corrected(task, parameters, problems, pre) if converged else float("nan")
        on_surface = bool(np.isfinite(predicted) and abs(predicted / max(simulated, 1e-9) - 1) <= TOLERANCE)
        solutions.append(
            Solution(parameters, loss, simulated, predicted, corrected, tuning, converged, on_surface)
        )
    return solutions


N_CORRECTED = 4
"""Problems on which covariances are measured."""


def _corrected(
    task: BalanceTask, parameters: LinearParameters, problems: BalanceProblems, pre: FloatArray
) -> float:
    """Mean-field rate with the covariances of the simulated trains put in."""
    some = problems.subset(np.arange(min(N_CORRECTED, problems.n_problems)))
    settings = some.settings
    rates = []
    for problem, trains in enumerate(task.spike_trains(parameters.rule, some)):
        if trains is None:
            continue
        from_ms = 1000.0 * (settings.duration_s - settings.measured_s)
        at_pre, at_post = covariances(trains, parameters, from_ms, settings.n_inhibitory)
        slope = parameters.beta + parameters.coincidence * pre[problem]
        push = parameters.alpha * pre[problem] + parameters.kappa * at_pre + parameters.gamma * at_post
        rates.append(-push / slope if slope > 0 else float("nan"))
    return float(np.mean(rates)) if rates else float("nan")


def _directions(found: Sequence[LinearParameters], target_hz: float) -> tuple[Direction, ...]:
    """Principal directions of a set of rules, the widest first; none for fewer than three rules."""
    if len(found) < 3:
        return ()
    table = np.array([_coordinates(parameters, target_hz) for parameters in found])
    _, sizes, axes = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
    spreads = sizes / np.sqrt(len(found) - 1)
    return tuple(
        Direction(
            float(spread), dict(zip(COORDINATES, (float(value) for value in _signed(axis)), strict=True))
        )
        for spread, axis in zip(spreads, axes, strict=True)
    )


def _coordinates(parameters: LinearParameters, target_hz: float) -> list[float]:
    """Coordinates that do not depend on the overall scale of a rule."""
    unit = abs(parameters.coincidence) or 1e-9
    return [
        parameters.alpha / unit / target_hz,
        parameters.beta / unit / target_hz,
        parameters.gamma * parameters.tau_pre / 1000.0 / unit,
        parameters.kappa * parameters.tau_post / 1000.0 / unit,
        float(np.log(parameters.tau_pre)),
        float(np.log(parameters.tau_post)),
    ]


def _signed(axis: FloatArray) -> FloatArray:
    """Give an axis the sign that makes its largest component positive."""
    signed: FloatArray = axis * np.sign(axis[np.argmax(np.abs(axis))])
    return signed


def _examples(solutions: Sequence[Solution]) -> str:
    """Rules in brackets, the worst first; nothing for none."""
    if not solutions:
        return ""
    worst = sorted(solutions, key=lambda one: -one.loss)[:MOST_EXAMPLES]
    more = "" if len(solutions) == len(worst) else ", such as"
    rules = "; ".join(
        f"{one.parameters.rule} (predicted {_hertz(one.predicted_hz)}, simulated {_hertz(one.simulated_hz)}, "
        f"tuning {one.tuning:.2f})"
        for one in worst
    )
    return f"{more}: {rules}"


def _hertz(rate: float) -> str:
    return f"{rate:.3g} Hz" if np.isfinite(rate) else "no stable rate"


def _percent(values: Sequence[float]) -> str:
    return f"{np.median(values):+.0%} (median; {min(values):+.0%} to {max(values):+.0%})"

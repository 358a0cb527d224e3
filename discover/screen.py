"""Screens: many rules of the memory network, drawn from a prior, run and classed.

A quartet is four rules of the published family, one for each plastic projection: at a presynaptic spike the
weight changes by ``alpha + kappa x_post``, at a postsynaptic one by ``beta + gamma x_pre``, with two time
constants. All quartets of a screen run in one and the same network, with the same spikes of inputs.

References
----------
Confavreux et al. (2025), "Memory by a thousand rules", bioRxiv 2025.05.28.656584.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.tasks.memory_measures import CLASSES, MemorySettings, is_sound, loss_of, verdict_on
from sims.memory import PROJECTIONS

if TYPE_CHECKING:
    from sims.spiking_circuit import Network

__all__ = [
    "CLASSES",
    "PARAMETERS",
    "PRIOR",
    "Screen",
    "class_shares",
    "columns_of",
    "drawn_quartet",
    "quartet_rules",
    "run_screen",
]

FloatArray = NDArray[np.float64]
Row = Mapping[str, Any]

PRIOR: Mapping[str, tuple[float, float]] = {
    "tau_pre": (10.0, 100.0),
    "tau_post": (10.0, 100.0),
    "alpha": (-2.0, 2.0),
    "beta": (-2.0, 2.0),
    "gamma": (-2.0, 2.0),
    "kappa": (-2.0, 2.0),
}
"""Parameters of a rule and the ranges in which they are uniform; time constants in ms."""

PARAMETERS = tuple(f"{projection}_{name}" for projection in PROJECTIONS for name in PRIOR)
"""Names of the 24 parameters of a quartet."""


@dataclass(frozen=True)
class Screen:
    """What is screened.

    Parameters
    ----------
    settings : MemorySettings
    n_rules : int
        Quartets to be drawn, unless they are given.
    seed : int
        Quartet k depends on the seed and on k alone; so does the network depend on the seed.
    active : tuple of str
        Projections whose rules act; the weights of the others stay where they begin.
    quartets : mapping of int to ndarray, shape (24,), optional
        Numbers and parameters of quartets, instead of drawn ones.
    """

    settings: MemorySettings
    n_rules: int
    seed: int = 0
    active: tuple[str, ...] = PROJECTIONS
    quartets: Mapping[int, FloatArray] | None = None

    def __post_init__(self) -> None:
        for name in self.active:
            if name not in PROJECTIONS:
                raise TaskError(f"The projections are {', '.join(PROJECTIONS)}, got {name[:40]!r}.")

    def quartet(self, number: int) -> FloatArray:
        """Return the parameters of a quartet, shape (24,)."""
        if self.quartets is not None:
            return self.quartets[number]
        return drawn_quartet(self.seed, number)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the quartets."""
        return list(range(self.n_rules) if self.quartets is None else self.quartets)


def drawn_quartet(seed: int, number: int) -> FloatArray:
    """Draw the parameters of a quartet from the prior, shape (24,)."""
    low, high = np.array(list(PRIOR.values())).T
    rng = np.random.default_rng([int(seed), int(number)])
    return np.asarray(rng.uniform(low, high, (len(PROJECTIONS), len(PRIOR)))).ravel()


def quartet_rules(parameters: FloatArray, active: Collection[str] = PROJECTIONS) -> dict[str, Any]:
    """Return what the circuit runs for a quartet.

    Parameters
    ----------
    parameters : ndarray, shape (24,)
        In the order of :data:`PARAMETERS`.
    active : collection of str
        Projections whose rules act.
    """
    from sims.spike_rules import LinearSpikeRule

    rules: dict[str, Any] = {}
    for name, row in zip(PROJECTIONS, np.reshape(parameters, (4, 6)).tolist(), strict=True):
        if name in active:
            tau_pre, tau_post, alpha, beta, gamma, kappa = row
            rule = LinearSpikeRule(alpha, beta, gamma, kappa, tau_pre, tau_post)
            rules |= rule.of_projection(name)
    return rules


def columns_of(settings: MemorySettings) -> list[str]:
    """Return the names of what is known of each quartet, in the order of the table."""
    preferences = [f"preference_{seconds:g}s" for seconds in settings.breaks_s]
    weights = [f"{what}_{name}" for what in ("weight", "at_highest") for name in PROJECTIONS]
    return [
        "rule", "class", "criterion", "projection", "break_s", "loss", "completed", "rate_e_hz", "rate_i_hz",
        "interval_cv", "preference_before", *preferences, *weights, *PARAMETERS, "seconds",
    ]  # fmt: skip


def run_screen(
    screen: Screen,
    done: Collection[int],
    arrived: Callable[[Row], None],
    jobs: int = 1,
) -> None:
    """Run the quartets that are not done yet.

    Parameters
    ----------
    screen : Screen
    done : collection of int
        Numbers of quartets that need not be run.
    arrived : callable
        Is given the row of each quartet as soon as it is there, in whatever order.
    jobs : int
        Quartets at a time in this process; on a cluster its workers decide.
    """
    from discover.parallel import active, ordered_map

    waiting = [number for number in screen.numbers if number not in set(done)]
    pieces = [
        (screen.settings, screen.seed, screen.active, number, screen.quartet(number)) for number in waiting
    ]
    if not active().is_local or jobs == 1:
        ordered_map(_screened, pieces, lambda _, row: arrived(row))
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    # The kernels release Python's global lock.
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(_screened, piece) for piece in pieces]
        try:
            for future in as_completed(running):
                arrived(future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _screened(piece: tuple[MemorySettings, int, tuple[str, ...], int, FloatArray]) -> dict[str, Any]:
    from sims.memory_protocol import run_memory

    settings, seed, active, number, parameters = piece
    started = time.perf_counter()
    outcome = run_memory(
        quartet_rules(parameters, active), settings.circuit(), settings.protocol(),
        network=_network(settings, seed), seed=seed, goes_on=is_sound,
    )  # fmt: skip
    verdict, last = verdict_on(outcome, settings), outcome.tests[-1] if outcome.tests else outcome.before
    row: dict[str, Any] = dict.fromkeys(columns_of(settings), "")
    row |= {
        "rule": number, "class": verdict.kind, "criterion": verdict.criterion,
        "projection": verdict.projection, "break_s": verdict.break_s, "loss": loss_of(outcome, settings),
        "completed": outcome.completed,
    }  # fmt: skip
    if last is not None:
        row |= {
            "rate_e_hz": last.rate_hz["E"], "rate_i_hz": last.rate_hz["I"], "interval_cv": last.interval_cv
        }  # fmt: skip
        row |= {f"weight_{name}": value for name, value in last.mean_weight.items()}
        row |= {f"at_highest_{name}": value for name, value in last.at_highest.items()}
    if outcome.before is not None:
        row["preference_before"] = outcome.before.preference
    row |= {f"preference_{test.break_s:g}s": test.preference for test in outcome.tests}
    row |= dict(zip(PARAMETERS, parameters.tolist(), strict=True))
    row["seconds"] = time.perf_counter() - started
    return row


@lru_cache(maxsize=2)
def _network(settings: MemorySettings, seed: int) -> Network:
    from sims.spiking_circuit import Network

    return Network(settings.circuit().circuit(seed), seed)


def class_shares(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Count the classes, and the criteria that unstable quartets fail.

    Returns
    -------
    list of dict
        ``class``, ``n``, ``share``, and ``low`` and ``high``, the 95 % Wilson interval of the share; first
        the classes with ``any stable``, then the criteria.
    """
    from discover.outcome import share_interval

    counts = {name: sum(row["class"] == name for row in rows) for name in CLASSES}
    counts["any stable"] = len(rows) - counts["unstable"]
    for row in rows:
        if row["criterion"]:
            name = f"unstable: {row['criterion']} {row['projection']}".strip()
            counts[name] = counts.get(name, 0) + 1
    result = []
    for name, n in counts.items():
        low, high = share_interval(n, len(rows))
        result.append({"class": name, "n": n, "share": n / max(len(rows), 1), "low": low, "high": high})
    return result

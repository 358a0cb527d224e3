"""How often the engines find a known update again, from noisy samples of it and nothing else.

No network runs here: a rule that is not a polynomial is sampled, noise is added, and every engine proposes
its front. The simplest entry whose error on rows that it was not fitted to is within one standard error of
the lowest one is taken. Rules inside the library are sums of products of factors that the product-term search
knows; those outside have at least one factor that it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import EngineError
from discover.expression import Node, evaluate, parse
from discover.expression.skeleton import skeleton
from discover.journal import Arrays, Journal, JournaledTask, remembered
from discover.progress import Progress, part, silent
from discover.search._front import nmse
from discover.search.engine import Engine, Proposal, Samples, started
from discover.search.settings import Operator, SearchSettings
from discover.spread import spread

__all__ = ["GENERATORS", "UNION", "Generator", "recover_known"]

FloatArray = NDArray[np.float64]

UNION = "union"
"""Name under which the fronts of all engines stand together."""

N_ROWS = 500
N_HELDOUT = 500
N_WIDE = 2000

WIDER = 1.5
"""A function counts as found where it holds on a range so much wider than that of the samples."""

FUNCTIONAL = 1e-4
"""Largest squared error over variance of a function that counts as found."""

IDENTICAL = 1e-10
"""The same for a formula that counts as the same whatever its form."""

OPERATORS: tuple[Operator, ...] = ("div", "tanh", "exp", "log", "sqrt", "abs", "max")

OPERATOR_SETS: tuple[tuple[Operator, ...], ...] = (
    (), ("tanh",), ("exp",), ("log",), ("max",), ("div", "tanh", "exp", "sqrt", "abs"),
)  # fmt: skip
"""Of operon's searches: it uses the operations that stand in one of its sets, the others are left out."""

POPULATION = 1500
"""Of operon: with the usual 500 it misses functions that are flat in places."""


@dataclass(frozen=True)
class Generator:
    """A rule that samples are made with.

    Attributes
    ----------
    name : str
    text : str
        The update.
    ranges : mapping from str to tuple of float
        Variable -> lowest and highest value of its uniform distribution.
    is_inside : bool
        Whether all of its factors are in the library of the product-term search.
    wide : mapping from str to tuple of float
        Ranges of the test where these are not `WIDER` times as wide: weights stay within their bounds.
    """

    name: str
    text: str
    ranges: Mapping[str, tuple[float, float]]
    is_inside: bool = True
    wide: Mapping[str, tuple[float, float]] | None = None

    @property
    def node(self) -> Node:
        """The update."""
        return parse(self.text, tuple(self.ranges))

    def draw(self, n_rows: int, rng: np.random.Generator, wider: bool = False) -> Samples:
        """Draw samples without noise."""
        columns = []
        for name, (low, high) in self.ranges.items():
            if wider:
                middle, half = (low + high) / 2, WIDER * (high - low) / 2
                low, high = (self.wide or {}).get(name, (middle - half, middle + half))
            columns.append(rng.uniform(low, high, n_rows))
        inputs = np.stack(columns, axis=1)
        target = evaluate(self.node, dict(zip(self.ranges, columns, strict=True)))
        return Samples(tuple(self.ranges), inputs, target)


_RATES = {"x": (-2.0, 2.0), "y": (-2.0, 2.0), "w": (-1.0, 1.0)}
_POSITIVE = {"x": (0.0, 2.0), "y": (0.0, 3.0), "w": (0.0, 1.0)}
_WIDE_POSITIVE = {"x": (0.0, 3.0), "y": (0.0, 4.5), "w": (0.0, 1.5)}
_BOUNDED = {"x_pre": (0.0, 2.0), "w": (0.0, 1.0)}
_WIDE_BOUNDED = {"x_pre": (0.0, 3.0), "w": (0.0, 1.0)}

GENERATORS: Mapping[str, Generator] = {
    one.name: one
    for one in (
        Generator("saturating-hebb", "x*y/(1 + y**2) - 0.1*w", _RATES),
        Generator("tanh-hebb", "x*tanh(y) - 0.2*w*y**2", _RATES),
        Generator("tanh-decay", "x*y - 0.5*w*tanh(y)**2", _RATES),
        Generator("soft-bounds", "x_pre*sqrt(1 - w) - 0.4*w", _BOUNDED, wide=_WIDE_BOUNDED),
        Generator("divisive", "x*y/(0.5 + y) - 0.3*w*y", _POSITIVE, wide=_WIDE_POSITIVE),
        Generator("bcm", "x*y**2 - x*y*theta", {**_RATES, "theta": (0.0, 2.0)}),
        Generator(
            "exponential-stdp",
            "0.6*exp(-abs(x_post)/0.5) - 0.2*w",
            {"x_post": (0.0, 2.0), "w": (0.0, 1.0)},
            wide={"x_post": (0.0, 3.0), "w": (0.0, 1.5)},
        ),
        Generator("logarithmic", "x*log(1 + y**2) - 0.2*w", _RATES, is_inside=False),
        Generator("threshold-linear", "x*max(y - 0.5, 0) - 0.1*w", _RATES, is_inside=False),
        Generator("shifted-tanh", "x*tanh(2*y - 1) - 0.1*w", _RATES, is_inside=False),
        Generator("gaussian-tuned", "x*exp(-y**2) - 0.1*w", _RATES, is_inside=False),
        Generator("sigmoid", "x/(1 + exp(-2*y)) - 0.3*w", _RATES, is_inside=False),
    )
}
"""Rules that samples are made with, by name."""


def recover_known(
    engines: Sequence[str],
    noises: Sequence[float],
    n_seeds: int,
    settings: SearchSettings | None = None,
    progress: Progress = silent,
    names: Sequence[str] = tuple(GENERATORS),
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """Let engines find known updates from samples.

    Parameters
    ----------
    engines : sequence of str
    noises : sequence of float
        Standard deviations of the noise, over that of the update.
    n_seeds : int
        Runs for each rule, noise and engine.
    settings : SearchSettings, optional
        Default: all operations, and three times the usual population of operon.
    progress : callable, optional
    names : sequence of str
        Some of :data:`GENERATORS`.
    journal : Journal, optional
        Keeps what each run found, so that a study that was cut off goes on behind it.

    Returns
    -------
    list of dict
        A row for each rule, noise and engine, and one for their union: ``rule``, ``inside``, ``noise``,
        ``engine``, ``exact`` and ``functional`` (numbers of runs as text, such as ``9/10``).

    Raises
    ------
    EngineError
        If an engine is unknown, is not usable here, or fails, or there is no such rule.
    """
    unknown = [name for name in names if name not in GENERATORS]
    if unknown:
        raise EngineError(f"There is no rule {unknown[0]!r}. Rules: {', '.join(GENERATORS)}.")
    if any(not (np.isfinite(noise) and 0 <= noise <= 10) for noise in noises):
        raise EngineError(f"Noise lies between 0 and 10 standard deviations, got {list(noises)}.")
    engine_names = [engine.name for engine in started(engines)]
    options = settings or _all_operations()
    cases = [(name, noise) for name in names for noise in noises]
    items = [(name, noise, seed, engine_names, options) for name, noise in cases for seed in range(n_seeds)]
    labels = [f"{name}, noise {noise:g}, seed {seed}" for name, noise, seed, *_ in items]
    keeper = None if journal is None else JournaledTask(None, journal)
    found_in_all = iter(spread(_one_run, keeper, items, progress, labels))
    rows = []
    for name, noise in cases:
        generator = GENERATORS[name]
        outcomes: dict[str, list[tuple[bool, bool]]] = {}
        for _ in range(n_seeds):
            for engine, outcome in next(found_in_all).items():
                outcomes.setdefault(engine, []).append(outcome)
        for engine, found in outcomes.items():
            exact, functional = (sum(one[k] for one in found) for k in range(2))
            rows.append(
                {
                    "rule": name,
                    "inside": generator.is_inside,
                    "noise": noise,
                    "engine": engine,
                    "exact": f"{exact}/{n_seeds}",
                    "functional": f"{functional}/{n_seeds}",
                }
            )
    return rows


def _all_operations() -> SearchSettings:
    settings = SearchSettings(operators=OPERATORS)
    return replace(
        settings, operon=replace(settings.operon, operator_sets=OPERATOR_SETS, population_size=POPULATION)
    )


def _one_run(
    keeper: JournaledTask | None, item: tuple[str, float, int, list[str], SearchSettings], progress: Progress
) -> dict[str, tuple[bool, bool]]:
    name, noise, seed, engines, settings = item
    fronts = [*engines, UNION] if len(engines) > 1 else engines

    def compute(_: None) -> Arrays:
        outcomes = _outcomes(GENERATORS[name], noise, seed, _at_work(tuple(engines)), settings, progress)
        return {"found": np.array([outcomes[front] for front in fronts], dtype=np.bool_)}

    found = remembered(keeper, "recover-known", None, item, compute)["found"].tolist()
    return {front: (exact, functional) for front, (exact, functional) in zip(fronts, found, strict=True)}


@lru_cache(maxsize=1)
def _at_work(names: tuple[str, ...]) -> list[Engine]:
    """Return engines that stay started from one run to the next."""
    return started(names)


def _outcomes(
    generator: Generator,
    noise: float,
    seed: int,
    engines: Sequence[Engine],
    settings: SearchSettings,
    progress: Progress,
) -> dict[str, tuple[bool, bool]]:
    """Whether each engine, and all together, find the form and the function."""
    key = sum(ord(letter) * 31**place for place, letter in enumerate(generator.name)) % 2**32
    rng = np.random.default_rng([key, seed])
    samples, heldout = (_noisy(generator.draw(n, rng), noise, rng) for n in (N_ROWS, N_HELDOUT))
    wide = generator.draw(N_WIDE, rng, wider=True)
    fronts: dict[str, list[Proposal]] = {}
    for number, engine in enumerate(engines):
        inner = part(progress, number / len(engines), (number + 1) / len(engines), f"{engine.name}: ")
        fronts[engine.name] = engine.propose(samples, settings, seed, inner)
    if len(engines) > 1:
        fronts[UNION] = [proposal for front in fronts.values() for proposal in front]
    return {name: _judged(generator, _chosen(front, heldout), wide) for name, front in fronts.items()}


def _noisy(samples: Samples, noise: float, rng: np.random.Generator) -> Samples:
    spread = noise * float(samples.target.std())
    return Samples(samples.variables, samples.inputs, samples.target + rng.normal(0, spread, samples.n_rows))


def _chosen(front: Sequence[Proposal], heldout: Samples) -> Node | None:
    """Simplest expression within one standard error of the lowest held-out error, or of rounding."""
    variance = float(np.var(heldout.target))
    scored = []
    for proposal in front:
        with np.errstate(all="ignore"):
            squares = (evaluate(proposal.expression, heldout.columns) - heldout.target) ** 2 / variance
        if np.isfinite(squares).all():
            scored.append((proposal.expression, squares))
    if not scored:
        return None
    _, best = min(scored, key=lambda entry: float(entry[1].mean()))
    limit = float(best.mean()) + max(float(best.std()) / np.sqrt(len(best)), IDENTICAL)
    within = [(node, squares) for node, squares in scored if squares.mean() <= limit]
    return min(within, key=lambda entry: (entry[0].complexity, float(entry[1].mean()), str(entry[0])))[0]


def _judged(generator: Generator, found: Node | None, wide: Samples) -> tuple[bool, bool]:
    """Whether an expression has the form of the generating rule, and whether it is its function."""
    if found is None:
        return False, False
    error = nmse(found, wide)
    same_form = skeleton(found, wide.variables) == skeleton(generator.node, wide.variables)
    return same_form or error <= IDENTICAL, error <= FUNCTIONAL

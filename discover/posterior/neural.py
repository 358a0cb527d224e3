"""Neural densities and classifiers of rules: all that needs PyTorch and the package `sbi`.

Both are imported when they are needed. No object of them is stored: of a network that was trained a journal
may keep the numbers, until the posterior is done.

References
----------
Deistler, Macke & Gonçalves (2022), PNAS 119:e2207632119, for the restriction of the prior; Papamakarios &
Murray (2016), NeurIPS, and Greenberg, Nonnenmacher & Macke (2019), ICML, for the neural posterior; Talts et
al. (2018), arXiv:1804.06788, for calibration.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import ExtraMissing
from discover.journal import Memo
from discover.posterior.simulations import child

__all__ = ["NeuralPosterior", "Ranks", "joined", "ranks_of", "restricted", "trained", "with_torch"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALLOWED_MISSES = 0.002
"""Share of good rules that a restriction of the prior may leave out."""

SAFETY = 0.3
"""Rules are simulated down to this share of the lowest chance that the classifier gives to a good rule."""

BATCH = 200
PATIENCE = 20
"""Epochs without a better loss on left-out rules, after which training ends."""

HIDDEN, TRANSFORMS = 50, 5

LOSS = "loss of left-out rules"
"""Name of one more number that is kept of a network."""


def with_torch() -> Any:
    """Return the package ``torch``, with `sbi` at hand too.

    Raises
    ------
    ExtraMissing
        If they are not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import sbi.inference  # noqa: F401
            import torch
    except ImportError as error:
        raise ExtraMissing(
            f"A neural posterior needs the packages sbi and torch, and {error.name or 'one of them'} is not "
            "installed. Install both with the extra of this program, `pip install "
            "'plasticity-discovery[posterior]'` (in a checkout: `pip install -e '.[posterior]'`). On a "
            "computer without a graphics card install PyTorch's build for CPUs first, as its own pages say: "
            "that saves a download of gigabytes. The posterior of the task pairing needs neither."
        ) from None
    return torch


@contextmanager
def _at_work(seed: np.random.SeedSequence) -> Iterator[Any]:
    """Seed PyTorch, keep it quiet and on one thread; afterwards all is as it was."""
    torch = with_torch()
    threads, numpy_state = torch.get_num_threads(), np.random.get_state()  # noqa: NPY002 (put back below)
    root = logging.getLogger()
    level, disabled = root.level, logging.root.manager.disable
    words = seed.generate_state(2)
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(int(words[0]))
            torch.set_num_threads(1)
            np.random.seed(int(words[1]))  # noqa: NPY002 (the classifiers of sbi's checks draw from it)
            yield torch
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(numpy_state)  # noqa: NPY002
        logging.disable(disabled)
        root.setLevel(level)


class _NoTracker:
    """What sbi tells of a training, and nobody keeps; by itself it would write to the working directory."""

    log_dir = ""

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Keep nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep nothing."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Keep nothing."""


def _prior(torch: Any, n_parameters: int) -> Any:
    return torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(n_parameters), torch.ones(n_parameters)), 1
    )


def restricted(
    points: FloatArray, is_good: NDArray[np.bool_], seed: np.random.SeedSequence
) -> Callable[[FloatArray], NDArray[np.bool_]]:
    """Learn where in the prior good rules can be; return what says of points whether they are there.

    Parameters
    ----------
    points : ndarray, shape (n_rules, n_parameters)
        In standard coordinates.
    is_good : ndarray of bool, shape (n_rules,)
    seed : SeedSequence

    Returns
    -------
    callable
        Takes points (n, n_parameters), returns flags (n,). The threshold is :data:`SAFETY` times the chance
        that the classifier gives to all but a share of :data:`ALLOWED_MISSES` of the good rules.
    """
    with _at_work(seed) as torch:
        from sbi.utils import RestrictionEstimator

        estimator = RestrictionEstimator(_prior(torch, points.shape[1]), model="mlp", hidden_features=50)
        outcome = np.where(is_good, 1.0, np.nan)[:, None]
        estimator.append_simulations(_tensor(torch, points), _tensor(torch, outcome))
        estimator.train(stop_after_epochs=PATIENCE, training_batch_size=BATCH)
        classifier = estimator._classifier.train(mode=False)

    def chance(candidates: FloatArray) -> FloatArray:
        with _at_work(seed) as torch, torch.no_grad():
            logits = classifier(_tensor(torch, candidates))
            return np.asarray(torch.softmax(logits, dim=1)[:, 1].numpy(), dtype=np.float64)

    lowest = SAFETY * float(np.quantile(chance(points[is_good]), ALLOWED_MISSES))
    return lambda candidates: chance(candidates) >= lowest


@dataclass(frozen=True, eq=False)
class NeuralPosterior:
    """An ensemble of neural densities of rules, given in how many problems in a row they do the task.

    Their mean is the density. The prior is over all real numbers, so that none of it is lost at a border.

    Attributes
    ----------
    members : tuple of sbi.neural_nets.estimators.ConditionalDensityEstimator
    seed : SeedSequence
    losses : tuple of float
        Mean negative log density of left-out rules, by member.
    """

    members: tuple[Any, ...]
    seed: np.random.SeedSequence
    losses: tuple[float, ...]

    def sample(self, n: int, x: FloatArray, number: int = 0) -> FloatArray:
        """Draw points in standard coordinates, shape (n, n_parameters), given measures (n_measures,)."""
        own = child(self.seed, number)
        of_member = np.random.default_rng(own).integers(len(self.members), size=n)
        counts = np.bincount(of_member, minlength=len(self.members)).tolist()
        with _at_work(own) as torch, torch.no_grad():
            condition = _tensor(torch, x[None])
            drawn = np.concatenate(
                [
                    density.sample((count,), condition=condition)[:, 0].numpy()
                    for density, count in zip(self.members, counts, strict=True)
                    if count
                ]
            )
        points = np.empty(drawn.shape)
        points[np.argsort(of_member, kind="stable")] = drawn
        return points

    def log_density(self, points: FloatArray, x: FloatArray) -> FloatArray:
        """Return the log density of points, shape (n,)."""
        with _at_work(self.seed) as torch, torch.no_grad():
            each = [
                density.log_prob(_tensor(torch, points)[:, None], condition=_tensor(torch, x[None]))[:, 0]
                for density in self.members
            ]
            found = torch.logsumexp(torch.stack(each).double(), dim=0) - np.log(len(each))
            return np.asarray(found.numpy(), dtype=np.float64)

    def log_ratio(self, points: FloatArray, x: FloatArray) -> FloatArray:
        """Return the log density of points relative to the prior's, shape (n,)."""
        log_prior = -0.5 * np.sum(points**2 + np.log(2.0 * np.pi), axis=1)
        found: FloatArray = self.log_density(points, x) - log_prior
        return found


def trained(
    points: FloatArray,
    measures: FloatArray,
    n_members: int,
    seed: np.random.SeedSequence,
    told: Callable[[int], None] = lambda member: None,
    memo: Memo | None = None,
) -> NeuralPosterior:
    """Train an ensemble of neural posteriors.

    Parameters
    ----------
    points : ndarray, shape (n_rules, n_parameters)
        In standard coordinates.
    measures : ndarray, shape (n_rules, n_measures)
    n_members : int
    seed : SeedSequence
    told : callable, optional
        Is given the number of each member that is done.
    memo : Memo, optional
        Keeps the numbers of each network that was trained.
    """
    members, losses, kept = [], [], memo or Memo()
    for member in range(n_members):
        own = child(seed, member)
        question = (points, measures, [int(word) for word in own.generate_state(4)])
        numbers = kept.recall("network", question, partial(_learnt_numbers, points, measures, own))
        with _at_work(own) as torch:
            _, build = _untrained(torch, points, measures)
            density = build(_tensor(torch, points), _tensor(torch, measures))
            density.load_state_dict(
                {
                    name: torch.as_tensor(numbers[name], dtype=old.dtype).reshape(old.shape)
                    for name, old in density.state_dict().items()
                }
            )
            members.append(density.train(mode=False))
        losses.append(float(numbers[LOSS][0]))
        told(member)
    return NeuralPosterior(tuple(members), child(seed, n_members), tuple(losses))


def joined(posteriors: Sequence[NeuralPosterior]) -> NeuralPosterior:
    """Return the ensemble of the members of several ensembles."""
    members = tuple(member for one in posteriors for member in one.members)
    losses = tuple(loss for one in posteriors for loss in one.losses)
    return NeuralPosterior(members, posteriors[0].seed, losses)


def _untrained(torch: Any, points: FloatArray, measures: FloatArray) -> tuple[Any, Any]:
    """Return what trains a network on rules, and what builds one from the first of them."""
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn

    build = posterior_nn("nsf", hidden_features=HIDDEN, num_transforms=TRANSFORMS, z_score_x="independent")
    npe = NPE(
        _prior(torch, points.shape[1]),
        density_estimator=build,
        show_progress_bars=False,
        tracker=_NoTracker(),
    )
    return npe.append_simulations(_tensor(torch, points), _tensor(torch, measures)), build


def _learnt_numbers(
    points: FloatArray, measures: FloatArray, seed: np.random.SeedSequence
) -> dict[str, NDArray[Any]]:
    """Train one network; return its numbers by their names, and its loss on left-out rules."""
    with _at_work(seed) as torch:
        npe, _ = _untrained(torch, points, measures)
        density = npe.train(training_batch_size=BATCH, stop_after_epochs=PATIENCE)
        numbers = {
            name: value.numpy().astype(np.float64 if value.is_floating_point() else np.int64)
            for name, value in density.state_dict().items()
        }
        return {**numbers, LOSS: np.array([float(npe.summary["best_validation_loss"][-1])])}


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of rules that were not trained on among samples given their own measures.

    Attributes
    ----------
    ranks : ndarray of int, shape (n_tests, n_parameters)
        Of each parameter, 0 to `n_samples`.
    density_ranks : ndarray of int, shape (n_tests,)
        Of the density.
    n_samples : int
    p_values : tuple of float
        Of Kolmogorov and Smirnov's test that ranks are uniform, by parameter.
    c2st_ranks, c2st_prior : tuple of float
        How well a classifier tells ranks from uniform ones, and the rules from samples; 0.5 is chance.
    """

    ranks: IntArray
    density_ranks: IntArray
    n_samples: int
    p_values: tuple[float, ...]
    c2st_ranks: tuple[float, ...]
    c2st_prior: tuple[float, ...]


def ranks_of(
    posteriors: Sequence[NeuralPosterior],
    part: IntArray,
    points: FloatArray,
    x: FloatArray,
    n_samples: int,
    seed: np.random.SeedSequence,
) -> Ranks:
    """Do simulation-based calibration and expected coverage, each rule with networks that have not seen it.

    All rules have the same measures, those that the posterior is asked for, and so each part of them has its
    ranks among the same samples, of which there are many.

    Parameters
    ----------
    posteriors : sequence of NeuralPosterior
    part : ndarray of int, shape (n_tests,)
        Which of the posteriors was trained without a rule.
    points : ndarray, shape (n_tests, n_parameters)
    x : ndarray, shape (n_measures,)
        Measures of all these rules.
    n_samples : int
        Samples of each posterior.
    seed : SeedSequence
    """
    ranks = np.empty(points.shape, dtype=np.int64)
    by_density, averaged = np.empty(len(points), dtype=np.int64), np.empty_like(points)
    for own, posterior in enumerate(posteriors):
        rows = np.flatnonzero(part == own)
        samples = posterior.sample(n_samples, x, own)
        densities = np.sort(posterior.log_density(samples, x))
        by_density[rows] = np.searchsorted(densities, posterior.log_density(points[rows], x))
        for column in range(points.shape[1]):
            ranks[rows, column] = np.searchsorted(np.sort(samples[:, column]), points[rows, column])
        averaged[rows] = samples[np.arange(len(rows)) % n_samples]
    with _at_work(seed) as torch:
        from sbi.diagnostics import check_sbc

        tables = [_tensor(torch, one) for one in (ranks, points, averaged)]
        found = check_sbc(*tables, num_posterior_samples=n_samples)
        return Ranks(
            ranks,
            by_density,
            n_samples,
            tuple(found["ks_pvals"].tolist()),
            tuple(found["c2st_ranks"].tolist()),
            tuple(found["c2st_dap"].tolist()),
        )


def _tensor(torch: Any, values: Any) -> Any:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)

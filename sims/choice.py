"""Choices among options that are rewarded with changing probabilities, under any rule, with gradients.

A learner has a weight for each option, chooses by a softmax of the weights, is rewarded, and changes the
weights by a rule that reads, for each option, whether it was chosen (x), the probability of that (y), its
weight (w), the reward (R), and its running mean (m); :mod:`sims._choice_kernels` has the order of a trial.
All random numbers are given: rules are compared on the same environments and the same luck.

Choices jump where a rule changes a little, so that the loss of one sampled run has steps, and its derivative
misses what choices bring for later. :func:`choice_gradient` therefore differentiates a sum of two parts along
a run whose choices are held: the losses of trials, each being the mean over the choice of that trial, and the
logarithms of the probabilities of the choices made, times a credit of each. With the later losses for credits
this is, in the mean over choices, the gradient of the expected loss: the path-wise part and that of the
likelihood ratio.

References
----------
Williams (1992), Mach. Learn. 8:229; Schulman, Heess, Weber & Abbeel (2015), Adv. Neural Inf. Process. Syst.
28 (gradients through both parts of a stochastic computation graph).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims.rules import Program

__all__ = ["BLOW_UP", "VARIABLES", "Bandits", "ChoiceRun", "Learner", "choice_gradient", "choose"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VARIABLES = ("x", "y", "w", "R", "m")
"""What a rule reads, in the order of its program's variables."""

BLOW_UP = 1e3
"""Weights that are larger, or not finite, count as a blow-up."""


@dataclass(frozen=True, eq=False)
class Bandits:
    """Environments, one a problem, and the luck of whoever chooses in them.

    Parameters
    ----------
    rewards : array_like, shape (n_problems, n_trials, n_options)
        What each option would give in each trial.
    values : array_like, of the same shape
        What it gives in the mean, by which choices are judged.
    uniforms : array_like, shape (n_problems, n_trials)
        From 0 to 1; the first option whose cumulated probability is above it is chosen.

    Raises
    ------
    ValueError
        If shapes do not fit or a number is not finite.
    """

    rewards: FloatArray
    values: FloatArray
    uniforms: FloatArray

    def __post_init__(self) -> None:
        for name in ("rewards", "values", "uniforms"):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"The {name} of bandits are finite, got others.")
            object.__setattr__(self, name, array)
        shape = self.rewards.shape
        if len(shape) != 3 or 0 in shape or self.values.shape != shape or self.uniforms.shape != shape[:2]:
            raise ValueError(
                "Rewards and values of bandits have one shape (n_problems, n_trials, n_options), uniform "
                f"numbers its first two; got {shape}, {self.values.shape} and {self.uniforms.shape}."
            )

    def shortened(self, n_trials: int) -> Self:
        """Return the first trials, at least one."""
        n = max(1, min(n_trials, self.uniforms.shape[1]))
        return replace(
            self, rewards=self.rewards[:, :n], values=self.values[:, :n], uniforms=self.uniforms[:, :n]
        )


@dataclass(frozen=True)
class Learner:
    """Who chooses.

    Parameters
    ----------
    learning_rate : float
        Factor of all changes of weights, positive.
    sharpness : float
        Factor of weights in the softmax, not negative.
    mean_trials : float
        Time constant of the running mean of the reward, in trials, at least 1.
    initial_weight, initial_mean : float
        At the start.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    learning_rate: float = 0.1
    sharpness: float = 5.0
    mean_trials: float = 10.0
    initial_weight: float = 0.0
    initial_mean: float = 0.5

    def __post_init__(self) -> None:
        numbers = (self.learning_rate, self.sharpness, self.mean_trials, self.initial_weight)
        if not np.all(np.isfinite((*numbers, self.initial_mean))):
            raise ValueError("The numbers of a learner are finite.")
        if self.learning_rate <= 0 or self.sharpness < 0 or self.mean_trials < 1:
            raise ValueError(
                "A learner has a positive learning rate, a sharpness that is not negative and a mean over at "
                f"least one trial; got {self.learning_rate}, {self.sharpness} and {self.mean_trials}."
            )


@dataclass(frozen=True, eq=False)
class ChoiceRun:
    """How problems went.

    Attributes
    ----------
    regrets : ndarray, shape (n_problems, n_trials)
        Value of the best option less the mean value under the probabilities of the trial. From a blow-up on
        it is zero.
    choices : ndarray of int, shape (n_problems, n_trials)
        Options chosen; -1 after a blow-up.
    weights : ndarray, shape (n_problems, n_trials + 1, n_options)
        Before each trial and at the end; zero after a blow-up.
    means : ndarray, shape (n_problems, n_trials + 1)
        Running mean of the reward, likewise.
    blow_up : ndarray of int, shape (n_problems,)
        Trials after which weights had blown up, or -1.
    """

    regrets: FloatArray
    choices: IntArray
    weights: FloatArray
    means: FloatArray
    blow_up: IntArray


def choose(
    program: Program, bandits: Bandits, learner: Learner, choices: ArrayLike | None = None
) -> ChoiceRun:
    """Let a learner choose in every problem.

    Parameters
    ----------
    program : Program
        Over :data:`VARIABLES`.
    bandits : Bandits
    learner : Learner
    choices : array_like of int, shape (n_problems, n_trials), optional
        Choices to make whatever their probabilities are, as those of an earlier run; -1 for one that is
        drawn. Default: all are.

    Returns
    -------
    ChoiceRun

    Raises
    ------
    ValueError
        If the program reads other variables, or a choice is none of the options.

    Examples
    --------
    A learner by Rescorla and Wagner comes to prefer an option that is always rewarded.

    >>> from sims.rules import Op
    >>> code = [(Op.SUB, 3, 2), (Op.MUL, 0, 5)]
    >>> program = Program.build(VARIABLES, (False,) * 5, [], code)
    >>> rewards, rng = np.tile([0.0, 1.0], (1, 200, 1)), np.random.default_rng(0)
    >>> run = choose(program, Bandits(rewards, rewards, rng.random((1, 200))), Learner())
    >>> bool(run.regrets[0, 0] == 0.5), bool(run.regrets[0, -1] < 0.02)
    (True, True)
    """
    from sims._choice_kernels import simulate

    n_problems, n_trials, n_options = bandits.rewards.shape
    given = np.full((n_problems, n_trials), -1, dtype=np.int64)
    if choices is not None:
        given[:] = choices
        if given.min() < -1 or given.max() >= n_options:
            raise ValueError(f"Choices are options 0 to {n_options - 1}, or -1 to draw them.")
    weights, means = np.zeros((n_problems, n_trials + 1, n_options)), np.zeros((n_problems, n_trials + 1))
    weights[:, 0], means[:, 0] = learner.initial_weight, learner.initial_mean
    regrets, blow_up = np.zeros((n_problems, n_trials)), np.empty(n_problems, dtype=np.int64)
    simulate(
        *_parts(program), bandits.rewards, bandits.values, bandits.uniforms, *_numbers(learner), BLOW_UP,
        given, weights, means, regrets, blow_up,
    )  # fmt: skip
    for p in np.flatnonzero(blow_up >= 0):
        weights[p, blow_up[p] :], means[p, blow_up[p] :] = 0.0, 0.0
    return ChoiceRun(regrets, given, weights, means, blow_up)


def choice_gradient(
    program: Program,
    bandits: Bandits,
    learner: Learner,
    run: ChoiceRun,
    slopes: ArrayLike,
    credits: ArrayLike,
) -> FloatArray:
    """Derivatives by the constants of a program, along a run whose choices are held.

    Parameters
    ----------
    program, bandits, learner
        As in the call of :func:`choose` that gave `run`.
    run : ChoiceRun
    slopes, credits : array_like, shape (n_problems, n_trials) or what broadcasts to it
        What is differentiated is ``sum(slopes * regrets) + sum(credits * log(probability of the choice))``.

    Returns
    -------
    ndarray, shape (n_problems, n_constants)
        Zero where the problem blew up.
    """
    from sims._choice_kernels import gradient

    shape = run.regrets.shape
    by_regret, by_choice = (
        np.ascontiguousarray(np.broadcast_to(np.asarray(one, dtype=np.float64), shape))
        for one in (slopes, credits)
    )
    result = np.empty((shape[0], len(program.constants)))
    gradient(
        *_parts(program), bandits.rewards, bandits.values, *_numbers(learner), run.choices, run.weights,
        run.means, run.blow_up, by_regret, by_choice, result,
    )  # fmt: skip
    return result


def _parts(program: Program) -> tuple[IntArray, FloatArray, int]:
    if program.variables != VARIABLES:
        raise ValueError(
            f"A rule of choices has the variables {', '.join(VARIABLES)}, got {', '.join(program.variables)}."
        )
    return program.code, program.constants, program.output


def _numbers(learner: Learner) -> tuple[float, float, float]:
    return float(learner.learning_rate), float(learner.sharpness), float(learner.mean_trials)

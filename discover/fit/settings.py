"""Settings of the coefficient fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

__all__ = ["Elimination", "FitSettings", "Optimiser", "TeacherSettings"]

Optimiser = Literal["proximal", "cmaes", "finite-difference"]
Elimination = Literal["refitted", "plain"]


@dataclass(frozen=True)
class TeacherSettings:
    """How the rule without a formula is learned; what is not here is as for the coefficients.

    Parameters
    ----------
    restarts : int
        Fits from independent random starts; 0 for no teacher. Teachers of rate neurons have up to three times
        as many while no other start comes near the best one, or polynomials do better.
    n_pieces : int
        Equal pieces of the range of outputs, or of traces, each with its cubic.
    smoothness : float
        Weight of the squared second differences of a spline's coefficients; for spiking synapses, relative to
        the squared size of all splines.
    n_train, n_heldout : int
        Problems to learn on, and problems to choose on.
    first_penalty : float
        Weight of the group penalty during the first fit of a restart.
    penalties : tuple of float
        Weights of the group penalty along the path, in units of relative effect; 0 keeps all blocks.
    steps, path_steps, refit_steps, batch : int
        As for the coefficients.
    step_size, path_step_size, growth, start_scale, negligible, resolution : float
        As for the coefficients.
    """

    restarts: Annotated[int, Ge(0), Le(1000)] = 0
    n_pieces: Annotated[int, Ge(1), Le(200)] = 16
    smoothness: Annotated[float, Ge(0), Le(1000)] = 0.01
    n_train: Annotated[int, Ge(2), Le(100_000)] = 64
    n_heldout: Annotated[int, Ge(4), Le(100_000)] = 64
    first_penalty: Annotated[float, Ge(0), Le(100)] = 0.002
    penalties: Annotated[tuple[Annotated[float, Ge(0), Le(100)], ...], MinLen(1)] = (
        0.0,
        0.001,
        0.002,
        0.005,
        0.01,
    )
    steps: Annotated[int, Ge(1), Le(1_000_000)] = 300
    path_steps: Annotated[int, Ge(1), Le(1_000_000)] = 60
    refit_steps: Annotated[int, Ge(1), Le(1_000_000)] = 60
    batch: Annotated[int, Ge(1), Le(100_000)] = 16
    step_size: Annotated[float, Gt(0), Le(10)] = 0.05
    path_step_size: Annotated[float, Gt(0), Le(10)] = 0.02
    growth: Annotated[float, Ge(0), Le(1)] = 0.6
    start_scale: Annotated[float, Gt(0), Le(10)] = 0.01
    negligible: Annotated[float, Ge(0), Lt(1)] = 0.05
    resolution: Annotated[float, Ge(0), Le(1)] = 0.005


@dataclass(frozen=True)
class FitSettings:
    """How the coefficients of the polynomial basis are fitted.

    Parameters
    ----------
    optimiser : str
        ``proximal`` (exact gradient), ``cmaes``, or ``finite-difference``, the published baseline.
    restarts : int
        Fits from independent random starts.
    n_train, n_heldout : int
        Problems to fit on, and problems to choose on.
    n_tuning : int
        Further problems on which the speed of the chosen rule is set, slot by slot; 0 leaves it as it is.
    penalties : tuple of float
        Weights of the L1 norm along the path, in units of relative effect; 0 gives the dense rule.
    first_penalty : float
        Weight during the first fit of a restart.
    steps, path_steps, refit_steps : int
        Outer-loop steps of the first fit, of each point of the path, and of each refit without penalty.
    batch : int
        Problems a step looks at; CMA-ES looks at all of them.
    population : int
        Rules in a generation of CMA-ES, for which a step is a generation.
    sigma : float
        First spread of CMA-ES, in units of relative effect.
    first_share : float
        Share of the problems on which CMA-ES runs a whole generation; the better half is run on the others,
        too. The other half counts as no better than the worst of these.
    step_size, path_step_size : float
        Step of the optimiser during the first fit, and along the path, in units of relative effect.
    growth : float
        Share of the first fit over which the inner loop grows from a few steps to its full length: long runs
        of a random rule blow up or say nothing.
    start_scale : float
        Standard deviation of the random start, in units of relative effect.
    n_starts : int
        Random rules that are tried; the fit starts at the best of them. Of several projections that learn,
        each has a rule in about half of them.
    negligible : float
        Terms whose effect is below this share of the largest are left out of a refit.
    resolution : float
        Held-out losses that differ by less are equally good, however sure the difference is: of two rules
        whose weights end half a percent of their length nearer to the target, the simpler one is chosen.
    elimination : str
        How terms that the chosen rule can do without are found. ``refitted``: the others are fitted anew for
        each term that is tried away. ``plain``: they stay as they are, whole projections are tried away
        first, and only what is left in the end is fitted anew; where a single run takes seconds.
    terms : mapping from str to tuple of str, optional
        Slot -> the terms that a rule may have there; slots that it does not name have all of the basis.
    teacher : TeacherSettings
        A rule without a formula, learned beside the coefficients, for tasks whose network runs one.
    """

    optimiser: Optimiser = "proximal"
    restarts: Annotated[int, Ge(1), Le(1000)] = 4
    n_train: Annotated[int, Ge(2), Le(100_000)] = 48
    n_heldout: Annotated[int, Ge(4), Le(100_000)] = 64
    n_tuning: Annotated[int, Ge(0), Le(100_000)] = 256
    penalties: Annotated[tuple[Annotated[float, Ge(0), Le(100)], ...], MinLen(1)] = (
        0.0,
        0.001,
        0.002,
        0.005,
        0.01,
        0.02,
        0.05,
    )
    first_penalty: Annotated[float, Ge(0), Le(100)] = 0.03
    steps: Annotated[int, Ge(1), Le(1_000_000)] = 300
    path_steps: Annotated[int, Ge(1), Le(1_000_000)] = 100
    refit_steps: Annotated[int, Ge(1), Le(1_000_000)] = 80
    batch: Annotated[int, Ge(1), Le(100_000)] = 8
    population: Annotated[int, Ge(4), Le(10_000)] = 50
    sigma: Annotated[float, Gt(0), Le(10)] = 0.1
    first_share: Annotated[float, Gt(0), Le(1)] = 1.0
    elimination: Elimination = "refitted"
    step_size: Annotated[float, Gt(0), Le(10)] = 0.05
    path_step_size: Annotated[float, Gt(0), Le(10)] = 0.02
    growth: Annotated[float, Ge(0), Le(1)] = 0.6
    start_scale: Annotated[float, Gt(0), Le(10)] = 0.01
    n_starts: Annotated[int, Ge(1), Le(100_000)] = 1
    negligible: Annotated[float, Ge(0), Lt(1)] = 0.05
    resolution: Annotated[float, Ge(0), Le(1)] = 0.005
    terms: Mapping[str, tuple[str, ...]] | None = None
    teacher: TeacherSettings = field(default_factory=TeacherSettings)

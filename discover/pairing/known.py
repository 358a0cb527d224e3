"""Known rules on a table of protocols: their forms, with all constants fitted to what was measured.

References
----------
Song, Miller & Abbott (2000), Nat. Neurosci. 3:919; van Rossum, Bi & Turrigiano (2000), J. Neurosci. 20:8812;
Froemke & Dan (2002), Nature 416:433; Gütig et al. (2003), J. Neurosci. 23:3697; Pfister & Gerstner (2006),
J. Neurosci. 26:9673; Morrison, Aertsen & Diesmann (2007), Neural Comput. 19:1437.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType

import numpy as np

from discover.pairing.events import FloatArray
from discover.pairing.grid import Bench, Form, Point, Table
from discover.pairing.protocols import Protocol
from discover.pairing.terms import Term
from sims.pairing import Tie, traces_at_spikes

__all__ = ["KNOWN_FORMS", "SUPPRESSION", "known_forms", "suppressed"]

BOUNDS = (2.0, 3.0, 5.0)
"""Upper bounds of the weight, which begins at one, that are tried."""

EXPONENTS = (0.02, 0.25, 0.5, 0.75, 1.0)
"""Exponents of Gütig et al. that are tried, from nearly additive to multiplicative."""

SUPPRESSION_MS = (15.0, 30.0, 60.0, 120.0)
"""Time constants of suppression that are tried for either neuron."""

_DOWN, _UP = Term("pre", "x_post"), Term("post", "x_pre")

SUPPRESSION = Form((_DOWN, _UP), n_further=2, origin="stdp-suppression")
"""Its two coefficients; what they multiply is computed by :func:`suppressed`."""

KNOWN_FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "stdp-additive": Form((_DOWN, _UP)),
        "stdp-triplet": Form((_DOWN, Term("post", "x_pre*slow_post"))),
        "stdp-triplet-full": Form(
            (_DOWN, Term("pre", "x_post*slow_pre"), _UP, Term("post", "x_pre*slow_post"))
        ),
        "stdp-multiplicative": Form((Term("pre", "x_post", power=1.0), _UP)),
        "stdp-power-law": Form((Term("pre", "x_post", power=1.0), Term("post", "x_pre", power=0.4))),
        "stdp-guetig": Form(
            (Term("pre", "x_post", power=1.0), Term("post", "x_pre", room=1.0)), BOUNDS, EXPONENTS
        ),
    }
)
"""Known rule -> its form; the suppression model is none of terms in traces."""


def known_forms(bench: Bench) -> dict[str, Table]:
    """Return the known rules at all points of their grids, for fits.

    Parameters
    ----------
    bench : Bench
    """
    tables = {name: bench.table(form) for name, form in KNOWN_FORMS.items()}
    fast_pre, _, fast_post, _ = bench.taus
    tables[SUPPRESSION.origin] = suppressed(bench.protocols, fast_pre, fast_post, bench.tie)
    return tables


def suppressed(
    protocols: tuple[Protocol, ...],
    fast_pre: tuple[float, ...],
    fast_post: tuple[float, ...],
    tie: Tie = "pre first",
) -> Table:
    """Return the suppression model on protocols, at all its time constants.

    The change that a pair of spikes makes goes with the efficacies of both; a neuron's first spike has 1.

    Parameters
    ----------
    protocols : tuple of Protocol
    fast_pre, fast_post : tuple of float
        Time constants of the window, in ms.
    tie : str
        Which of two spikes in one instant comes first.
    """
    pairs = list(product(SUPPRESSION_MS, SUPPRESSION_MS))
    down = np.empty((len(pairs), len(fast_post), len(protocols)))
    up = np.empty((len(pairs), len(fast_pre), len(protocols)))
    taus = (*fast_pre, *fast_post)
    sides = [True] * len(fast_pre) + [False] * len(fast_post)
    for column, one in enumerate(protocols):
        for row, (tau_pre, tau_post) in enumerate(pairs):
            jumps = efficacies(one.pre_ms, tau_pre), efficacies(one.post_ms, tau_post)
            at_pre, at_post = traces_at_spikes(one.pre_ms, one.post_ms, taus, sides, tie, jumps)
            down[row, :, column] = jumps[0] @ at_pre[:, len(fast_pre) :]
            up[row, :, column] = jumps[1] @ at_post[:, : len(fast_pre)]
    points: list[Point] = []
    sums = []
    for row in range(len(pairs)):
        for i, k in product(range(len(fast_pre)), range(len(fast_post))):
            points.append(((i, 0, k, 0), (), 0.0, 1.0))
            sums.append(np.stack([down[row, k], up[row, i]], axis=1))
    return Table(SUPPRESSION, points, np.array(sums))


def efficacies(times_ms: FloatArray, tau_ms: float) -> FloatArray:
    """Return the efficacy of each spike of a neuron: it recovers since the spike before.

    Examples
    --------
    >>> efficacies(np.array([0.0, 30.0, 90.0]), 30.0).round(3).tolist()
    [1.0, 0.632, 0.865]
    """
    times = np.sort(times_ms)
    return np.concatenate([np.ones(min(1, len(times))), -np.expm1(-np.diff(times) / tau_ms)])

"""Spiking rules without a formula: updates that are splines of a trace, times powers of the weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._splines import checked, spline_curves
from sims.spike_rules import of_projection

__all__ = ["MAX_POWERS", "SplineSpikeRule", "TraceSplines"]

FloatArray = NDArray[np.float64]

MAX_POWERS = 3
"""Powers of the weight go up to two."""

_CUBICS = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6.0
"""Powers of the position within a piece (columns) in each of the four B-splines there (rows)."""


@dataclass(frozen=True, eq=False)
class TraceSplines:
    """An update ``sum_k g_k(trace) * w**k``, each g a cubic spline of a trace.

    Parameters
    ----------
    low, high : float
        Between these the splines have equal pieces; beyond them they are constant.
    coefficients : array_like, shape (n_powers, n_pieces + 3)
        Of the B-splines, for the powers 0, 1, ... of the weight; at most three.

    Raises
    ------
    ValueError
        If the shape is wrong, the range is empty or a number is not finite.

    References
    ----------
    de Boor (1978), A practical guide to splines, chapter IX.

    Examples
    --------
    B-splines sum to one: equal coefficients give a constant.

    >>> splines = TraceSplines(0.0, 2.0, [[-0.5] * 7, [1.0] * 7])
    >>> splines.update([0.1, 9.0], [0.0, 3.0]).round(12).tolist()
    [-0.5, 2.5]
    """

    low: float
    high: float
    coefficients: FloatArray

    def __post_init__(self) -> None:
        table = np.array(self.coefficients, dtype=np.float64)
        if table.ndim != 2 or not 1 <= table.shape[0] <= MAX_POWERS or table.shape[1] < 4:
            raise ValueError(
                f"Splines of a trace need coefficients of shape (1 to {MAX_POWERS}, at least 4), "
                f"got {table.shape}."
            )
        sound = checked("A spline of a trace", self.low, self.high, table)
        for name, value in zip(("low", "high", "coefficients"), sound, strict=True):
            object.__setattr__(self, name, value)

    @property
    def n_powers(self) -> int:
        """Number of powers of the weight, beginning with 0."""
        return int(self.coefficients.shape[0])

    @property
    def n_pieces(self) -> int:
        """Number of equal pieces."""
        return int(self.coefficients.shape[1]) - 3

    def curves(self, trace: ArrayLike) -> FloatArray:
        """Values of all splines, shape (n_powers, *trace.shape)."""
        return spline_curves(trace, self.low, self.high, self.coefficients)

    def update(self, trace: ArrayLike, weight: ArrayLike) -> FloatArray:
        """The update for arrays of one shape, without learning rate."""
        powers = np.stack([np.asarray(weight, dtype=np.float64) ** k for k in range(self.n_powers)])
        result: FloatArray = np.sum(self.curves(trace) * powers, axis=0)
        return result

    def numbers(self) -> FloatArray:
        """Return the splines as the kernels take them: see `spline_value` in ``sims/_spike_programs.py``."""
        windows = np.lib.stride_tricks.sliding_window_view(self.coefficients, 4, axis=1)
        cubics = np.swapaxes(windows, 0, 1) @ _CUBICS  # (n_pieces, n_powers, 4)
        header = [self.low, self.n_pieces / (self.high - self.low), self.n_pieces, self.n_powers]
        return np.concatenate([header, cubics.reshape(-1)])


@dataclass(frozen=True, eq=False)
class SplineSpikeRule:
    """A rule without a formula.

    Parameters
    ----------
    on_pre : TraceSplines or None
        Update at a presynaptic spike, over ``x_post`` and ``w``; None for none.
    on_post : TraceSplines or None
        Update at a postsynaptic spike, over ``x_pre`` and ``w``; None for none.
    tau_pre_ms, tau_post_ms : float
        Time constants of the traces, positive.

    Raises
    ------
    ValueError
        If a time constant is not a positive number.

    Examples
    --------
    >>> SplineSpikeRule(TraceSplines(0.0, 2.0, np.ones((2, 8))), None).on_pre.n_pieces
    5
    """

    on_pre: TraceSplines | None
    on_post: TraceSplines | None
    tau_pre_ms: float = 20.0
    tau_post_ms: float = 20.0

    def __post_init__(self) -> None:
        for value in (self.tau_pre_ms, self.tau_post_ms):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"Time constants of traces are positive and finite, in ms; got {value}.")

    def __repr__(self) -> str:
        # In full, so that rules that differ read differently.
        parts = [
            "None" if one is None else f"TraceSplines({one.low}, {one.high}, {one.coefficients.tolist()})"
            for one in (self.on_pre, self.on_post)
        ]
        return f"SplineSpikeRule({', '.join(parts)}, {self.tau_pre_ms!r}, {self.tau_post_ms!r})"

    def of_projection(self, name: str) -> dict[str, Any]:
        """Return the rule's parts by the slots of a projection of a circuit with one trace x."""
        return of_projection(name, self.on_pre, self.on_post, self.tau_pre_ms, self.tau_post_ms)


def basis(values: ArrayLike, low: float, high: float, n_pieces: int) -> FloatArray:
    """Return the cubic B-splines on equal pieces at some values, shape (*values.shape, n_pieces + 3).

    Examples
    --------
    >>> basis([0.0, 1.0, 5.0], 0.0, 2.0, 2).round(3).tolist()[1]
    [0.0, 0.167, 0.667, 0.167, 0.0]
    """
    return np.moveaxis(spline_curves(values, low, high, np.eye(n_pieces + 3)), 0, -1)

"""Splines of the output inside the kernels of rate neurons: values, slopes and gradients, once a neuron.

Everything is per group, for problems in lanes or for one alone; see :mod:`sims._rate_kernels`, which calls
this.
"""

from typing import NamedTuple

import numpy as np

from sims._compiled import helper
from sims._lanes import lane, load, n_lanes, store, with_lane, zero_of


class SplineRule(NamedTuple):
    """A rule whose nine coefficients are cubic B-splines of the output, in place of a `QuadraticRule`.

    `table` (9, n_pieces + 3) holds the coefficients of the basis on equal pieces between `low` and `high`;
    beyond these the splines are constant. `uses` (9,) says of each whether it acts (1), whether its gradient
    is asked for (2), or both (3). For the type of it the kernels are compiled once more.
    """

    is_linear: bool
    needs_all_moments: bool
    low: float
    high: float
    table: np.ndarray
    uses: np.ndarray
    constants: np.ndarray  # none: registers hold values and slopes of the basis instead
    power: int  # always that of the square


N_SPLINE_REGISTERS = 9

ACTS, WANTED = 1, 2


@helper(forceinline=True)
def _place(rule, y, registers):
    """Put values and slopes of the four basis functions at an output, and its piece, into the registers."""
    n_pieces = rule.table.shape[1] - 3
    scale = n_pieces / (rule.high - rule.low)
    piece, u, inside = zero_of(y), zero_of(y), zero_of(y)
    for g in range(n_lanes(y)):
        z = (lane(y, g) - rule.low) * scale
        if z > 0.0:
            n = int(min(z, n_pieces - 1.0))
            piece = with_lane(piece, g, float(n))
            u = with_lane(u, g, min(z - n, 1.0))
            inside = with_lane(inside, g, scale if z < n_pieces else 0.0)
    v = 1.0 - u
    store(registers, (0,), v * v * v / 6.0)
    store(registers, (1,), (u * u * (0.5 * u - 1.0)) + 2.0 / 3.0)
    store(registers, (2,), (v * v * (0.5 * v - 1.0)) + 2.0 / 3.0)
    store(registers, (3,), u * u * u / 6.0)
    store(registers, (4,), -0.5 * v * v * inside)
    store(registers, (5,), u * (1.5 * u - 2.0) * inside)
    store(registers, (6,), v * (2.0 - 1.5 * v) * inside)
    store(registers, (7,), 0.5 * u * u * inside)
    store(registers, (8,), piece)


@helper(forceinline=True)
def _of_spline(table, q, first, registers):
    """Value of one spline, or with `first` = 4 its slope, at the output whose basis the registers hold."""
    piece = load(registers, (8,))
    b0, b1 = load(registers, (first,)), load(registers, (first + 1,))
    b2, b3 = load(registers, (first + 2,)), load(registers, (first + 3,))
    out = zero_of(piece)
    for g in range(n_lanes(piece)):
        n = int(lane(piece, g))
        value = lane(b0, g) * table[q, n] + lane(b1, g) * table[q, n + 1]
        value += lane(b2, g) * table[q, n + 2] + lane(b3, g) * table[q, n + 3]
        out = with_lane(out, g, value)
    return out


@helper(forceinline=True)
def _coefficient(rule, q, y, registers):
    if rule.uses[q] & ACTS == 0:
        return zero_of(y)
    return _of_spline(rule.table, q, 0, registers)


@helper(forceinline=True)
def spline_coefficients(rule, y, registers):
    """Coefficients of all powers for an output; the registers then hold its basis."""
    _place(rule, y, registers)
    zero = zero_of(y)
    if rule.is_linear:
        return (
            _coefficient(rule, 0, y, registers), _coefficient(rule, 1, y, registers), zero,
            _coefficient(rule, 3, y, registers), zero, zero, zero, zero, zero,
        )  # fmt: skip
    return (
        _coefficient(rule, 0, y, registers), _coefficient(rule, 1, y, registers),
        _coefficient(rule, 2, y, registers), _coefficient(rule, 3, y, registers),
        _coefficient(rule, 4, y, registers), _coefficient(rule, 5, y, registers),
        _coefficient(rule, 6, y, registers), _coefficient(rule, 7, y, registers),
        _coefficient(rule, 8, y, registers),
    )  # fmt: skip


@helper(forceinline=True)
def _pull_spline_power(rule, q, moment, registers, gradient):
    """Add one power's share to the gradient of its spline; return its share of dL/dy."""
    if rule.uses[q] & WANTED != 0:
        piece, first = load(registers, (8,)), q * rule.table.shape[1]
        for s in range(4):
            share = moment * load(registers, (s,))
            for g in range(n_lanes(piece)):
                r = first + int(lane(piece, g)) + s
                total = load(gradient, (r,))
                store(gradient, (r,), with_lane(total, g, lane(total, g) + lane(share, g)))
    if rule.uses[q] & ACTS == 0:
        return zero_of(moment)
    return moment * _of_spline(rule.table, q, 4, registers)


@helper(forceinline=True)
def pull_spline(rule, step, m, registers, gradient):
    """Add one sample's gradient of a spline rule; return dL/dy through the coefficients."""
    through = _pull_spline_power(rule, 0, step * m[0], registers, gradient)
    through = through + _pull_spline_power(rule, 1, step * m[1], registers, gradient)
    through = through + _pull_spline_power(rule, 3, step * m[3], registers, gradient)
    if rule.needs_all_moments:
        through = through + _pull_spline_power(rule, 2, step * m[2], registers, gradient)
        through = through + _pull_spline_power(rule, 4, step * m[4], registers, gradient)
        through = through + _pull_spline_power(rule, 5, step * m[5], registers, gradient)
        through = through + _pull_spline_power(rule, 6, step * m[6], registers, gradient)
        through = through + _pull_spline_power(rule, 7, step * m[7], registers, gradient)
        through = through + _pull_spline_power(rule, 8, step * m[8], registers, gradient)
    return through

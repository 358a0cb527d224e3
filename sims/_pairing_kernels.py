"""Kernels of one synapse between two neurons whose spikes are given; see :mod:`sims.pairing`."""

import math

import numpy as np

from sims._compiled import helper, kernel

SINGULAR = 1e-9
"""Share of a term that others leave unexplained, below which they are not told apart."""

LEAST_WEIGHT = 1e-9
"""Derivatives of powers of smaller weights are those at this one."""


@kernel
def read_traces(pre, post, taus, is_pre, pre_first, pre_jumps, post_jumps, at_pre, at_post):
    """Fill `at_pre` and `at_post` (n_spikes, n_traces) with the traces before each of the sorted spikes.

    At a spike the traces of its neuron jump by its entry of `pre_jumps` or `post_jumps` (n_spikes,).
    """
    traces = np.zeros(len(taus))
    last, i, j = 0.0, 0, 0
    while i < len(pre) or j < len(post):
        takes_pre = j == len(post) or (
            i < len(pre) and (pre[i] < post[j] or (pre_first and pre[i] == post[j]))
        )
        now = pre[i] if takes_pre else post[j]
        for n in range(len(taus)):
            traces[n] *= math.exp((last - now) / taus[n]) if i + j > 0 else 1.0
            if takes_pre:
                at_pre[i, n] = traces[n]
            else:
                at_post[j, n] = traces[n]
            if takes_pre == is_pre[n]:
                traces[n] += pre_jumps[i] if takes_pre else post_jumps[j]
        last = now
        if takes_pre:
            i += 1
        else:
            j += 1


@helper
def solve(products, right, n, factor, solution):
    """Solve a small system with a symmetric positive matrix; False where it is singular.

    Parameters
    ----------
    products, right : ndarray, shape (n, n) and (n,)
    factor, solution : ndarray, shape (n, n) and (n,)
        Room for the Cholesky factor, and what is found.
    """
    for i in range(n):
        if not products[i, i] > 0.0:
            return False
    for i in range(n):
        for j in range(i + 1):
            total = products[i, j] / math.sqrt(products[i, i] * products[j, j])
            for m in range(j):
                total -= factor[i, m] * factor[j, m]
            if i == j:
                if not total > SINGULAR:
                    return False
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(n):
        total = right[i] / math.sqrt(products[i, i])
        for m in range(i):
            total -= factor[i, m] * solution[m]
        solution[i] = total / factor[i, i]
    for k in range(n):
        i = n - 1 - k
        total = solution[i]
        for m in range(i + 1, n):
            total -= factor[m, i] * solution[m]
        solution[i] = total / factor[i, i]
    for i in range(n):
        solution[i] /= math.sqrt(products[i, i])
    return True


@kernel
def fit_on_grid(rows, targets, folds, n_folds, coefficients, sums, predicted, places):
    """Fit by least squares at every point of a grid, with all rows and with every fold left out.

    Parameters
    ----------
    rows : ndarray, shape (n_grid, n_rows, n_terms)
    targets : ndarray, shape (n_rows,)
    folds : ndarray of int, shape (n_rows,)
    n_folds : int
    coefficients, sums : ndarray, shape (n_grid, n_terms) and (n_grid,)
        Best coefficients and squared residuals with all rows; infinite where there are no best ones.
    predicted : ndarray, shape (n_rows,)
        Of every row by the best point and coefficients without its fold; zero where there are none.
    places : ndarray of int, shape (n_folds,)
        That point; -1 where there is none.
    """
    n_grid, n_rows, n = rows.shape
    products, right = np.empty((n, n)), np.empty(n)
    fewer, less = np.empty((n, n)), np.empty(n)
    factor, solution = np.zeros((n, n)), np.empty(n)
    lowest = np.full(n_folds, np.inf)
    predicted[:] = 0.0
    places[:] = -1
    for g in range(n_grid):
        products[:] = 0.0
        right[:] = 0.0
        for p in range(n_rows):
            for i in range(n):
                right[i] += rows[g, p, i] * targets[p]
                for j in range(n):
                    products[i, j] += rows[g, p, i] * rows[g, p, j]
        sums[g] = np.inf
        coefficients[g] = 0.0
        if solve(products, right, n, factor, solution):
            sums[g] = 0.0
            for i in range(n):
                coefficients[g, i] = solution[i]
            for p in range(n_rows):
                residual = -targets[p]
                for i in range(n):
                    residual += rows[g, p, i] * solution[i]
                sums[g] += residual * residual
        for fold in range(n_folds):
            for i in range(n):
                less[i] = right[i]
                for j in range(n):
                    fewer[i, j] = products[i, j]
            for p in range(n_rows):
                if folds[p] == fold:
                    for i in range(n):
                        less[i] -= rows[g, p, i] * targets[p]
                        for j in range(n):
                            fewer[i, j] -= rows[g, p, i] * rows[g, p, j]
            for i in range(n):  # what is left of a term that all of the fold's rows make up is rounding
                if not fewer[i, i] > SINGULAR * products[i, i]:
                    fewer[i, i] = 0.0
            if not solve(fewer, less, n, factor, solution):
                continue
            total = 0.0
            for p in range(n_rows):
                if folds[p] != fold:
                    residual = -targets[p]
                    for i in range(n):
                        residual += rows[g, p, i] * solution[i]
                    total += residual * residual
            if total < lowest[fold]:
                lowest[fold] = total
                places[fold] = g
                for p in range(n_rows):
                    if folds[p] == fold:
                        predicted[p] = 0.0
                        for i in range(n):
                            predicted[p] += rows[g, p, i] * solution[i]


@kernel
def follow_weights(values, starts, powers, rooms, bounds, coefficients, changes, slopes):
    """Let a weight of one change at every spike, by terms that see the weight too.

    Parameters
    ----------
    values : ndarray, shape (n_grid, n_spikes, n_terms)
        What each term sees at each spike but the weight; zero at spikes of the other neuron.
    starts : ndarray of int, shape (n_protocols + 1,)
        First spike of each protocol, and the number of all.
    powers, rooms : ndarray, shape (n_grid, n_terms)
        A term goes with ``w**power * (1 - w / bound)**room``.
    bounds : ndarray, shape (n_grid,)
    coefficients : ndarray, shape (n_grid, n_terms)
    changes, slopes : ndarray, shape (n_grid, n_protocols) and (n_grid, n_protocols, n_terms)
        Changes of the weight, and their derivatives with respect to the coefficients.
    """
    n_grid, _, n = values.shape
    factors, slope = np.empty(n), np.empty(n)
    for g in range(n_grid):
        for p in range(len(starts) - 1):
            weight = 1.0
            slope[:] = 0.0
            for e in range(starts[p], starts[p + 1]):
                step, steepness = 0.0, 0.0
                room = max(1.0 - weight / bounds[g], 0.0)
                for i in range(n):
                    factors[i] = 0.0
                    if values[g, e, i] == 0.0:
                        continue
                    size = values[g, e, i]
                    growth = 0.0
                    if powers[g, i] != 0.0:
                        size *= weight ** powers[g, i]
                        growth += powers[g, i] / max(weight, LEAST_WEIGHT)
                    if rooms[g, i] != 0.0:
                        size *= room ** rooms[g, i]
                        growth -= rooms[g, i] / (bounds[g] * max(room, LEAST_WEIGHT))
                    factors[i] = size
                    step += coefficients[g, i] * size
                    steepness += coefficients[g, i] * size * growth
                weight += step
                for i in range(n):
                    slope[i] += factors[i] + steepness * slope[i]
                if weight < 0.0 or weight > bounds[g]:
                    weight = min(max(weight, 0.0), bounds[g])
                    slope[:] = 0.0
            changes[g, p] = weight - 1.0
            slopes[g, p] = slope

"""Kernels of published networks for principal components whose rules need more than a synapse sees.

A step works on the means over a batch of ``C = <y x^T>`` and ``S = <y y^T>``.
"""

import numpy as np

from sims._compiled import helper, kernel

SANGER, OJA_SUBSPACE, FOLDIAK, SIMILARITY_MATCHING = 0, 1, 2, 3


@helper
def _inverse(matrix, inverse):
    """Gauss-Jordan elimination with partial pivoting; `matrix` is overwritten.

    A singular matrix gives values that are not finite.
    """
    n = matrix.shape[0]
    for i in range(n):
        for j in range(n):
            inverse[i, j] = 1.0 if i == j else 0.0
    for column in range(n):
        pivot = column
        for i in range(column + 1, n):
            if abs(matrix[i, column]) > abs(matrix[pivot, column]):
                pivot = i
        if pivot != column:
            for j in range(n):
                matrix[column, j], matrix[pivot, j] = matrix[pivot, j], matrix[column, j]
                inverse[column, j], inverse[pivot, j] = inverse[pivot, j], inverse[column, j]
        scale = 1.0 / matrix[column, column]
        for j in range(n):
            matrix[column, j] *= scale
            inverse[column, j] *= scale
        for i in range(n):
            if i != column:
                factor = matrix[i, column]
                for j in range(n):
                    matrix[i, j] -= factor * matrix[column, j]
                    inverse[i, j] -= factor * inverse[column, j]


@helper
def respond(network, w, lateral, work, settled, response):
    """Weights with which settled outputs answer to inputs, into `response` (n_outputs, n_inputs)."""
    n_outputs, n_inputs = w.shape
    if network in (SANGER, OJA_SUBSPACE):
        response[:] = w
        return
    for k in range(n_outputs):
        for j in range(n_outputs):
            if network == FOLDIAK:
                work[k, j] = (1.0 if k == j else 0.0) - lateral[k, j]
            else:
                work[k, j] = lateral[k, j]
    _inverse(work, settled)
    for k in range(n_outputs):
        for i in range(n_inputs):
            response[k, i] = 0.0
        for j in range(n_outputs):
            for i in range(n_inputs):
                response[k, i] += settled[k, j] * w[j, i]


@helper
def _correlate(samples, picks, response, y, with_inputs, with_outputs):
    """Means over a batch of the products of outputs with inputs and with each other."""
    n_outputs, n_inputs = response.shape
    share = 1.0 / picks.shape[0]
    with_inputs[:] = 0.0
    with_outputs[:] = 0.0
    for b in range(picks.shape[0]):
        s = picks[b]
        for k in range(n_outputs):
            total = 0.0
            for i in range(n_inputs):
                total += response[k, i] * samples[s, i]
            y[k] = total
        for k in range(n_outputs):
            for i in range(n_inputs):
                with_inputs[k, i] += share * y[k] * samples[s, i]
            for j in range(n_outputs):
                with_outputs[k, j] += share * y[k] * y[j]


@helper
def _learn(network, eta, w, lateral, c, s, change):
    """Change the weights by one step from the correlations `c` with inputs and `s` between outputs."""
    n_outputs, n_inputs = w.shape
    if network == SIMILARITY_MATCHING:
        for k in range(n_outputs):
            for i in range(n_inputs):
                w[k, i] += 2.0 * eta * (c[k, i] - w[k, i])
            for j in range(n_outputs):
                lateral[k, j] += 2.0 * eta * (s[k, j] - lateral[k, j])
        return
    for k in range(n_outputs):
        for i in range(n_inputs):
            change[k, i] = c[k, i]
        for j in range(n_outputs):
            counts = j <= k if network == SANGER else network == OJA_SUBSPACE or j == k
            if counts:
                for i in range(n_inputs):
                    change[k, i] -= s[k, j] * w[j, i]
    for k in range(n_outputs):
        for i in range(n_inputs):
            w[k, i] += eta * change[k, i]
        if network == FOLDIAK:
            for j in range(n_outputs):
                if j != k:
                    lateral[k, j] -= eta * s[k, j]


@helper
def _square_norm(weights):
    flat = weights.reshape(weights.size)
    total = 0.0
    for n in range(flat.shape[0]):
        total += flat[n] * flat[n]
    return total


@kernel
def simulate(
    network, first, last, inputs, weights, lateral_weights, order, eta, n_steps, bound, every, record, blow_up
):
    """Run problems `first` to `last` for `n_steps` steps, in place.

    `weights` become the answering weights at the end; ``record[p, c]`` receives those before step
    ``c * every``. A problem whose weights left the ball of radius `bound` after a step stops with zero
    weights, and ``blow_up[p]`` is the number of steps, or -1.
    """
    n_outputs, n_inputs = weights.shape[1:]
    work, settled = np.empty((n_outputs, n_outputs)), np.empty((n_outputs, n_outputs))
    response, change = np.empty((n_outputs, n_inputs)), np.empty((n_outputs, n_inputs))
    c, s, y = np.empty((n_outputs, n_inputs)), np.empty((n_outputs, n_outputs)), np.empty(n_outputs)
    for p in range(first, last):
        w, lateral = weights[p], lateral_weights[p]
        blow_up[p] = -1
        for t in range(n_steps):
            respond(network, w, lateral, work, settled, response)
            if t % every == 0:
                record[p, t // every] = response
            _correlate(inputs[p], order[t % order.shape[0]], response, y, c, s)
            _learn(network, eta, w, lateral, c, s, change)
            if not _square_norm(w) + _square_norm(lateral) <= bound * bound:
                blow_up[p] = t + 1
                break
        if blow_up[p] < 0:
            respond(network, w, lateral, work, settled, response)
            if not _square_norm(response) <= bound * bound:
                blow_up[p] = n_steps
        if blow_up[p] >= 0:
            w[:] = 0.0
            lateral[:] = 0.0
        else:
            w[:] = response

"""Kernel that goes through spikes and sums what measures are made of."""

from sims._compiled import kernel

LAST, N_INTERVALS, INTERVALS, SQUARED_INTERVALS, BIN, IN_BIN, CLOSED, SQUARED_COUNTS = range(8)
"""Columns of sums: one neuron's are fetched from memory together.

Step of the last spike, -1 for none; number, sum and sum of squares of the intervals between spikes; number of
the bin that is open and its spikes; sum and sum of squares of the counts of closed ones.
"""


@kernel
def note_spikes(step, neuron, begin, bin_steps, sums):
    """Add spikes, sorted by step, to the sums of their neurons.

    Parameters
    ----------
    step, neuron : ndarray of int, shape (n_spikes,)
        Neurons without a line in `sums` are passed by.
    begin, bin_steps : int
        Step of the window's start, and length of its bins.
    sums : ndarray, shape (n_neurons, 8)
    """
    for s in range(step.shape[0]):
        n, k = neuron[s], step[s]
        if n >= sums.shape[0]:
            continue
        of = sums[n]
        if of[LAST] >= 0.0:
            interval = k - of[LAST]
            of[N_INTERVALS] += 1.0
            of[INTERVALS] += interval
            of[SQUARED_INTERVALS] += interval * interval
        of[LAST] = k
        current = float((k - begin) // bin_steps)
        if current != of[BIN]:
            of[CLOSED] += of[IN_BIN]
            of[SQUARED_COUNTS] += of[IN_BIN] * of[IN_BIN]
            of[BIN], of[IN_BIN] = current, 0.0
        of[IN_BIN] += 1.0

"""Problems side by side, one in each lane of the vector instructions."""

from numba import njit

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}


@njit(**OPTIONS)
def into_lanes(rows, first, last, lanes):
    """Fill lanes (n_groups, n, n_inputs, n_lanes) of some groups from rows (n_problems, n, n_inputs).

    Lanes that are left over in the last group repeat the last problem.
    """
    for k in range(first, last):
        for g in range(lanes.shape[3]):
            p = min(k * lanes.shape[3] + g, rows.shape[0] - 1)
            for s in range(rows.shape[1]):
                for i in range(rows.shape[2]):
                    lanes[k, s, i, g] = rows[p, s, i]

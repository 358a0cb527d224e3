"""Problems side by side, one in each lane of the vector instructions."""

from sims._compiled import kernel


@kernel
def into_lanes(rows, first, last, lanes):
    """Fill lanes (n_groups, n, n_inputs, n_lanes) of some groups from rows (n_problems, n, n_inputs).

    Lanes that are left over in the last group repeat the last problem.
    """
    n_lanes, final = lanes.shape[3], rows.shape[0] - 1
    for k in range(first, last):
        for s in range(rows.shape[1]):
            for i in range(rows.shape[2]):
                for g in range(n_lanes):
                    lanes[k, s, i, g] = rows[min(k * n_lanes + g, final), s, i]

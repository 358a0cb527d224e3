"""Published networks for principal components whose rules need more than a synapse's own variables.

They take the same inputs, initial weights and schedules as networks of :mod:`sims.rate`, so that what
local rules find can be set beside them. With outputs ``y``, feed-forward weights ``W`` (n_outputs, n_inputs),
and ``<>`` the mean over the batch of a step, in which all changes are multiplied by the learning rate:

==================== =============================== ==================================================
network              outputs                         changes of the weights
==================== =============================== ==================================================
sanger               ``y = W x``                     ``dW = <y x^T> - lower(<y y^T>) W``
oja-subspace         ``y = W x``                     ``dW = <y x^T> - <y y^T> W``
foldiak-linear       ``y = W x + V y`` (settled)     ``dW = <y x^T> - diag(<y y^T>) W``,
                                                     ``dV = -<y y^T>`` off the diagonal
similarity-matching  ``M y = W x`` (settled)         ``dW = 2 (<y x^T> - W)``, ``dM = 2 (<y y^T> - M)``
==================== =============================== ==================================================

``lower`` keeps the diagonal and what is below it. Lateral weights start at ``V = 0`` and at ``M = 1``.

References
----------
Sanger (1989), Neural Netw. 2:459; Oja (1989), Int. J. Neural Syst. 1:61; Foldiak (1989), Proc. IJCNN 1:401;
Pehlevan, Sengupta & Chklovskii (2018), Neural Comput. 30:84, with tau = 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._groups import run_groups
from sims.rate import BLOW_UP_NORM, Schedule, checked_inputs

__all__ = ["NETWORKS", "PublishedOutcome", "simulate"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NETWORKS = ("sanger", "oja-subspace", "foldiak-linear", "similarity-matching")
"""Names of the networks."""

WITH_LATERAL = ("foldiak-linear", "similarity-matching")
"""Those that have lateral synapses."""


@dataclass(frozen=True)
class PublishedOutcome:
    """What a simulation ended with.

    Attributes
    ----------
    response : ndarray, shape (n_problems, n_outputs, n_inputs)
        Weights with which settled outputs answer to inputs; zero where the problem blew up.
    lateral : ndarray, shape (n_problems, n_outputs, n_outputs), or None
        Lateral weights, ``V`` or ``M``; None where the network has none.
    blow_up : ndarray of int, shape (n_problems,)
        Number of steps after which the norm of all weights was too large or not finite, or -1.
    record : ndarray, shape (n_problems, n_records, n_outputs, n_inputs)
        Answering weights before step 0, `every`, 2 `every`, ...
    """

    response: FloatArray
    lateral: FloatArray | None
    blow_up: IntArray
    record: FloatArray


def simulate(
    network: str,
    inputs: ArrayLike,
    initial_weights: ArrayLike,
    schedule: Schedule,
    *,
    every: int | None = None,
) -> PublishedOutcome:
    """Simulate many problems in one of the published networks.

    Parameters
    ----------
    network : str
        One of :data:`NETWORKS`.
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
    initial_weights : array_like, shape (n_problems, n_outputs, n_inputs)
    schedule : Schedule
    every : int, optional
        Steps between two records; default: the start alone is recorded.

    Returns
    -------
    PublishedOutcome

    Raises
    ------
    ValueError
        If there is no such network, shapes do not fit, numbers are not finite or the schedule names samples
        that do not exist.

    Examples
    --------
    Sanger's rule finds the first components, one after the other.

    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(1, 200, 3)) * [1.0, 0.6, 0.1]
    >>> start = 0.1 * rng.normal(size=(1, 2, 3))
    >>> end = simulate("sanger", inputs, start, Schedule.whole_sample(200, 1000, 0.2))
    >>> np.linalg.norm(end.response[0], axis=1).round(3).tolist()
    [1.0, 1.0]
    """
    if network not in NETWORKS:
        raise ValueError(f"There is no network {network!r}. Networks: {', '.join(NETWORKS)}.")
    x, w = checked_inputs(inputs, schedule), np.array(initial_weights, dtype=np.float64, order="C")
    if w.ndim != 3 or w.shape[1] == 0 or w.shape[::2] != x.shape[::2]:
        expected = f"({x.shape[0]}, n_outputs, {x.shape[2]})"
        raise ValueError(f"Initial weights have shape {expected} for these inputs, got {w.shape}.")
    if not np.isfinite(w).all():
        raise ValueError("Initial weights must be finite, got NaN or infinity.")
    every = schedule.n_steps if every is None else every
    if every < 1:
        raise ValueError(f"Records are at least one step apart, got every={every}.")
    from sims import _published_kernels as kernels

    x = x if x.flags.writeable else x.copy()  # a second type would be compiled all over again
    n_problems, n_outputs, n_inputs = w.shape
    lateral = np.zeros((n_problems, n_outputs, n_outputs))
    if network == "similarity-matching":
        lateral[:] = np.eye(n_outputs)
    record = np.zeros((n_problems, -(-schedule.n_steps // every), n_outputs, n_inputs))
    blow_up = np.empty(n_problems, dtype=np.int64)
    order = np.array(schedule.order)

    def run(first: int, last: int) -> None:
        kernels.simulate(
            NETWORKS.index(network), first, last, x, w, lateral, order, schedule.learning_rate,
            schedule.n_steps, BLOW_UP_NORM, every, record, blow_up,
        )  # fmt: skip

    amount = w.size * (n_outputs + 20) * order.shape[1] * schedule.n_steps
    run_groups(run, n_problems, amount)
    return PublishedOutcome(w, lateral if network in WITH_LATERAL else None, blow_up, record)

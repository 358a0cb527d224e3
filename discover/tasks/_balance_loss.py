"""The rate's share of the loss of balance, for the feed-forward and the recurrent circuit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRACE", "rate_loss"]

FloatArray = NDArray[np.float64]

SOFT_HZ = 2.0
"""Softens the loss at low rates."""

GRACE = 10.0
"""A run that stopped at once costs so much more than one that stopped at its end."""


def rate_loss(rate_hz: FloatArray, target_hz: float) -> FloatArray:
    """Return the rate's share of the loss.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 4.
    """
    return (rate_hz - target_hz) ** 2 / (rate_hz + SOFT_HZ)

"""L1 meta-learning: sparse coefficients of the polynomial basis, learned from what rules do in a network."""

from discover.fit.path import choose, fit
from discover.fit.result import FitResult, PathPoint
from discover.fit.settings import FitSettings

__all__ = ["FitResult", "FitSettings", "PathPoint", "choose", "fit"]

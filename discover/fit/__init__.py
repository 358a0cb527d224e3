"""L1 meta-learning: sparse coefficients of the polynomial basis, learned from what rules do in a network."""

from discover.fit.choosing import choose
from discover.fit.fitting import fit
from discover.fit.result import FitResult, PathPoint, Teacher, TeacherPoint
from discover.fit.settings import FitSettings, TeacherSettings
from discover.fit.teacher import teach

__all__ = [
    "FitResult",
    "FitSettings",
    "PathPoint",
    "Teacher",
    "TeacherPoint",
    "TeacherSettings",
    "choose",
    "fit",
    "teach",
]

"""L1 meta-learning: sparse coefficients of the polynomial basis, learned from what rules do in a network."""

from discover.fit.choosing import choose
from discover.fit.path import fit
from discover.fit.result import FitResult, PathPoint, teacher_from_json
from discover.fit.settings import FitSettings, TeacherSettings
from discover.fit.spike_teacher import SpikeTeacher, SpikeTeacherPoint, teach_spikes
from discover.fit.teacher import Teacher, TeacherPoint, teach

__all__ = [
    "FitResult",
    "FitSettings",
    "PathPoint",
    "SpikeTeacher",
    "SpikeTeacherPoint",
    "Teacher",
    "TeacherPoint",
    "TeacherSettings",
    "choose",
    "fit",
    "teach",
    "teach_spikes",
    "teacher_from_json",
]

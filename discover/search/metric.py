"""What an error of the teacher's update costs the network, to second order.

Where a rule is to be replaced by a formula, an error matters by what it does to the loss and not by how often
a state is visited. Around a teacher that has learned, the mean loss is a quadratic form of the coefficients
of its splines. Its matrix follows from differences of exact gradients, two for each coefficient; with it, a
formula for the whole update is found by least squares over weighted sums of states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from discover.fit import TeacherPoint
from discover.journal import remembered
from discover.search.engine import Samples
from discover.tasks.base import Task

__all__ = ["curvature", "in_metric"]

FloatArray = NDArray[np.float64]

STEP = 0.05
"""Of the root-mean-square of a block's coefficients: how far one is moved for a difference of gradients."""

TRIMMED = 0.05
"""Share of problems at each end whose differences of gradients are left out."""

VISITED = 0.02
"""Loss that is put on an error as large as the update itself, by visitation: it keeps formulas sane."""

N_VISITED = 250
"""Rows of the weighted samples that stand for single states."""

RIDGE = 1e-6


def curvature(task: Task, teacher: TeacherPoint, problems: Any) -> FloatArray:
    """Return the matrix of second derivatives of the mean loss, made positive.

    Parameters
    ----------
    task : Task
    teacher : TeacherPoint
    problems : Problems

    Returns
    -------
    ndarray, shape (n_active, n_active)
        With respect to the coefficients of the blocks that are not zero, in their order.
    """
    table = teacher.rule.coefficients

    def compute(plain: Any) -> dict[str, FloatArray]:
        active = np.flatnonzero(np.repeat(table.reshape(9, -1).any(axis=1), table.shape[2]))
        sizes = np.sqrt(np.mean(table.reshape(9, -1) ** 2, axis=1))
        rows = []
        for place in active.tolist():
            moved = STEP * float(sizes[place // table.shape[2]])
            sides = []
            for sign in (1.0, -1.0):
                other = table.copy().reshape(-1)
                other[place] += sign * moved
                result = plain.gradient(_with_table(teacher, other.reshape(table.shape)), problems)
                sides.append(np.where(result.blown[:, None], np.nan, result.gradients[:, active]))
            differences = np.sort((sides[0] - sides[1]) / (2 * moved), axis=0)  # NaN goes to the end
            n_sound = int(np.isfinite(differences).all(axis=1).sum())
            cut = int(TRIMMED * n_sound)
            rows.append(differences[cut : max(n_sound - cut, cut + 1)].mean(axis=0))
        matrix = np.nan_to_num(np.array(rows))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return {"curvature": (vectors * np.maximum(values, 0.0)) @ vectors.T}

    return remembered(task, "curvature", problems, (teacher.rule,), compute)["curvature"]


def _with_table(teacher: TeacherPoint, table: FloatArray) -> Any:
    rule = teacher.rule
    return type(rule)(rule.low, rule.high, table, rule.acts)


def in_metric(samples: Samples, teacher: TeacherPoint, matrix: FloatArray, seed: int) -> Samples:
    """Return samples of an update whose mean squared error is the loss that an error costs.

    Parameters
    ----------
    samples : Samples
        Of the teacher's update, in the variables presynaptic, postsynaptic, weight.
    teacher : TeacherPoint
    matrix : ndarray, shape (n_active, n_active)
        See :func:`curvature`.
    seed : int
        Decides which states count by themselves as well.
    """
    pre, post, weight = samples.inputs.T[:3]
    columns = []
    for i, k in teacher.blocks:
        for n in range(teacher.rule.coefficients.shape[2]):
            unit = np.zeros_like(teacher.rule.coefficients)
            unit[i, k, n] = 1.0
            columns.append(_with_table(teacher, unit).update(pre, post, weight))
    basis = np.stack(columns, axis=1)
    gram = basis.T @ basis / len(basis)
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    to_coefficients = np.linalg.solve(gram + ridge, basis.T / len(basis))
    values, vectors = np.linalg.eigh(matrix)
    root = (vectors * np.sqrt(np.maximum(values, 0.0) / 2)).T
    rows = np.sort(np.random.default_rng(seed).choice(len(basis), min(N_VISITED, len(basis)), replace=False))
    power = float(np.mean(samples.target**2)) or 1.0
    single = np.zeros((len(rows), len(basis)))
    single[np.arange(len(rows)), rows] = np.sqrt(VISITED / power / len(rows))
    kernel = np.concatenate([root @ to_coefficients, single]) * np.sqrt(len(root) + len(rows))
    return Samples(samples.variables, samples.inputs, kernel @ samples.target, sparse.csr_array(kernel))

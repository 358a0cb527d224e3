"""Recordings: samples of an update that belong together, and are held out together.

Rows of one recording are not independent: a rule that saw some of them knows much of the others. All splits
here are therefore by recording, never by row. Where only the weight was observed over time and not its
change, every recording gives equations in place of rows (the weak form): with a smooth test function ``phi``
that vanishes at the ends of a window, ``dw/dt = f`` means that the integral of ``phi * f`` is that of
``-phi' * w``, so that noise in ``w`` is never differentiated.

References
----------
Messenger & Bortz (2021), Weak SINDy, Multiscale Modeling & Simulation 19:1474-1497.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.signal import savgol_filter

from discover.errors import ConfigError
from discover.search.engine import Samples
from discover.shown import Short

__all__ = ["Recordings", "blocks", "from_rows", "weak_form"]

FloatArray = NDArray[np.float64]

MIN_ROWS = 20
"""Fewest rows of a table."""

POWER = 6
"""Power of the bump ``(1 - s**2)**POWER``, whose derivatives vanish at the ends up to the fifth."""

MIN_WINDOW = 11
MAX_NOISE = 0.003
"""A window is wide enough when noise makes up this share of the variance of its equations."""


class _Rows(Samples):
    """Samples of which a few rows may be taken, to predict a short recording."""

    least_rows = 1


@dataclass(frozen=True, eq=False, repr=False)
class Recordings(Short):
    """Rows of recorded data, or equations about them, each of one recording.

    Attributes
    ----------
    samples : Samples
        States and targets; with a kernel in the weak form, and where rows have weights: then a row is
        multiplied by the root of its weight.
    groups : ndarray of int, shape (n_rows,)
        Recording of every row of the target.
    names : tuple of str
        Names of the recordings.
    pointwise : Samples
        What engines that cannot use equations are given: the samples themselves, or estimates of the
        derivative at every state.
    pointwise_groups : ndarray of int
        Recording of every row of `pointwise`.
    stated : bool
        Whether the recordings were named by the user; False for blocks of rows.
    window : float or None
        Width of the test functions, in the unit of time.
    """

    samples: Samples
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    pointwise: Samples
    pointwise_groups: NDArray[np.int64]
    stated: bool = True
    window: float | None = None

    def in_short(self) -> str:
        """Return how many rows and recordings there are, and of what."""
        what = "equations" if self.window is not None else "weighted rows" if self.is_weighted else "rows"
        kind = "recordings" if self.stated else "blocks of rows"
        names = ", ".join(self.samples.variables)
        return f"{self.samples.n_rows} {what} in {self.n_recordings} {kind}, variables {names}"

    @property
    def n_recordings(self) -> int:
        """Number of recordings."""
        return len(self.names)

    @property
    def n_independent(self) -> int:
        """About how many rows are independent: equations of neighbouring windows overlap."""
        return self.samples.n_rows if self.window is None else -(-self.samples.n_rows // 2)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights."""
        return self.samples.kernel is not None and self.window is None

    @property
    def roots(self) -> FloatArray:
        """What every row of the target is multiplied by: the root of its weight, else 1."""
        rows = np.ones(self.samples.n_rows)
        return self.samples.observed(rows) if self.is_weighted else rows

    @property
    def rows(self) -> list[NDArray[np.intp]]:
        """Rows of every recording, in their order."""
        order = np.argsort(self.groups, kind="stable")
        counts = np.bincount(self.groups, minlength=self.n_recordings)
        return np.split(order, np.cumsum(counts)[:-1])

    def of(self, recordings: Sequence[int]) -> Recordings:
        """Return some of the recordings, renumbered in the given order."""
        rows = np.isin(self.groups, recordings)
        points = np.isin(self.pointwise_groups, recordings)
        number = {old: new for new, old in enumerate(recordings)}
        samples = self.samples.where(rows)
        return replace(
            self,
            samples=samples,
            groups=np.array([number[int(one)] for one in self.groups[rows]], dtype=np.int64),
            names=tuple(self.names[one] for one in recordings),
            pointwise=samples if self.samples.kernel is None else self.pointwise.where(points),
            pointwise_groups=np.array(
                [number[int(one)] for one in self.pointwise_groups[points]], dtype=np.int64
            ),
        )

    def held_apart(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Return the recordings that are searched on, and those that are kept for the end.

        None are kept where there are fewer than five.
        """
        n_kept = round(share * self.n_recordings) if self.n_recordings >= 5 else 0
        if share > 0 and self.n_recordings >= 5:
            n_kept = max(n_kept, 1)
        order = np.random.default_rng(seed).permutation(self.n_recordings)
        kept = sorted(order[:n_kept].tolist())
        return [one for one in range(self.n_recordings) if one not in kept], kept

    def splits(self, n_folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield flags of the rows to fit and of those to predict; no recording is in both.

        Recordings are dealt out in turn by size, largest first, so that the parts are about equal.
        """
        n_folds = min(n_folds, self.n_recordings)
        sizes = np.bincount(self.groups, minlength=self.n_recordings)
        order = np.argsort(-sizes, kind="stable")
        fold_of = np.empty(self.n_recordings, dtype=np.int64)
        fold_of[order] = np.arange(self.n_recordings) % n_folds
        for fold in range(n_folds):
            held = fold_of[self.groups] == fold
            yield ~held, held


def from_rows(
    variables: Sequence[str],
    inputs: ArrayLike,
    target: ArrayLike,
    labels: Sequence[str] | NDArray[np.str_] | None,
    n_blocks: int = 10,
    weights: ArrayLike | None = None,
) -> Recordings:
    """Return recordings of an update that was itself observed.

    Parameters
    ----------
    variables : sequence of str
    inputs : array_like, shape (n_rows, n_variables)
        Columns in the order of `variables`; those of a data frame that has the same names may have another.
    target : array_like, shape (n_rows,)
    labels : sequence of str, shape (n_rows,), or None
        Recording of every row; None for contiguous blocks.
    n_blocks : int
        Number of blocks.
    weights : array_like, shape (n_rows,), optional
        How much the squared error of every row counts, such as one over its variance; rows with the weight 0
        are left out. Only their ratios matter.

    Raises
    ------
    ConfigError
        If there are fewer than two recordings, labels are not one a row, or a weight is negative or not
        finite.
    """
    inputs = _in_order(tuple(variables), inputs)
    samples: Samples = _Rows(tuple(variables), np.asarray(inputs), np.asarray(target))
    labels = None if labels is None else _checked_labels(labels, samples.n_rows)
    size = None if weights is None else _checked_weights(weights, samples.n_rows)
    if size is not None:
        kept = size > 0
        labels = None if labels is None else labels[kept]
        samples, size = samples.where(kept), size[kept]
    groups, names = _grouped(samples.n_rows, labels, n_blocks)
    if size is None or np.ptp(size) == 0:
        return Recordings(samples, groups, names, samples, groups, stated=labels is not None)
    roots = np.sqrt(size / size.mean())
    kernel = sparse.csr_array(sparse.diags_array(roots))
    weighted = _Rows(samples.variables, samples.inputs, roots * samples.target, kernel)
    return Recordings(weighted, groups, names, samples, groups, stated=labels is not None)


def _checked_weights(weights: ArrayLike, n_rows: int) -> FloatArray:
    size = np.asarray(weights, dtype=np.float64)
    if size.shape != (n_rows,) or not np.isfinite(size).all() or (size < 0).any() or not size.any():
        raise ConfigError(
            f"Weights are {n_rows} finite numbers, one a row, not below zero and not all zero; got the shape "
            f"{size.shape}, with values from {size.min(initial=np.inf):.3g} to "
            f"{size.max(initial=-np.inf):.3g}."
        )
    return size


def _in_order(variables: tuple[str, ...], inputs: ArrayLike) -> ArrayLike:
    """Return the columns of a data frame in the order of the variables, where these are their names."""
    own = [str(name) for name in getattr(inputs, "columns", ())]
    if not own or sorted(own) != sorted(variables):
        return inputs
    return np.asarray(inputs)[:, [own.index(name) for name in variables]]


def checked_recordings(recordings: object) -> Recordings:
    """Return recordings as they are.

    Raises
    ------
    ConfigError
        If it is something else, such as a data frame; the text says what makes recordings of it.
    """
    if isinstance(recordings, Recordings):
        return recordings
    raise ConfigError(
        f"Recordings are needed, got {type(recordings).__name__}. discover.inference.from_rows(variables, "
        "inputs, target, labels) makes them from columns of a table, and RuleRegressor().fit(X, y, groups) "
        "takes arrays and data frames as they are."
    )


def _checked_labels(labels: Sequence[str] | NDArray[np.str_], n_rows: int) -> NDArray[Any]:
    if isinstance(labels, (str, bytes)):
        name = labels if isinstance(labels, str) else labels.decode(errors="replace")
        raise ConfigError(
            f"Labels are the recordings of all {n_rows} rows, one a row, and not the name of a column: hand "
            f"over the column itself, such as df[{name[:40]!r}]."
        )
    found = np.asarray(labels)
    if found.shape != (n_rows,):
        raise ConfigError(
            f"Labels name the recording of every row: {n_rows} of them are needed, got the shape "
            f"{found.shape}."
        )
    return found


def blocks(n_rows: int, n_blocks: int) -> NDArray[np.int64]:
    """Return contiguous blocks of about equal size in place of recordings.

    Examples
    --------
    >>> blocks(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return np.arange(n_rows) * min(n_blocks, n_rows) // n_rows


def _grouped(
    n_rows: int, labels: Sequence[str] | NDArray[np.str_] | None, n_blocks: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if labels is None:
        groups = blocks(n_rows, n_blocks)
        return groups, tuple(f"block {one + 1}" for one in range(int(groups.max()) + 1))
    labels = _checked_labels(labels, n_rows)
    names = list(dict.fromkeys(str(label) for label in labels))
    if len(names) < 2:
        raise ConfigError(
            f"All rows belong to one recording ({names[0][:40]!r}), so that none can be held out. Name a "
            "column with at least two, or leave it out: then contiguous blocks of rows are held out."
        )
    if len(names) > 10_000:
        raise ConfigError(
            f"There are {len(names):,} recordings; at most 10,000 are taken. Is it the right column?"
        )
    number = {name: position for position, name in enumerate(names)}
    return np.array([number[str(label)] for label in labels], dtype=np.int64), tuple(names)


# ---------------------------------------------------------------------------------------------- the weak form


def weak_form(
    columns: Mapping[str, ArrayLike],
    variables: Sequence[str],
    observed: ArrayLike,
    time: ArrayLike,
    labels: Sequence[str] | NDArray[np.str_] | None,
    synapses: Sequence[str] | NDArray[np.str_] | None = None,
    window: float | None = None,
    n_blocks: int = 10,
) -> Recordings:
    """Return equations about the rate of change of a quantity that was observed over time.

    Parameters
    ----------
    columns : mapping from str to array_like, shape (n_rows,)
        The variables that the rule may see.
    variables : sequence of str
    observed : array_like, shape (n_rows,)
        The quantity whose rate of change is wanted, such as the weight.
    time : array_like, shape (n_rows,)
        Times, growing within every recording and synapse.
    labels, synapses : sequence of str, shape (n_rows,), optional
        Recording and synapse of every row. No test function reaches from one into another.
    window : float, optional
        Width of the test functions, in the unit of time. By default the narrowest at which noise, as far as
        third differences of the observations show it, is a small part of the equations.
    n_blocks : int
        Blocks of rows in place of recordings, where none are named.

    Raises
    ------
    ConfigError
        If times do not grow, or no series is long enough for the window.
    """
    w, t = np.asarray(observed, dtype=np.float64), np.asarray(time, dtype=np.float64)
    groups, names = _grouped(len(w), labels, n_blocks)
    series = _series(groups, synapses)
    for rows in series:
        steps = np.diff(t[rows])
        if not (steps > 0).all():
            first = rows[int(np.flatnonzero(steps <= 0)[0]) + 1]
            raise ConfigError(
                f"Times must grow within every recording and synapse; in data row {first + 1} they do not. "
                "Sort the table by time, or name the column of synapses if several share a recording."
            )
    half = _half_width(series, w, t, window)
    usable = [rows for rows in series if len(rows) >= 2 * half + 1]
    parts = [_equations(rows, w, t, half) for rows in usable]
    if not parts or sum(part[1].size for part in parts) < MIN_ROWS:
        raise ConfigError(
            f"Test functions of {2 * half + 1} samples give fewer than {MIN_ROWS} equations. Take a narrower "
            "window, or longer series."
        )
    inputs = np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in variables])
    kernel = sparse.vstack(
        [sparse.csr_array((part[0].data, rows[part[0].indices], part[0].indptr), (part[1].size, len(w)))
         for rows, part in zip(usable, parts, strict=True)],
        format="csr",
    )  # fmt: skip
    target = np.concatenate([part[1] for part in parts])
    groups_of = np.concatenate(
        [np.full(part[1].size, groups[rows[0]]) for rows, part in zip(usable, parts, strict=True)]
    )
    used = np.unique(kernel.indices)
    samples = _Rows(tuple(variables), inputs[used], target, kernel[:, used])
    rates, rows = _rates(usable, w, t, half)
    steps = np.concatenate([np.diff(t[one]) for one in usable])
    present = sorted(set(groups_of.tolist()))
    number = {old: new for new, old in enumerate(present)}
    if len(present) < 2:
        raise ConfigError("Only one recording is long enough for the window, so that none can be held out.")
    return Recordings(
        samples,
        np.array([number[int(one)] for one in groups_of], dtype=np.int64),
        tuple(names[one] for one in present),
        _Rows(tuple(variables), inputs[rows], rates),
        np.array([number[int(one)] for one in groups[rows]], dtype=np.int64),
        stated=labels is not None,
        window=2 * half * float(np.median(steps)),
    )


def _series(
    groups: NDArray[np.int64], synapses: Sequence[str] | NDArray[np.str_] | None
) -> list[NDArray[np.intp]]:
    """Rows of every recording and synapse, in their order."""
    keys = list(zip(groups.tolist(), synapses if synapses is not None else [""] * len(groups), strict=True))
    found: dict[tuple[int, str], list[int]] = {}
    for row, key in enumerate(keys):
        found.setdefault((int(key[0]), str(key[1])), []).append(row)
    return [np.array(rows, dtype=np.intp) for rows in found.values()]


def _half_width(
    series: Sequence[NDArray[np.intp]], w: FloatArray, t: FloatArray, window: float | None
) -> int:
    longest = max(len(rows) for rows in series)
    if window is not None:
        step = float(np.median(np.concatenate([np.diff(t[rows]) for rows in series if len(rows) > 1])))
        if not window > 0 or window / step < MIN_WINDOW - 1 - 1e-6:
            raise ConfigError(
                f"A window of {window:g} is too narrow: at a step of {step:.4g} it needs at least "
                f"{(MIN_WINDOW - 1) * step:.4g}, {MIN_WINDOW} samples."
            )
        return max(round(window / step / 2), MIN_WINDOW // 2)
    # Third differences of white noise have 20 times its variance.
    thirds = [np.diff(w[rows], 3) for rows in series if len(rows) > 3]
    noise = float(np.median(np.abs(np.concatenate(thirds)))) / 0.6745 / np.sqrt(20) if thirds else 0.0
    half, last = MIN_WINDOW // 2, max(longest // 8, MIN_WINDOW // 2)
    while half < last:
        parts = [_equations(rows, w, t, half) for rows in series if len(rows) >= 2 * half + 1]
        targets = np.concatenate([part[1] for part in parts])
        # Every row of the derivative's weights multiplies independent noise.
        expected = noise**2 * float(np.mean(np.concatenate([part[2] for part in parts])))
        if expected <= MAX_NOISE * float(np.mean(targets**2)):
            break
        half = min(max(half + 1, round(1.4 * half)), last)
    return half


def _equations(
    rows: NDArray[np.intp], w: FloatArray, t: FloatArray, half: int
) -> tuple[sparse.csr_array, FloatArray, FloatArray]:
    """Weights of the update, target, and squared norm of the weights of `w`, for windows half a width apart.

    The test functions have unit integral, so that targets are mean rates.
    """
    times, values = t[rows], w[rows]
    length = 2 * half + 1
    starts = np.unique(
        np.linspace(0, len(rows) - length, 1 + (len(rows) - length) // max(half // 2, 1)).astype(int)
    )
    data, indices, targets, norms = [], [], [], []
    for start in starts:
        inside = slice(start, start + length)
        local = times[inside]
        middle, reach = (local[0] + local[-1]) / 2, (local[-1] - local[0]) / 2
        s = np.clip((local - middle) / reach, -1, 1)
        bump = (1 - s**2) ** POWER
        slope = -2 * POWER * s * (1 - s**2) ** (POWER - 1) / reach
        weights = np.gradient(np.arange(length, dtype=float)) * _trapezoid(local)
        area = float(weights @ bump)
        data.append(weights * bump / area)
        indices.append(np.arange(start, start + length))
        of_w = -weights * slope / area
        # The weights of w sum to zero exactly, so that a constant weight has no rate.
        of_w -= of_w.mean()
        targets.append(float(of_w @ (values[inside] - values[inside].mean())))
        norms.append(float(of_w @ of_w))
    pointer = np.arange(len(starts) + 1) * length
    kernel = sparse.csr_array(
        (np.concatenate(data), np.concatenate(indices), pointer), (len(starts), len(rows))
    )
    return kernel, np.array(targets), np.array(norms)


def _trapezoid(times: FloatArray) -> FloatArray:
    steps = np.diff(times)
    weights = np.zeros(len(times))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return weights


def _rates(
    series: Sequence[NDArray[np.intp]], w: FloatArray, t: FloatArray, half: int
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Rates of change from local cubic fits, and the rows that they belong to: away from the ends."""
    rates, kept = [], []
    for rows in series:
        width = min(2 * half + 1, len(rows) - (1 - len(rows) % 2))
        slope = savgol_filter(w[rows], width, min(3, width - 1), deriv=1) / np.gradient(t[rows])
        inner = slice(half // 2, len(rows) - half // 2)
        rates.append(slope[inner])
        kept.append(rows[inner])
    return np.concatenate(rates), np.concatenate(kept)

"""Input ensembles, settings and measures that the principal-component tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError

__all__ = [
    "Isotropic",
    "Source",
    "Spectrum",
    "complete_settings",
    "digits",
    "draw_inputs",
    "eigenvalues",
    "mini_batches",
    "principal_components",
    "random_axes",
    "sign_free_distance",
    "whitened",
]

FloatArray = NDArray[np.float64]
Source = Literal["gaussian", "laplace", "uniform", "digits"]
Spectrum = Literal["published", "linear", "power-law", "steep"]
Isotropic = Literal["isotropic"]

N_DIGIT_PIXELS = 64


def complete_settings(settings: Any, presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Fill in, from its preset, what frozen settings of a task leave open, and check the inputs' settings.

    Raises
    ------
    TaskError
        If there is no such preset, or the inputs cannot be drawn as asked for.
    """
    if settings.preset not in presets:
        raise TaskError(f"There is no preset {settings.preset!r}. Presets: {', '.join(presets)}.")
    for item in fields(settings):
        if getattr(settings, item.name) is None:
            object.__setattr__(settings, item.name, presets[settings.preset][item.name])
    if settings.source == "digits" and settings.n_inputs != N_DIGIT_PIXELS:
        raise TaskError(
            f"Digits have {N_DIGIT_PIXELS} pixels; set n_inputs to that, got {settings.n_inputs}."
        )
    if settings.batch and settings.n_samples % settings.batch:
        raise TaskError(f"A batch of {settings.batch} does not divide {settings.n_samples} samples.")
    eigenvalues(settings.spectrum, settings.n_inputs)


def eigenvalues(spectrum: Spectrum | Isotropic | tuple[float, ...], n_inputs: int) -> FloatArray:
    """Variances of the inputs along their principal axes, largest first, shape (n_inputs,).

    ``published`` is (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0, ...), ``linear`` falls evenly from 1 to 0, ``power-law``
    is 1/k and ``steep`` 1/k**2; a tuple is taken as it is, filled up with zeros. ``isotropic`` is 1
    everywhere: no direction is special, and there is nothing to find.

    Raises
    ------
    TaskError
        If a tuple is longer than the number of inputs, falls below zero or is not sorted.

    Examples
    --------
    >>> eigenvalues("power-law", 4).round(2).tolist()
    [1.0, 0.5, 0.33, 0.25]
    """
    rank = np.arange(1, n_inputs + 1, dtype=np.float64)
    if spectrum == "isotropic":
        return np.ones(n_inputs)
    if spectrum == "power-law":
        return 1 / rank
    if spectrum == "steep":
        return rank**-2
    if spectrum == "linear":
        return 1 - (rank - 1) / max(n_inputs - 1, 1)
    given = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5) if spectrum == "published" else tuple(spectrum)
    values = np.zeros(n_inputs)
    if spectrum == "published":
        given = given[:n_inputs]
    if len(given) > n_inputs:
        raise TaskError(f"A spectrum of {len(given)} values needs at least so many inputs, got {n_inputs}.")
    values[: len(given)] = given
    if values.min() < 0 or np.any(np.diff(values) > 0) or values[0] <= 0:
        raise TaskError(f"A spectrum is positive first and falls; got {given}.")
    return values


def draw_inputs(
    source: Source, variances: FloatArray, n_samples: int, rng: np.random.Generator
) -> FloatArray:
    """Draw one problem's inputs, shape (n_samples, n_inputs), with a random rotation of the axes.

    Sources are independent along the principal axes with the given variances, Gaussian, Laplacian or
    uniform; ``digits`` draws images of handwritten digits (8 x 8 pixels, centred, largest variance 1).
    """
    if source == "digits":
        images = digits()
        drawn: FloatArray = images[rng.choice(len(images), n_samples, replace=n_samples > len(images))]
        return drawn
    n_inputs = len(variances)
    rank = int(np.count_nonzero(variances))
    axes = random_axes(n_inputs, rank, rng)
    if source == "gaussian":
        sources = rng.normal(size=(n_samples, rank))
    elif source == "laplace":
        sources = rng.laplace(scale=np.sqrt(0.5), size=(n_samples, rank))
    else:
        sources = rng.uniform(-np.sqrt(3), np.sqrt(3), size=(n_samples, rank))
    samples: FloatArray = (sources * np.sqrt(variances[:rank])) @ axes.T
    return samples


def random_axes(n_inputs: int, rank: int, rng: np.random.Generator) -> FloatArray:
    """Uniformly distributed orthonormal axes, shape (n_inputs, rank)."""
    q, r = np.linalg.qr(rng.normal(size=(n_inputs, rank)))
    axes: FloatArray = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return axes


@lru_cache(maxsize=1)
def digits() -> FloatArray:
    """Images of handwritten digits, shape (1797, 64), centred and scaled to a largest variance of 1."""
    from sklearn.datasets import load_digits

    images: FloatArray = load_digits().data.astype(np.float64)
    images -= images.mean(axis=0)
    images /= np.linalg.svd(images, compute_uv=False)[0] / np.sqrt(len(images))
    images.setflags(write=False)
    return images


def whitened(samples: FloatArray) -> FloatArray:
    """Return samples with mean squares of exactly one and mean products of zero.

    Of all such samples it is the nearest: each column stays as near as can be to what it was.

    Parameters
    ----------
    samples : ndarray, shape (n_samples, n_inputs)
        More samples than inputs.

    Examples
    --------
    >>> white = whitened(np.random.default_rng(0).normal(size=(10, 2)))
    >>> bool(np.allclose(white.T @ white / 10, np.eye(2)))
    True
    """
    variances, axes = np.linalg.eigh(samples.T @ samples / len(samples))
    white: FloatArray = samples @ (axes / np.sqrt(variances)) @ axes.T
    return white


def principal_components(inputs: FloatArray, n_components: int) -> tuple[FloatArray, FloatArray]:
    """First principal components of samples that are not centred, as the networks see them.

    Parameters
    ----------
    inputs : ndarray, shape (n_samples, n_inputs)
    n_components : int

    Returns
    -------
    components : ndarray, shape (n_components, n_inputs)
    variances : ndarray, shape (n_components,)
        Mean squares along the components.
    """
    n_samples, n_inputs = inputs.shape
    if n_inputs > n_samples:
        _, singular, rows = np.linalg.svd(inputs, full_matrices=False)
        return rows[:n_components], singular[:n_components] ** 2 / n_samples
    variances, axes = np.linalg.eigh(inputs.T @ inputs / n_samples)
    largest_first = slice(None, -n_components - 1, -1)
    return axes.T[largest_first], np.maximum(variances[largest_first], 0.0)


def mini_batches(
    n_samples: int, batch: int, n_steps: int, learning_rate: float, longest: int | None = None
) -> Any:
    """Return a :class:`sims.rate.Schedule` that shows the samples in order, `batch` at a time.

    A batch of 0 is the whole sample; `longest` cuts the schedule off.
    """
    from sims.rate import Schedule

    order = np.arange(n_samples).reshape(-1, batch or n_samples)
    schedule = Schedule(order, n_steps, learning_rate)
    return schedule if longest is None else schedule.shortened(longest)


def sign_free_distance(weights: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance to the nearer of target and its negative, and its derivative with respect to the weights.

    Parameters
    ----------
    weights, targets : ndarray, shape (..., n_inputs)

    Returns
    -------
    distances : ndarray, shape (...)
    slopes : ndarray, shape (..., n_inputs)

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 3.

    Examples
    --------
    >>> distances, slopes = sign_free_distance(np.array([[0.0, -0.5]]), np.array([[0.0, 1.0]]))
    >>> distances.tolist(), slopes.tolist()
    ([0.5], [[0.0, 1.0]])
    """
    signs = np.where(np.einsum("...d,...d->...", weights, targets) < 0, -1.0, 1.0)
    differences = weights - signs[..., None] * targets
    distances = np.linalg.norm(differences, axis=-1)
    return distances, differences / np.maximum(distances, 1e-12)[..., None]

"""Protocols as arrays, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.archives import read_arrays
from discover.errors import ArtefactError
from discover.pairing.evidence import Split
from discover.pairing.protocols import MAX_PROTOCOLS, Protocol

__all__ = ["read_split", "split_from_arrays", "split_to_arrays"]

TEXTS = ("name", "group")
NUMBERS = ("change", "error", "frequency_hz", "lag_ms")


def split_to_arrays(parts: Split) -> dict[str, NDArray[Any]]:
    """Return protocols as arrays without objects; numbers that are not known are NaN."""
    every = parts.all
    arrays: dict[str, NDArray[Any]] = {
        name: np.array([getattr(one, name) for one in every], dtype=np.str_) for name in TEXTS
    }
    for name in NUMBERS:
        arrays[name] = np.array([getattr(one, name) for one in every], dtype=np.float64)  # None becomes NaN
    for side in ("pre", "post"):
        trains = [getattr(one, f"{side}_ms") for one in every]
        arrays[f"{side}_ms"] = np.concatenate(trains)
        arrays[f"{side}_ends"] = np.cumsum([len(one) for one in trains])
    arrays["n_pairs"] = np.array([-1 if one.n_pairs is None else one.n_pairs for one in every])
    arrays["fitted"] = np.arange(len(every)) < len(parts.fitted)
    return arrays


def read_split(folder: Path) -> Split:
    """Read the protocols of a run.

    Raises
    ------
    ArtefactError
        If ``trajectories.npz`` is missing, damaged, or of another kind.
    """
    path = folder / "trajectories.npz"
    remedy = f"Make it anew: `discover simulate {folder} --fresh`."
    arrays = read_arrays(path, "protocols", remedy=remedy)
    try:
        return split_from_arrays(arrays)
    except ArtefactError as error:
        raise ArtefactError(f"{path} is truncated or was edited: {error}. {remedy}") from None


def split_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Split:
    """Read protocols from arrays.

    Raises
    ------
    ArtefactError
        If an array is missing or does not fit the others.
    """
    try:
        n = len(arrays["change"])
        kinds = {**dict.fromkeys(TEXTS, "U"), **dict.fromkeys(NUMBERS, "f"), "n_pairs": "i", "fitted": "b"}
        fits = all(
            arrays[name].shape == (n,) and arrays[name].dtype.kind == kind for name, kind in kinds.items()
        )
        trains = {}
        for side in ("pre", "post"):
            times, ends = arrays[f"{side}_ms"], arrays[f"{side}_ends"]
            fits &= times.dtype.kind == "f" and times.ndim == 1 and bool(np.isfinite(times).all())
            fits &= (
                ends.shape == (n,) and ends.dtype.kind == "i" and bool(np.all(np.diff(ends, prepend=0) >= 0))
            )
            trains[side] = np.split(times, ends[:-1]) if fits else []
        sound = fits and 0 < n <= MAX_PROTOCOLS
        sound = sound and bool(np.isfinite(arrays["change"]).all()) and bool(np.all(arrays["error"] > 0))
    except (KeyError, ValueError, IndexError) as error:
        raise ArtefactError(f"the protocols are incomplete ({error})") from None
    if not sound:
        raise ArtefactError("the arrays of the protocols do not fit")
    found = [
        Protocol(
            name=str(arrays["name"][row]),
            pre_ms=trains["pre"][row],
            post_ms=trains["post"][row],
            change=float(arrays["change"][row]),
            error=float(arrays["error"][row]),
            frequency_hz=_known(arrays["frequency_hz"][row]),
            lag_ms=_known(arrays["lag_ms"][row]),
            group=str(arrays["group"][row]),
            n_pairs=int(arrays["n_pairs"][row]) if arrays["n_pairs"][row] >= 0 else None,
        )
        for row in range(n)
    ]
    fitted = arrays["fitted"].tolist()
    return Split(
        tuple(one for one, is_in in zip(found, fitted, strict=True) if is_in),
        tuple(one for one, is_in in zip(found, fitted, strict=True) if not is_in),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

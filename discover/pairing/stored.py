"""Protocols and forms as artefacts hold them: arrays and plain tables, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from discover.errors import ArtefactError, DiscoverError
from discover.pairing.evidence import Split
from discover.pairing.grid import Form, Ranked
from discover.pairing.protocols import MAX_PROTOCOLS, Protocol
from discover.pairing.terms import Term

__all__ = ["form_from_json", "form_to_json", "ranked_to_json", "split_from_arrays", "split_to_arrays"]

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


class _Term(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
    spike: str
    text: Annotated[str, Len(1, 1000)]
    power: float = 0.0
    room: float = 0.0


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
    terms: Annotated[list[_Term], Len(1, 8)]
    bounds: Annotated[list[float], Len(0, 20)] = []
    exponents: Annotated[list[float], Len(0, 20)] = []
    origin: str = ""


def form_to_json(form: Form) -> dict[str, Any]:
    """Return a form as a table."""
    return {
        "terms": [
            {"spike": one.spike, "text": one.text, "power": one.power, "room": one.room} for one in form.terms
        ],
        "bounds": list(form.bounds),
        "exponents": list(form.exponents),
        "origin": form.origin,
    }


def form_from_json(table: object) -> Form:
    """Read a form.

    Raises
    ------
    ArtefactError
        If it is none.
    """
    try:
        content = _Form.model_validate(table)
        terms = tuple(Term(one.spike, one.text, one.power, one.room) for one in content.terms)
    except (ValidationError, DiscoverError):
        raise ArtefactError("a candidate has a form that is none") from None
    if sum(len(term.inner) for term in terms) > 3 or any(bound <= 1 for bound in content.bounds):
        raise ArtefactError("a candidate has a form that is none")
    return Form(terms, tuple(content.bounds), tuple(content.exponents), origin=content.origin)


def ranked_to_json(one: Ranked) -> dict[str, Any]:
    """Return what a fitted form explains, as a table."""
    return {
        "text": str(one),
        "chi2": one.chi2,
        "left_out_chi2": one.left_out_chi2,
        "left_out_r2": one.left_out_r2,
        "n_constants": one.n_constants,
        "size": one.form.size,
        "traces": {name: tau for name, tau in one.traces.items() if name in one.form.uses},
    }

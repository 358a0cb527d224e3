"""Rules from recorded data: tables of what synapses saw and how they changed.

Names are loaded when they are asked for, so that a table is read without waiting for SciPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discover.inference.constants import ConstantInterval, constant_intervals
    from discover.inference.laws import Inference, infer
    from discover.inference.recordings import Recordings, from_rows, weak_form
    from discover.inference.settings import InferSettings
    from discover.inference.tables import Table, read_table
    from discover.inference.verdict import Verdict

__all__ = [
    "ConstantInterval",
    "InferSettings",
    "Inference",
    "Recordings",
    "Table",
    "Verdict",
    "constant_intervals",
    "from_rows",
    "infer",
    "read_table",
    "weak_form",
]

_MODULES = {
    "ConstantInterval": "constants",
    "InferSettings": "settings",
    "Inference": "laws",
    "Recordings": "recordings",
    "Table": "tables",
    "Verdict": "verdict",
    "constant_intervals": "constants",
    "from_rows": "recordings",
    "infer": "laws",
    "read_table": "tables",
    "weak_form": "recordings",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

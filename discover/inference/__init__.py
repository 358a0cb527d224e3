"""Rules from recorded data: tables of what synapses saw and how they changed."""

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

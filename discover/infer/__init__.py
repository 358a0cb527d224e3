"""Rules from recorded data: tables of what synapses saw and how they changed."""

from discover.infer.laws import Inference, infer
from discover.infer.recordings import Recordings, from_rows, weak_form
from discover.infer.settings import InferSettings
from discover.infer.tables import Table, read_table
from discover.infer.verdict import Verdict

__all__ = [
    "InferSettings",
    "Inference",
    "Recordings",
    "Table",
    "Verdict",
    "from_rows",
    "infer",
    "read_table",
    "weak_form",
]

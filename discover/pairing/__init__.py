"""Rules from pairing experiments: tables of protocols and the changes of synaptic strength that they made.

No network is simulated. A rule says how a weight jumps at spikes, and predicts the change that a protocol
makes.
"""

from discover.pairing.events import Traces
from discover.pairing.evidence import split
from discover.pairing.fit import PairingFit, PairingSettings, fit_rules, prediction
from discover.pairing.grid import Form, Ranked
from discover.pairing.protocols import Protocol, read_protocols, shipped_protocols
from discover.pairing.terms import TERMS, Term, design

__all__ = [
    "TERMS",
    "Form",
    "PairingFit",
    "PairingSettings",
    "Protocol",
    "Ranked",
    "Term",
    "Traces",
    "design",
    "fit_rules",
    "prediction",
    "read_protocols",
    "shipped_protocols",
    "split",
]

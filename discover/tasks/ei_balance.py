"""Task ``ei-balance``: inhibitory plasticity that brings a spiking neuron to its target rate, tuned.

References
----------
Vogels et al. (2011), Science 334:1569; Confavreux et al. (NeurIPS 2020), section 4.
"""

from __future__ import annotations

from typing import ClassVar

from discover.tasks._balance import BalanceTask
from discover.tasks._balance_problems import BalanceSettings

__all__ = ["TASK", "EiBalanceTask"]


class EiBalanceTask(BalanceTask):
    """Plastic inhibition against excitation that stays as it is."""

    name: ClassVar[str] = "ei-balance"
    title: ClassVar[str] = "Balance of excitation and inhibition in a spiking neuron"
    settings_type: ClassVar[type] = BalanceSettings


TASK = EiBalanceTask()

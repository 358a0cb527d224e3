"""Task ``ei-coplastic``: inhibitory plasticity that balances a neuron while its excitation learns too.

Excitatory synapses follow a Hebbian rule of spike timing with soft bounds. With ``soft-bounds`` potentiation
at a postsynaptic spike goes with the distance from the upper bound, and depression at a presynaptic one with
the weight itself. With ``oja-like`` both come at the postsynaptic spike, potentiation by the presynaptic
trace and a decay by the weight, as in Oja's rule; weights settle at what the spikes have in common. With
``triplet`` the pair rule's potentiation also goes with a second, slow trace of the postsynaptic spikes, so
that it takes two of these and one presynaptic spike: the minimal triplet rule for visual cortex, all spikes
counted, with its three time constants and soft bounds.

References
----------
Pfister & Gerstner (2006), J. Neurosci. 26:9673, equations 3 and 4 and the minimal all-to-all model;
van Rossum, Bi & Turrigiano (2000), J. Neurosci. 20:8812; Oja (1982), J. Math. Biol. 15:267; Vogels et al.
(2011), Science 334:1569.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from discover.errors import TaskError
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE
from discover.tasks._balance import BalanceTask, kernel_rule
from discover.tasks._balance_problems import BalanceSettings

if TYPE_CHECKING:
    from sims.spike_rules import ExcitatoryPlasticity

__all__ = ["TASK", "EiCoplasticSettings", "EiCoplasticTask"]

TRIPLET_PRE_MS, TRIPLET_POST_MS, TRIPLET_SLOW_MS = 16.8, 33.7, 114.0
"""Time constants of the presynaptic trace and of the fast and the slow postsynaptic one."""


@dataclass(frozen=True)
class EiCoplasticSettings(BalanceSettings):
    """Settings of the task: those of ``ei-balance``, and the rule of excitation.

    Parameters
    ----------
    excitatory_rule : str
        ``soft-bounds``, ``oja-like`` or ``triplet``.
    excitatory_rate : float
        Learning rate of excitatory synapses.
    largest_excitatory : float
        Upper bound of their weights.
    depression : float
        Size of depression, or of the decay, relative to potentiation.
    """

    excitatory_rule: Literal["soft-bounds", "oja-like", "triplet"] = "soft-bounds"
    excitatory_rate: Annotated[float, Gt(0), Le(1)] = 0.0005
    largest_excitatory: Annotated[float, Gt(0), Le(1000)] = 3.0
    depression: Annotated[float, Ge(0), Le(100)] = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.largest_excitatory < 1.5 * self.weight_spread:
            raise TaskError(
                f"largest_excitatory is {self.largest_excitatory:g}, but excitatory weights of up to "
                f"{1.5 * self.weight_spread:g} are drawn."
            )


class EiCoplasticTask(BalanceTask):
    """Plastic inhibition against excitation that is plastic too."""

    name: ClassVar[str] = "ei-coplastic"
    title: ClassVar[str] = "Balance of excitation and inhibition while excitation learns"
    settings_type: ClassVar[type] = EiCoplasticSettings

    def excitation(self, settings: Any) -> ExcitatoryPlasticity | None:
        """Return the rule that excitatory synapses follow."""
        from sims.spike_rules import ExcitatoryPlasticity

        is_triplet = settings.excitatory_rule == "triplet"
        table: dict[str, dict[str, float]]
        if settings.excitatory_rule == "oja-like":
            table = {ON_PRE.name: {}, ON_POST.name: {"x_pre": 1.0, "w": -settings.depression}}
        else:
            table = {
                ON_PRE.name: {"w*x_post": -settings.depression},
                ON_POST.name: {"x_pre": settings.largest_excitatory, "w*x_pre": -1.0},
            }
        if is_triplet:
            table |= {TAU_PRE.name: {"1": TRIPLET_PRE_MS}, TAU_POST.name: {"1": TRIPLET_POST_MS}}
        return ExcitatoryPlasticity(
            kernel_rule(Rule.from_coefficients(table)),
            settings.excitatory_rate,
            settings.largest_excitatory,
            slow_tau_ms=TRIPLET_SLOW_MS if is_triplet else None,
        )


TASK = EiCoplasticTask()

"""Task ``ei-coplastic``: inhibitory plasticity that balances a neuron while its excitation learns too.

Excitatory synapses follow a Hebbian rule of spike timing with soft bounds. With ``soft-bounds`` potentiation
at a postsynaptic spike goes with the distance from the upper bound, and depression at a presynaptic one with
the weight itself. With ``oja-like`` both come at the postsynaptic spike, potentiation by the presynaptic
trace and a decay by the weight, as in Oja's rule; weights settle at what the spikes have in common.

References
----------
van Rossum, Bi & Turrigiano (2000), J. Neurosci. 20:8812; Oja (1982), J. Math. Biol. 15:267; Vogels et al.
(2011), Science 334:1569.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from discover.errors import TaskError
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE
from discover.tasks._balance import BalanceTask, kernel_rule
from discover.tasks._balance_problems import BalanceSettings

if TYPE_CHECKING:
    from sims.spiking import ExcitatoryPlasticity

__all__ = ["TASK", "EiCoplasticSettings", "EiCoplasticTask"]


@dataclass(frozen=True)
class EiCoplasticSettings(BalanceSettings):
    """Settings of the task: those of ``ei-balance``, and the rule of excitation.

    Parameters
    ----------
    excitatory_rule : str
        ``soft-bounds`` or ``oja-like``.
    excitatory_rate : float
        Learning rate of excitatory synapses.
    largest_excitatory : float
        Upper bound of their weights.
    depression : float
        Size of depression, or of the decay, relative to potentiation.
    """

    excitatory_rule: Literal["soft-bounds", "oja-like"] = "soft-bounds"
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
        from sims.spiking import ExcitatoryPlasticity

        if settings.excitatory_rule == "soft-bounds":
            on_pre = {"w*x_post": -settings.depression}
            on_post = {"x_pre": settings.largest_excitatory, "w*x_pre": -1.0}
        else:
            on_pre, on_post = {}, {"x_pre": 1.0, "w": -settings.depression}
        rule = Rule.from_coefficients({ON_PRE.name: on_pre, ON_POST.name: on_post})
        return ExcitatoryPlasticity(kernel_rule(rule), settings.excitatory_rate, settings.largest_excitatory)


TASK = EiCoplasticTask()

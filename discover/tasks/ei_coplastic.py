"""Task ``ei-coplastic``: inhibitory plasticity that balances a neuron while its excitation learns too.

Excitatory synapses follow a Hebbian rule of spike timing with soft bounds. With ``soft-bounds`` potentiation
at a postsynaptic spike goes with the distance from the upper bound, and depression at a presynaptic one with
the weight itself. With ``oja-like`` both come at the postsynaptic spike, potentiation by the presynaptic
trace and a decay by the weight, as in Oja's rule; weights settle at what the spikes have in common. With
``triplet`` the pair rule's potentiation also goes with a second, slow trace of the postsynaptic spikes, so
that it takes two of these and one presynaptic spike: the minimal triplet rule for visual cortex, all spikes
counted, with its three time constants and soft bounds. With ``text`` it is a rule that the settings give,
such as one that was found in pairing experiments; its changes add up until a bound.

References
----------
Pfister & Gerstner (2006), J. Neurosci. 26:9673, equations 3 and 4 and the minimal all-to-all model;
van Rossum, Bi & Turrigiano (2000), J. Neurosci. 20:8812; Oja (1982), J. Math. Biol. 15:267; Vogels et al.
(2011), Science 334:1569.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from discover.errors import RuleError, TaskError
from discover.expression import Node, polynomial_node, polynomial_terms
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, POST_SPIKE, PRE_SPIKE, TAU_POST, TAU_PRE, TAU_SLOW_POST, get_slot
from discover.tasks._balance import BalanceTask
from discover.tasks._balance_folds import LONGER, TOLERANCES, balance_folds
from discover.tasks._balance_problems import BalanceSettings
from discover.tasks._spiking_runs import kernel_rule
from discover.tasks.base import Fold

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
        ``soft-bounds``, ``oja-like``, ``triplet``, or ``text``: that of `excitatory_text`.
    excitatory_text : str
        A rule of spiking synapses, as it is printed. At a postsynaptic spike every term may have the slow
        trace of these spikes as a factor, as in ``post_spike: 0.01*x_pre*slow_post``. Where this is not the
        rule that excitation follows, cross-validation has a condition with it.
    excitatory_rate : float
        Learning rate of excitatory synapses.
    largest_excitatory : float
        Upper bound of their weights.
    depression : float
        Size of depression, or of the decay, relative to potentiation.
    """

    excitatory_rule: Literal["soft-bounds", "oja-like", "triplet", "text"] = "soft-bounds"
    excitatory_text: str = ""
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
        if self.excitatory_text or self.excitatory_rule == "text":
            rule_from_text(self.excitatory_text)


class EiCoplasticTask(BalanceTask):
    """Plastic inhibition against excitation that is plastic too."""

    name: ClassVar[str] = "ei-coplastic"
    title: ClassVar[str] = "Balance of excitation and inhibition while excitation learns"
    settings_type: ClassVar[type] = EiCoplasticSettings

    def excitation(self, settings: Any) -> ExcitatoryPlasticity | None:
        """Return the rule that excitatory synapses follow."""
        from sims.spike_rules import ExcitatoryPlasticity

        if settings.excitatory_rule == "text":
            rule, slow_tau_ms = rule_from_text(settings.excitatory_text)
            return ExcitatoryPlasticity(
                kernel_rule(rule),
                settings.excitatory_rate,
                settings.largest_excitatory,
                slow_tau_ms=slow_tau_ms,
            )
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

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Conditions for cross-validation, with excitation by a rule of the settings where they give one."""
        found = balance_folds(settings)
        if not settings.excitatory_text or settings.excitatory_rule == "text":
            return found
        longer = replace(
            settings,
            duration_s=LONGER * settings.duration_s,
            measured_s=LONGER * settings.measured_s,
            excitatory_rule="text",
        )
        title = "excitation learns by the rule of excitatory_text"
        tuned_at = replace(settings, excitatory_rule="text")
        return (*found, Fold("excitation-text", title, longer, TOLERANCES, tuned_at=tuned_at))


def rule_from_text(text: str) -> tuple[Rule, float | None]:
    """Return a rule of excitation from text, and the time constant of its slow trace; None for none.

    Raises
    ------
    TaskError
        If the circuit of this task cannot follow it.

    Examples
    --------
    >>> rule, slow_tau_ms = rule_from_text("pre_spike: -x_post; post_spike: 2*x_pre*slow_post")
    >>> print(rule, slow_tau_ms)
    on_pre: -x_post; on_post: 2*x_pre 100.0
    """
    from discover.pairing.rules import in_pairing_slots

    try:
        rule = in_pairing_slots(Rule.parse(text))
    except RuleError as error:
        raise TaskError(f"excitatory_text: {error}") from None
    updates = {
        slot.name: rule.expressions.get(slot.name, Node("const", value=0.0))
        for slot in (PRE_SPIKE, POST_SPIKE)
    }
    foreign = [name for name in rule.slots if not get_slot(name).is_constant and name not in updates]
    if foreign:
        raise TaskError(f"excitatory_text: {foreign[0]!r} is no slot of a spiking synapse.")
    terms = polynomial_terms(updates[POST_SPIKE.name], POST_SPIKE.variables)
    slow = POST_SPIKE.variables.index("slow_post")
    slow_tau_ms = None
    if terms and all(exponents[slow] == 1 for exponents in terms):
        without = {tuple(0 if k == slow else one for k, one in enumerate(key)): terms[key] for key in terms}
        updates[POST_SPIKE.name] = polynomial_node(without, POST_SPIKE.variables)
        slow_tau_ms = rule.constant(TAU_SLOW_POST.name)
    taus = {slot.name: rule.expressions[slot.name] for slot in (TAU_PRE, TAU_POST) if slot.name in rule.slots}
    try:
        # A slot sees the traces that the circuit has, and refuses others by their name.
        made = Rule({ON_PRE.name: updates[PRE_SPIKE.name], ON_POST.name: updates[POST_SPIKE.name], **taus})
    except RuleError as error:
        raise TaskError(
            f"excitatory_text: the circuit cannot follow this rule: {error} At a postsynaptic spike all "
            "terms or none have the factor slow_post."
        ) from None
    return made, slow_tau_ms


TASK = EiCoplasticTask()

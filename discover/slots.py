"""Slots: the places in a network where an update expression acts."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from discover.errors import RuleError, did_you_mean
from discover.expression import parse, polynomial_terms
from discover.expression.node import FUNCTIONS

__all__ = [
    "CHOICE",
    "ERROR",
    "FEEDFORWARD",
    "LATERAL",
    "ON_POST",
    "ON_PRE",
    "POST_SPIKE",
    "PRE_SPIKE",
    "REWARD",
    "SLIDING",
    "SLOTS",
    "TAU_POST",
    "TAU_PRE",
    "TAU_SLOW_POST",
    "TAU_SLOW_PRE",
    "Slot",
    "get_slot",
    "of_projection",
    "recorded_slot",
    "role_exponents",
    "term_exponents",
]


@dataclass(frozen=True)
class Slot:
    """Where an update expression acts, and the local variables that it sees.

    A slot without variables holds a constant of the synapse: a positive number that the rule states beside
    its updates.

    Parameters
    ----------
    name : str
    presynaptic, postsynaptic, weight : str or None
        Names of the variables; None where the slot does not see one. The postsynaptic variable is shared by
        all synapses of a neuron.
    synapses : str
        Which synapses the slot belongs to. Slots of the same synapses share one learning rate, so that only
        all of them together can be scaled freely.
    unit : str
        Unit of a constant.
    usual : float
        Value of a constant that a rule does not state.
    state : str or None
        Name of a further variable that all synapses of a neuron see: one that it keeps, such as a sliding
        threshold, or is given, such as the potential of a teacher.
    recorded : tuple of str
        Further variables without a role: those of recorded data, which the program does not know, slow
        traces, and rewards.

    Examples
    --------
    >>> FEEDFORWARD.variables
    ('x', 'y', 'w')
    >>> ON_PRE.variables, ON_PRE.neuron_level
    (('x_post', 'w'), (True, False))
    >>> TAU_PRE.is_constant, TAU_PRE.usual, TAU_PRE.unit
    (True, 20.0, 'ms')
    >>> SLIDING.variables
    ('x', 'y', 'w', 'theta')
    """

    name: str
    presynaptic: str | None
    postsynaptic: str | None
    weight: str | None
    synapses: str
    unit: str = ""
    usual: float = 0.0
    state: str | None = None
    recorded: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str | None, str | None, str | None]:
        """Presynaptic, postsynaptic and weight variable, None where there is none."""
        return self.presynaptic, self.postsynaptic, self.weight

    @property
    def further(self) -> tuple[str, ...]:
        """Variables without a role, for which a coefficient table of three axes has no place."""
        return self.recorded if self.state is None else (self.state, *self.recorded)

    @property
    def places(self) -> tuple[str | None, ...]:
        """The roles, and the further variables."""
        return (*self.roles, *self.further)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in the order presynaptic, postsynaptic, weight, further state."""
        return tuple(name for name in self.places if name is not None)

    @property
    def is_constant(self) -> bool:
        """Whether the slot holds a constant of the synapse and no update."""
        return not self.variables

    @property
    def is_recorded(self) -> bool:
        """Whether it is a slot of recorded data, whose rule gives the change itself."""
        return self.synapses == "recorded"

    @property
    def neuron_level(self) -> tuple[bool, ...]:
        """Flags, in the order of :attr:`variables`: whether all synapses of a neuron share the variable."""
        return tuple(name in (self.postsynaptic, self.state) for name in self.variables)


FEEDFORWARD = Slot("feedforward", "x", "y", "w", "feedforward")
"""Synapses from the inputs of a rate network."""

LATERAL = Slot("lateral", "y_pre", "y_post", "v", "lateral")
"""Synapses between the outputs of a rate network."""

SLIDING = Slot("sliding", "x", "y", "w", "feedforward", state="theta")
"""Synapses from the inputs of a rate neuron with a sliding threshold, a low-pass of its squared output."""

ERROR = Slot("error", "s", "u", "w", "feedforward", state="v")
"""Synapses of a neuron with potential u that sees the potential v of a teacher; s is the filtered input."""

CHOICE = Slot("choice", "x", "y", "w", "feedforward", recorded=("R", "m"))
"""Weights of options among which is chosen: x is one for the option that was, y the probability of that, R
the reward, and m its running mean."""

REWARD = Slot("reward", "E", "R", "w", "feedforward", recorded=("Rbar", "Rpos"))
"""Synapses of a spiking neuron after a trial: eligibility E, reward R, and running means of the reward and of
its positive part; that of its negative part is the first less the second."""

ON_PRE = Slot("on_pre", None, "x_post", "w", "spiking")
"""A spiking synapse at a presynaptic spike."""

ON_POST = Slot("on_post", "x_pre", None, "w", "spiking")
"""A spiking synapse at a postsynaptic spike."""

TAU_PRE = Slot("tau_pre", None, None, None, "spiking", unit="ms", usual=20.0)
"""Time constant of the trace ``x_pre`` of presynaptic spikes."""

TAU_POST = Slot("tau_post", None, None, None, "spiking", unit="ms", usual=20.0)
"""Time constant of the trace ``x_post`` of postsynaptic spikes."""

PRE_SPIKE = Slot("pre_spike", "x_pre", "x_post", "w", "spiking", recorded=("slow_pre", "slow_post"))
"""A synapse of a pairing experiment at a presynaptic spike, with a fast and a slow trace of each neuron."""

POST_SPIKE = Slot("post_spike", "x_pre", "x_post", "w", "spiking", recorded=("slow_pre", "slow_post"))
"""The same at a postsynaptic spike."""

TAU_SLOW_PRE = Slot("tau_slow_pre", None, None, None, "spiking", unit="ms", usual=100.0)
"""Time constant of the slow trace ``slow_pre`` of presynaptic spikes."""

TAU_SLOW_POST = Slot("tau_slow_post", None, None, None, "spiking", unit="ms", usual=100.0)
"""Time constant of the slow trace ``slow_post`` of postsynaptic spikes."""

SLOTS: Mapping[str, Slot] = MappingProxyType(
    {
        slot.name: slot
        for slot in (
            FEEDFORWARD,
            LATERAL,
            SLIDING,
            ON_PRE,
            ON_POST,
            PRE_SPIKE,
            POST_SPIKE,
            TAU_PRE,
            TAU_POST,
            TAU_SLOW_PRE,
            TAU_SLOW_POST,
            ERROR,
            CHOICE,
            REWARD,
        )
    }
)
"""All slots by name."""


_OF_PROJECTION = re.compile(r"([A-Za-z][A-Za-z0-9]{0,39})\.(on_pre|on_post|tau_pre|tau_post)", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_TAKEN = frozenset((*FUNCTIONS, "square", "cube", "inv", "neg", "pow", "np", "symbols", "recorded"))
_RECORDED = re.compile(r"recorded\(([A-Za-z_][A-Za-z0-9_]*(?:, [A-Za-z_][A-Za-z0-9_]*)*)\)", re.ASCII)

MAX_RECORDED = 40
"""Most variables that recorded data may have."""


def get_slot(name: str) -> Slot:
    """Return a slot by its name.

    Those of a projection in a circuit with several plastic ones carry its name.

    Raises
    ------
    RuleError
        If there is no such slot.

    Examples
    --------
    >>> get_slot("IE.on_pre").variables
    ('x_post', 'w')
    """
    if found := _OF_PROJECTION.fullmatch(str(name)):
        return replace(SLOTS[found[2]], name=found[0])
    if name not in SLOTS and (found := _RECORDED.fullmatch(str(name))):
        return recorded_slot(found[1].split(", "))
    if name not in SLOTS:
        hint = did_you_mean(str(name), SLOTS)
        raise RuleError(f"Unknown slot {str(name)[:40]!r}. Slots: {', '.join(SLOTS)}.{hint}")
    return SLOTS[name]


def of_projection(projection: str) -> tuple[Slot, ...]:
    """Return the slots of the spiking synapses of one projection: two updates and two time constants.

    Examples
    --------
    >>> [slot.name for slot in of_projection("EE")]
    ['EE.on_pre', 'EE.on_post', 'EE.tau_pre', 'EE.tau_post']
    """
    return tuple(get_slot(f"{projection}.{slot.name}") for slot in (ON_PRE, ON_POST, TAU_PRE, TAU_POST))


def recorded_slot(variables: Sequence[str]) -> Slot:
    """Return the slot of recorded data: one of a network that sees these variables, else one of their own.

    Raises
    ------
    RuleError
        If there is no variable or there are too many, or a name is no plain one, a function's, or comes
        twice.

    Examples
    --------
    >>> recorded_slot(["w", "x"]).name, recorded_slot(["ca", "w"]).name
    ('feedforward', 'recorded(ca, w)')
    >>> get_slot("recorded(ca, w)").variables
    ('ca', 'w')
    """
    for slot in (FEEDFORWARD, SLIDING, LATERAL):
        if set(variables) <= set(slot.variables) and variables:
            return slot
    if not 1 <= len(variables) <= MAX_RECORDED or len(set(variables)) < len(variables):
        raise RuleError(
            f"Recorded data need 1 to {MAX_RECORDED} variables with different names, "
            f"got {', '.join(str(name)[:40] for name in variables[:MAX_RECORDED]) or 'none'}."
        )
    for name in variables:
        plain = _PLAIN.fullmatch(name) and not keyword.iskeyword(name)
        if not plain or name in _TAKEN:
            raise RuleError(
                f"A variable of recorded data cannot be called {name[:40]!r}: letters, digits and _ are "
                "taken, at most 40 of them, a letter first, and no name of a function or keyword."
            )
    return Slot(f"recorded({', '.join(variables)})", None, None, None, "recorded", recorded=tuple(variables))


def term_exponents(term: str, slot: Slot) -> tuple[int, ...]:
    """Return the exponents of a term, in the order of the slot's variables.

    Raises
    ------
    RuleError
        If the text is not a product of powers.

    Examples
    --------
    >>> term_exponents("y**2*w", FEEDFORWARD)
    (0, 2, 1)
    """
    terms = polynomial_terms(parse(term, slot.variables), slot.variables)
    if terms is None or list(terms.values()) != [1.0]:
        example = f"{slot.weight or slot.variables[0]}**2"
        raise RuleError(f"A term is a product of powers, such as {example!r} or '1', got {str(term)[:80]!r}.")
    return next(iter(terms))


def role_exponents(exponents: tuple[int, ...], slot: Slot) -> tuple[int, int, int]:
    """Return the powers of presynaptic, postsynaptic and weight variable; 0 for one that the slot lacks.

    Examples
    --------
    >>> role_exponents((1, 2), ON_PRE)
    (0, 1, 2)
    """
    powers = dict(zip(slot.variables, exponents, strict=True))
    pre, post, weight = (powers.get(name, 0) if name is not None else 0 for name in slot.roles)
    return pre, post, weight

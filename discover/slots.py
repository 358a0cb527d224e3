"""Slots: the places in a network where an update expression acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from discover.errors import RuleError, did_you_mean
from discover.expression import parse, polynomial_terms

__all__ = [
    "FEEDFORWARD",
    "LATERAL",
    "ON_POST",
    "ON_PRE",
    "SLOTS",
    "Slot",
    "get_slot",
    "role_exponents",
    "term_exponents",
]


@dataclass(frozen=True)
class Slot:
    """Where an update expression acts, and the local variables that it sees.

    Parameters
    ----------
    name : str
    presynaptic, postsynaptic, weight : str or None
        Names of the variables; None where the slot does not see one. The postsynaptic variable is shared by
        all synapses of a neuron.

    Examples
    --------
    >>> FEEDFORWARD.variables
    ('x', 'y', 'w')
    >>> ON_PRE.variables, ON_PRE.neuron_level
    (('x_post', 'w'), (True, False))
    """

    name: str
    presynaptic: str | None
    postsynaptic: str | None
    weight: str | None

    @property
    def roles(self) -> tuple[str | None, str | None, str | None]:
        """Presynaptic, postsynaptic and weight variable, None where there is none."""
        return self.presynaptic, self.postsynaptic, self.weight

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in the order presynaptic, postsynaptic, weight."""
        return tuple(name for name in self.roles if name is not None)

    @property
    def neuron_level(self) -> tuple[bool, ...]:
        """Flags, in the order of :attr:`variables`: whether all synapses of a neuron share the variable."""
        return tuple(name == self.postsynaptic for name in self.variables)


FEEDFORWARD = Slot("feedforward", "x", "y", "w")
"""Synapses from the inputs of a rate network."""

LATERAL = Slot("lateral", "y_pre", "y_post", "v")
"""Synapses between the outputs of a rate network."""

ON_PRE = Slot("on_pre", None, "x_post", "w")
"""A spiking synapse at a presynaptic spike."""

ON_POST = Slot("on_post", "x_pre", None, "w")
"""A spiking synapse at a postsynaptic spike."""

SLOTS: Mapping[str, Slot] = MappingProxyType(
    {slot.name: slot for slot in (FEEDFORWARD, LATERAL, ON_PRE, ON_POST)}
)
"""All slots by name."""


def get_slot(name: str) -> Slot:
    """Return a slot by its name.

    Raises
    ------
    RuleError
        If there is no such slot.
    """
    if name not in SLOTS:
        hint = did_you_mean(str(name), SLOTS)
        raise RuleError(f"Unknown slot {str(name)[:40]!r}. Slots: {', '.join(SLOTS)}.{hint}")
    return SLOTS[name]


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

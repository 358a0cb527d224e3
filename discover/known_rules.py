"""Published plasticity rules: what they say, what they need, and where they come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from discover._known_rate_rules import RATE_RULES
from discover._known_rule import KnownRule
from discover._known_spiking_rules import SPIKING_RULES
from discover.errors import RuleError, did_you_mean

__all__ = ["KNOWN_RULES", "KnownRule", "get_known_rule", "known_rule_names"]

KNOWN_RULES: Mapping[str, KnownRule] = MappingProxyType(
    {known.name: known for known in (*RATE_RULES, *SPIKING_RULES)}
)
"""All known rules by name."""


def get_known_rule(name: str) -> KnownRule:
    """Return a known rule.

    Raises
    ------
    RuleError
        If there is none of that name.

    Examples
    --------
    >>> get_known_rule("oja").rule
    Rule.parse('x*y - w*y**2')
    >>> get_known_rule("sanger").rule is None
    True
    """
    if name not in KNOWN_RULES:
        hint = did_you_mean(str(name), KNOWN_RULES)
        raise RuleError(
            f"There is no known rule {str(name)[:40]!r}.{hint} Known rules: {', '.join(KNOWN_RULES)}."
        )
    return KNOWN_RULES[name]


def known_rule_names(slots: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the names of all known rules, or of those with expressions for exactly these slots.

    Examples
    --------
    >>> known_rule_names(slots=["feedforward"])
    ('hebb', 'oja', 'covariance', 'bcm', 'hyvarinen-oja')
    """
    return tuple(
        name for name, known in KNOWN_RULES.items() if slots is None or set(known.slots) == set(slots)
    )

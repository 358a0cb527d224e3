"""Published plasticity rules: what they say, what they need, and where they come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from discover._known_rate_rules import RATE_RULES
from discover._known_rule import KnownRule
from discover._known_spiking_rules import SPIKING_RULES
from discover.errors import RuleError, TaskError, did_you_mean

__all__ = ["KNOWN_RULES", "KnownRule", "add_known_rules", "get_known_rule", "known_rule_names"]

_LIBRARY = {known.name: known for known in (*RATE_RULES, *SPIKING_RULES)}
_OWNERS: dict[str, str] = {}

KNOWN_RULES: Mapping[str, KnownRule] = MappingProxyType(_LIBRARY)
"""All known rules by name: the library's, and those that tasks from outside of this package brought."""


def add_known_rules(rules: Iterable[KnownRule], owner: str) -> None:
    """Take up the rules that a task from outside of this package brings.

    Parameters
    ----------
    rules : iterable of KnownRule
    owner : str
        The task, which may bring a rule again.

    Raises
    ------
    TaskError
        If something else is no known rule, or has the name of a rule of the library or of another task.
    """
    for rule in rules:
        if not isinstance(rule, KnownRule):
            raise TaskError(f"The task {owner} has {rule!r} among its own_rules, which is no KnownRule.")
        if rule.name in _LIBRARY and _LIBRARY[rule.name] != rule and _OWNERS.get(rule.name) != owner:
            raise TaskError(
                f"The task {owner} brings a rule {rule.name!r}, and another rule has this name: "
                f"{_LIBRARY[rule.name].title}. Give it another one."
            )
        if rule.name not in _LIBRARY or rule.name in _OWNERS:
            _LIBRARY[rule.name] = rule
            _OWNERS[rule.name] = owner


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
    ('hebb', 'oja', 'oja-minor', 'covariance', 'bcm', 'hyvarinen-oja', 'hyvarinen-oja-heavy')
    """
    return tuple(
        name for name, known in KNOWN_RULES.items() if slots is None or set(known.slots) == set(slots)
    )

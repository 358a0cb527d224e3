"""Plasticity rules: named update expressions over the local variables of a synapse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import RuleError, did_you_mean
from discover.expression import (
    Complexity,
    Node,
    canonical,
    const,
    constants,
    monomial_text,
    parse,
    polynomial_node,
    polynomial_terms,
    scaled,
    simplify_structure,
    to_latex,
    to_sympy,
    variables_of,
    with_constants,
)
from discover.expression.compiling import compile_program
from discover.expression.polynomial import term_order
from discover.shown import NOTEBOOK
from discover.slots import (
    FEEDFORWARD,
    LATERAL,
    ON_POST,
    ON_PRE,
    SLOTS,
    TAU_POST,
    TAU_PRE,
    Slot,
    get_slot,
    role_exponents,
    term_exponents,
)
from discover.updates import SlotFunction
from sims.rules import PolynomialRule, Program

__all__ = [
    "FEEDFORWARD",
    "LATERAL",
    "ON_POST",
    "ON_PRE",
    "SLOTS",
    "TAU_POST",
    "TAU_PRE",
    "Rule",
    "Slot",
    "SlotFunction",
]

_LEFT_SIDES = {
    "feedforward": r"\Delta w_{ij}",
    "lateral": r"\Delta v_{ij}",
    "sliding": r"\Delta w_{ij}",
    "on_pre": r"\Delta w_{ij}^{\mathrm{pre}}",
    "on_post": r"\Delta w_{ij}^{\mathrm{post}}",
    "pre_spike": r"\Delta w_{ij}^{\mathrm{pre}}",
    "post_spike": r"\Delta w_{ij}^{\mathrm{post}}",
    "tau_pre": r"\tau_{\mathrm{pre}}",
    "tau_post": r"\tau_{\mathrm{post}}",
    "tau_slow_pre": r"\tau_{\mathrm{pre}}^{\mathrm{slow}}",
    "tau_slow_post": r"\tau_{\mathrm{post}}^{\mathrm{slow}}",
    "choice": r"\Delta w_{i}",
    **dict.fromkeys(("error", "reward"), r"\Delta w_{j}"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Rule:
    """A plasticity rule: one update expression for each slot it acts in.

    Rules are immutable; two rules are equal when their canonical expressions are.

    Parameters
    ----------
    expressions : mapping from str to Node
        Update expressions by slot name. :meth:`parse` makes a rule from text.

    Raises
    ------
    RuleError
        If a slot is unknown, or an expression uses a variable that its slot does not see.

    Examples
    --------
    >>> oja = Rule.parse("y*(x - w*y)")
    >>> oja == Rule.parse("x*y - w*y**2")
    True
    >>> oja.coefficients()
    {'feedforward': {'x*y': 1.0, 'w*y**2': -1.0}}
    """

    expressions: Mapping[str, Node]

    def __post_init__(self) -> None:
        if not self.expressions:
            raise RuleError(f"A rule needs an expression for at least one slot: {', '.join(SLOTS)}.")
        for name, node in self.expressions.items():
            slot = get_slot(name)
            for variable in variables_of(node):
                if variable not in slot.variables:
                    hint = did_you_mean(variable, slot.variables)
                    allowed = ", ".join(slot.variables)
                    raise RuleError(f"Slot {name!r} has no variable {variable!r}; it sees {allowed}.{hint}")
            if slot.is_constant and not (node.op == "const" and node.value > 0):
                raise RuleError(
                    f"Slot {name!r} holds a positive number of {slot.unit}, got {_shortened(str(node))!r}."
                )
        order = list(SLOTS)
        names = sorted(self.expressions, key=lambda name: order.index(name) if name in SLOTS else len(order))
        ordered = {name: self.expressions[name] for name in names}
        object.__setattr__(self, "expressions", ordered)

    @classmethod
    def parse(cls, text: str | Mapping[str, str]) -> Rule:
        """Read a rule from text.

        Parameters
        ----------
        text : str or mapping from slot name to str
            A single text is the update of the feed-forward slot, or updates with the names of their slots
            in front, as rules are printed.

        Raises
        ------
        RuleError
            If a slot is unknown or comes twice, or a text is not an expression in the slot's variables.

        Examples
        --------
        >>> print(Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"}))
        feedforward: x*y - w*y**2; lateral: -y_pre*y_post
        >>> print(Rule.parse("on_pre: x_post - 0.2; on_post: x_pre"))
        on_pre: x_post - 0.2; on_post: x_pre
        """
        if isinstance(text, str):
            text = _by_slot(text)
        if not isinstance(text, Mapping):
            raise RuleError(f"A rule is a text, or a text for each slot, got {type(text).__name__}.")
        expressions = {}
        for name, expression in text.items():
            slot = get_slot(name)
            try:
                expressions[name] = parse(expression, slot.variables)
            except RuleError as error:
                raise RuleError(f"In slot {name!r}: {error}" if len(text) > 1 else str(error)) from None
        return cls(expressions)

    @classmethod
    def from_coefficients(cls, coefficients: Mapping[str, Mapping[str, float]]) -> Rule:
        """Make a polynomial rule from the coefficients of its terms.

        Parameters
        ----------
        coefficients : mapping from slot name to mapping from term to float
            Terms are products of powers, such as ``w*y**2``; ``1`` is the constant term. Zeros are left out.

        Raises
        ------
        RuleError
            If a term is not a product of powers or is named twice, or a coefficient is not finite.

        Examples
        --------
        >>> print(Rule.from_coefficients({"feedforward": {"w*y**2": -0.5, "x*y": 1}}))
        x*y - 0.5*w*y**2
        """
        expressions = {}
        for name, terms in coefficients.items():
            slot = get_slot(name)
            table: dict[tuple[int, ...], float] = {}
            for term, value in terms.items():
                exponents = term_exponents(term, slot)
                if exponents in table:
                    raise RuleError(f"The term {term!r} of slot {name!r} is named twice.")
                table[exponents] = const(value).value
            expressions[name] = polynomial_node(table, slot.variables)
        return cls(expressions)

    def coefficients(self) -> dict[str, dict[str, float]]:
        """Return the expanded coefficients by slot and term, low degrees first.

        Raises
        ------
        RuleError
            If an expression is not a polynomial.
        """
        result = {}
        for name in self.expressions:
            terms = self._terms(name)
            variables = get_slot(name).variables
            result[name] = {
                monomial_text(key, variables): terms[key] for key in sorted(terms, key=term_order)
            }
        return result

    @property
    def is_polynomial(self) -> bool:
        """Whether the update of every slot is a polynomial."""
        return all(terms is not None for terms in self._tables.values())

    @property
    def complexity(self) -> int | float:
        """What the rule costs to say, see :mod:`discover.expression.complexity`; at least 1.

        The overall multiple of the slots of the same synapses is their learning rate and free.
        """
        return self._complexity

    @property
    def size(self) -> int:
        """Number of nodes of the expression trees, added over the slots that have an update; at least 1."""
        return max(1, sum(node.complexity for node in self.expressions.values() if _has_update(node)))

    def complexity_by(self, measure: Complexity) -> int | float:
        """Return what the rule costs in a measure with costs of its own; at least 1."""
        groups: dict[str, list[Node]] = {}
        constants_of_synapse = 0.0
        for name, node in self.expressions.items():
            slot = get_slot(name)
            if slot.is_constant:
                constants_of_synapse += measure.of(node)
            elif _has_update(node):
                groups.setdefault(slot.synapses, []).append(node)
        total = constants_of_synapse + sum(measure.of_updates(nodes) for nodes in groups.values())
        return max(1, round(total) if total == round(total) else total)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of this rule."""
        return tuple(self.expressions)

    def canonical(self) -> Rule:
        """Return the rule with every expression in canonical form."""
        return Rule(self._canonical)

    def simplified(self) -> Rule:
        """Return the rule without what does nothing, such as ``x + 0`` or ``1*x``."""
        return Rule({name: simplify_structure(node) for name, node in self.expressions.items()})

    def to_dict(self) -> dict[str, str]:
        """Return the text of each slot's expression; :meth:`parse` reads it back."""
        return {name: str(node) for name, node in self.expressions.items()}

    def latex(self, digits: int = 4, learning_rate: bool = True) -> str:
        r"""Return the rule as LaTeX, one line a slot.

        Parameters
        ----------
        digits : int
            Significant digits of constants.
        learning_rate : bool
            Whether updates are multiplied by a learning rate η. Those of recorded data never are: the rule
            gives the change itself. Where such data have the variables of a slot of a network, only the
            caller can know.

        Examples
        --------
        >>> print(Rule.parse("x*y - w*y**2").latex())
        \Delta w_{ij} = \eta \left( x y - w y^{2} \right)
        """
        lines = []
        for name, node in self.expressions.items():
            right = to_latex(node, digits=digits)
            if get_slot(name).is_constant:
                right = rf"{right}\,\mathrm{{{get_slot(name).unit}}}"
            elif learning_rate and not get_slot(name).is_recorded:
                right = rf"\eta \left( {right} \right)"
            lines.append((_left_side(name), right))
        if len(lines) == 1:
            return " = ".join(lines[0])
        body = " \\\\\n".join(f"{left} &= {right}" for left, right in lines)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def sympy(self) -> dict[str, Any]:
        """Return the SymPy expression of each slot, in real symbols.

        Raises
        ------
        RuleError
            If an expression is beyond what SymPy handles in bounded time.

        Examples
        --------
        >>> Rule.parse("y*(x - 0.5*y)").sympy()["feedforward"].expand()
        x*y - 0.5*y**2
        """
        return {name: to_sympy(node) for name, node in self.expressions.items()}

    def numpy(self) -> dict[str, SlotFunction]:
        """Return the update of each slot as a function of arrays; constants of the synapse are left out.

        Examples
        --------
        >>> update = Rule.parse("x*y - w*y**2").numpy()["feedforward"]
        >>> update(x=[1.0, 2.0], y=2.0, w=0.5)
        array([0., 2.])
        """
        return {
            name: SlotFunction(node, get_slot(name).variables)
            for name, node in self.expressions.items()
            if not get_slot(name).is_constant
        }

    def __call__(self, slot: str | None = None, /, **arrays: ArrayLike) -> NDArray[np.float64]:
        """Return the update of a slot for arrays of its variables, before any learning rate.

        Parameters
        ----------
        slot : str, optional
            May be left out where the rule updates in one slot alone.
        **arrays : array_like
            One a variable, by name; shapes broadcast against each other. Variables that the slot sees and
            the update does not use may be left out.

        Returns
        -------
        ndarray of float
            Has the common shape of all arrays. Where the update is not defined it is NaN or infinite.

        Raises
        ------
        RuleError
            If a variable is missing or is not one of the slot's, values are no numbers, shapes do not
            broadcast, or the slot is not one in which the rule updates.

        Examples
        --------
        >>> Rule.parse("x*y - w*y**2")(x=[1.0, 2.0], y=2.0, w=0.5)
        array([0., 2.])
        >>> Rule.parse({"feedforward": "x*y", "lateral": "-y_pre*y_post"})("lateral", y_pre=1, y_post=[2, 3])
        array([-2., -3.])
        """
        updates = self.numpy()
        name = next(iter(updates)) if slot is None and len(updates) == 1 else self._slot(slot).name
        if name not in updates:
            raise RuleError(f"Slot {name!r} holds a constant of the synapse and no update.")
        return updates[name](**arrays)

    def _repr_html_(self) -> str:
        html: str = import_module(NOTEBOOK).html(self)
        return html

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex()}$"

    def constant(self, slot: str) -> float:
        """Return a constant of the synapse, or its usual value where the rule does not state it.

        Raises
        ------
        RuleError
            If the slot holds updates.

        Examples
        --------
        >>> rule = Rule.parse({"on_pre": "x_post - 0.2", "on_post": "x_pre", "tau_post": "30"})
        >>> rule.constant("tau_post"), rule.constant("tau_pre")
        (30.0, 20.0)
        """
        place = get_slot(slot)
        if not place.is_constant:
            raise RuleError(f"Slot {slot!r} holds an update and not a constant.")
        return self.expressions[slot].value if slot in self.expressions else place.usual

    def expression(self, slot: str | None = None) -> Node:
        """Return the expression of a slot; of the only one when no slot is named.

        Raises
        ------
        RuleError
            If the rule does not act in that slot, or acts in several and none is named.
        """
        return self.expressions[self._slot(slot).name]

    def program(self, slot: str | None = None) -> Program:
        """Return a slot's update as a program that the simulation kernels run.

        Equal sub-expressions share a register; constants come in the order of :meth:`constants`.

        Raises
        ------
        RuleError
            If the rule does not act in that slot.

        Examples
        --------
        >>> Rule.parse("x*y - w*y**2").program().variables
        ('x', 'y', 'w')
        """
        place = self._slot(slot)
        return compile_program(self.expressions[place.name], place.variables, place.neuron_level)

    def polynomial(self, slot: str | None = None) -> PolynomialRule:
        """Return a slot's update as a coefficient table that the simulation kernels run.

        Raises
        ------
        RuleError
            If the expression is not a polynomial with powers up to two.

        Examples
        --------
        >>> float(Rule.parse("x*y - w*y**2").polynomial().coefficients[0, 2, 1])
        -1.0
        """
        place = self._slot(slot)
        if place.further:
            names = ", ".join(place.further)
            raise RuleError(f"A coefficient table has no place for {names}; take the coefficients.")
        table = np.zeros((3, 3, 3))
        for exponents, value in self._terms(place.name).items():
            powers = role_exponents(exponents, place)
            if max(powers) > 2:
                term = monomial_text(exponents, place.variables)
                raise RuleError(f"A coefficient table holds powers up to 2; the rule has the term {term!r}.")
            table[powers] = value
        return PolynomialRule(table)

    def constants(self) -> NDArray[np.float64]:
        """Return the constants of all slots, one after the other; whole exponents are left out.

        A slot without an update, whose expression is zero, has none: it stays without.
        """
        values = [value for node in self.expressions.values() for value in _free_constants(node)]
        return np.array(values, dtype=np.float64)

    @property
    def slots_of_constants(self) -> tuple[str, ...]:
        """The slot of each constant, in the order of :meth:`constants`."""
        return tuple(slot for slot, node in self.expressions.items() for _ in _free_constants(node))

    @property
    def is_free(self) -> NDArray[np.bool_]:
        """Which constants of the compiled programs are constants of the rule: not that of an empty slot."""
        return np.array(
            [_has_update(node) for node in self.expressions.values() for _ in constants(node)], dtype=np.bool_
        )

    def with_constants(self, values: Iterable[float]) -> Rule:
        """Return the same rule with other constants, in the order of :meth:`constants`.

        Raises
        ------
        RuleError
            If the number of constants differs or one is not finite.

        Examples
        --------
        >>> print(Rule.parse("2*x*y - 3*w").with_constants([1.5, 0.5]))
        1.5*x*y - 0.5*w
        """
        numbers = [float(value) for value in values]
        counts = {name: len(_free_constants(node)) for name, node in self.expressions.items()}
        if len(numbers) != sum(counts.values()):
            raise RuleError(f"The rule has {sum(counts.values())} constants, got {len(numbers)} values.")
        expressions = {}
        for name, node in self.expressions.items():
            expressions[name] = with_constants(node, numbers[: counts[name]]) if counts[name] else node
            numbers = numbers[counts[name] :]
        return Rule(expressions)

    def scaled(self, factor: float | Mapping[str, float]) -> Rule:
        """Return the rule times a number: every coefficient of a sum, else the whole expression.

        Parameters
        ----------
        factor : float or mapping from str to float
            Of all updates, or of each slot's: slots may have learning rates of their own. Slots that a
            mapping does not name stay as they are, and so do constants of the synapse.

        Raises
        ------
        RuleError
            If the factor, or a scaled coefficient, is not finite.

        Examples
        --------
        >>> print(Rule.parse("x*y - w*y**2").scaled(0.5))
        0.5*x*y - 0.5*w*y**2
        """
        factors = factor if isinstance(factor, Mapping) else dict.fromkeys(self.expressions, factor)
        expressions = dict(self.expressions)
        for name in expressions.keys() & factors.keys():
            if get_slot(name).is_constant:
                continue
            number = const(factors[name]).value
            terms = self._tables[name]
            if terms is None:
                expressions[name] = scaled(expressions[name], number)
            else:
                table = {exponents: const(number * value).value for exponents, value in terms.items()}
                expressions[name] = polynomial_node(table, get_slot(name).variables)
        return Rule(expressions)

    def __str__(self) -> str:
        name, *others = self.expressions
        if not others and (name == FEEDFORWARD.name or get_slot(name).is_recorded):
            return str(self.expressions[name])
        return "; ".join(f"{name}: {node}" for name, node in self.expressions.items())

    def __repr__(self) -> str:
        texts = self.to_dict()
        return f"Rule.parse({str(self)!r})" if list(texts) == [FEEDFORWARD.name] else f"Rule.parse({texts!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rule):
            return NotImplemented
        return self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(tuple(self._canonical.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Rule, (dict(self.expressions),)

    @cached_property
    def _tables(self) -> dict[str, dict[tuple[int, ...], float] | None]:
        """Coefficients by slot; what simplifies to a polynomial, such as ``x/(1/y)``, counts as one."""
        tables = {}
        for name, node in self.expressions.items():
            variables = get_slot(name).variables
            terms = polynomial_terms(node, variables)
            tables[name] = polynomial_terms(self._canonical[name], variables) if terms is None else terms
        return tables

    @cached_property
    def _complexity(self) -> int | float:
        return self.complexity_by(Complexity())

    @cached_property
    def _canonical(self) -> dict[str, Node]:
        return {name: canonical(node, get_slot(name).variables) for name, node in self.expressions.items()}

    def _terms(self, slot: str) -> dict[tuple[int, ...], float]:
        terms = self._tables[slot]
        if terms is None:
            raise RuleError(
                f"The {slot} expression is not a polynomial (of moderate size), so it has no table of "
                f"coefficients: {_shortened(str(self.expressions[slot]))}"
            )
        return terms

    def _slot(self, name: str | None) -> Slot:
        if name is None and len(self.expressions) == 1:
            name = next(iter(self.expressions))
        if name is None:
            raise RuleError(f"Say which slot is meant: {', '.join(self.expressions)}.")
        slot = get_slot(name)
        if name not in self.expressions:
            raise RuleError(f"This rule does not act in slot {name!r}; it has {', '.join(self.expressions)}.")
        return slot


def _left_side(slot: str) -> str:
    """Return what changes, or a constant, as LaTeX; in a slot of a projection with its name."""
    projection, _, kind = slot.rpartition(".")
    plain = _LEFT_SIDES.get(kind, r"\Delta w")
    if not projection:
        return plain
    name = rf"\mathrm{{{projection}}}"
    return f"{plain[:-1]}\\,{name}}}" if plain.endswith("}}") and "^" in plain else f"{plain}^{{{name}}}"


def _by_slot(text: str) -> dict[str, str]:
    """Return the texts of all slots of a rule as it is printed."""
    if ":" not in text:
        return {FEEDFORWARD.name: text}
    texts: dict[str, str] = {}
    for part in text.split(";"):
        name, _, expression = (piece.strip() for piece in part.partition(":"))
        if name in texts:
            raise RuleError(f"Slot {_shortened(name)!r} comes twice.")
        texts[name] = expression
    return texts


def _has_update(node: Node) -> bool:
    return node != const(0.0)


def _free_constants(node: Node) -> tuple[float, ...]:
    return constants(node) if _has_update(node) else ()


def _shortened(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."

"""The Volterra basis: polynomial terms of the local variables, by name and by exponents."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import RuleError, did_you_mean
from discover.expression import monomial_text
from discover.rule import Rule
from discover.slots import FEEDFORWARD, Slot, term_exponents

__all__ = ["VolterraBasis"]

_MAX_DEGREE = 8


@dataclass(frozen=True)
class VolterraBasis:
    """All products of powers of a slot's variables, each power up to `degree`.

    Parameters
    ----------
    slot : Slot
    degree : int
        Largest power of each variable, from 1 to 8; 2 gives the 27 terms of the published family.

    Attributes
    ----------
    exponents : ndarray of int, shape (n_terms, 3)
        Powers of presynaptic, postsynaptic and weight variable, in C order of the coefficient tensor; 0 for a
        variable that the slot does not see. One more column where the slot has a further state.
    names : tuple of str
        Names of the terms, weight first: ``x*y``, ``w*y**2``, and ``1`` for the constant.

    Raises
    ------
    RuleError
        If the degree is out of range.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 3.

    Examples
    --------
    >>> basis = VolterraBasis(FEEDFORWARD)
    >>> len(basis.names), basis.names[:5]
    (27, ('1', 'w', 'w**2', 'y', 'w*y'))
    >>> basis.exponents[basis.index("w*y**2")].tolist()
    [0, 2, 1]
    """

    slot: Slot = FEEDFORWARD
    degree: int = 2
    exponents: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, int | np.integer):
            raise RuleError(f"The degree of a basis is a whole number, got {self.degree!r}.")
        if not 1 <= self.degree <= _MAX_DEGREE:
            raise RuleError(f"The degree of a basis lies in 1..{_MAX_DEGREE}, got {self.degree}.")
        powers = [range(self.degree + 1) if name is not None else range(1) for name in self.slot.places]
        exponents = np.array(list(itertools.product(*powers)), dtype=np.int64)
        exponents.setflags(write=False)
        object.__setattr__(self, "exponents", exponents)
        object.__setattr__(self, "names", tuple(self.name(row) for row in exponents.tolist()))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, exponents: Sequence[int]) -> str:
        """Return the name of a term from its powers: three, and one more where the slot has a further state.

        Raises
        ------
        RuleError
            If these are not powers of the basis.

        Examples
        --------
        >>> VolterraBasis(FEEDFORWARD).name((2, 1, 1))
        'w*x**2*y'
        """
        powers = [int(power) for power in exponents]
        places = self.slot.places
        if len(powers) != len(places) or not all(0 <= power <= self.degree for power in powers):
            count = {3: "three", 4: "four"}[len(places)]
            raise RuleError(f"A term has {count} powers from 0 to {self.degree}, got {tuple(powers)}.")
        for role, power in zip(places, powers, strict=True):
            if role is None and power:
                raise RuleError(f"Slot {self.slot.name!r} sees only {', '.join(self.slot.variables)}.")
        present = [power for role, power in zip(places, powers, strict=True) if role is not None]
        return monomial_text(tuple(present), self.slot.variables)

    def index(self, name: str) -> int:
        """Return the position of a term; its factors may come in any order.

        Raises
        ------
        RuleError
            If the basis has no such term.

        Examples
        --------
        >>> VolterraBasis(FEEDFORWARD).index("y*x")
        12
        """
        if name in self.names:
            return self.names.index(name)
        try:
            found = dict(zip(self.slot.variables, term_exponents(name, self.slot), strict=True))
            return self.names.index(self.name([found.get(str(place), 0) for place in self.slot.places]))
        except RuleError:
            shown = str(name)[:40]
            hint = did_you_mean(shown, self.names)
            raise RuleError(
                f"The basis of slot {self.slot.name!r} has no term {shown!r}. Its terms are products of "
                f"{', '.join(self.slot.variables)} with powers up to {self.degree}.{hint}"
            ) from None

    def design(self, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Return the value of every term at every sample.

        Parameters
        ----------
        values : mapping from variable name to array_like, shape (n,)
            Arrays broadcast against each other.

        Returns
        -------
        ndarray, shape (n, n_terms)

        Raises
        ------
        RuleError
            If a variable is missing.

        Examples
        --------
        >>> VolterraBasis(FEEDFORWARD, 1).design({"x": [2.0], "y": [3.0], "w": [5.0]})
        array([[ 1.,  5.,  3., 15.,  2., 10.,  6., 30.]])
        """
        missing = [name for name in self.slot.variables if name not in values]
        if missing:
            raise RuleError(
                f"No values for {', '.join(missing)}; given: {', '.join(sorted(values)) or 'nothing'}."
            )
        arrays = [np.asarray(values[name], dtype=np.float64) for name in self.slot.variables]
        columns = np.broadcast_arrays(*(np.atleast_1d(array) for array in arrays))
        if columns[0].ndim != 1:
            raise RuleError(f"Samples come as one-dimensional arrays, got shape {columns[0].shape}.")
        result = np.ones((len(columns[0]), len(self.names)))
        present = [position for position, role in enumerate(self.slot.places) if role is not None]
        for position, column in zip(present, columns, strict=True):
            with np.errstate(all="ignore"):
                powers = np.stack([column**power for power in range(self.degree + 1)], axis=1)
                result *= powers[:, self.exponents[:, position]]
        return result

    def rule(self, coefficients: ArrayLike) -> Rule:
        """Return the rule with these coefficients.

        Parameters
        ----------
        coefficients : array_like, shape (n_terms,)
            Zeros leave a term out. A coefficient tensor of shape (degree + 1, ...) is taken as well.

        Raises
        ------
        RuleError
            If the number of coefficients is wrong or one is not finite.

        Examples
        --------
        >>> basis = VolterraBasis(FEEDFORWARD)
        >>> values = np.zeros(27)
        >>> values[basis.index("x*y")], values[basis.index("w*y**2")] = 1.0, -1.0
        >>> print(basis.rule(values))
        x*y - w*y**2
        """
        values = np.asarray(coefficients, dtype=np.float64).reshape(-1)
        if len(values) != len(self.names):
            raise RuleError(f"This basis has {len(self.names)} terms, got {len(values)} coefficients.")
        return Rule.from_coefficients({self.slot.name: dict(zip(self.names, values.tolist(), strict=True))})

    def coefficients(self, rule: Rule) -> NDArray[np.float64]:
        """Return the coefficients of a polynomial rule in this basis; the inverse of :meth:`rule`.

        Returns
        -------
        ndarray, shape (n_terms,)

        Raises
        ------
        RuleError
            If the rule is not a polynomial in this basis.
        """
        result = np.zeros(len(self.names))
        table = rule.coefficients()
        if self.slot.name not in table:
            raise RuleError(
                f"The rule does not act in slot {self.slot.name!r}; it has {', '.join(rule.slots)}."
            )
        for term, value in table[self.slot.name].items():
            result[self.index(term)] = value
        return result

"""Updates as functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import RuleError, did_you_mean
from discover.expression import Node, evaluate

__all__ = ["SlotFunction"]


@dataclass(frozen=True)
class SlotFunction:
    """A slot's update as a NumPy function; call it with one array a variable, by name."""

    expression: Node
    variables: tuple[str, ...]

    def __call__(self, **arrays: ArrayLike) -> NDArray[np.float64]:
        """Return the update; arrays broadcast against each other.

        Raises
        ------
        RuleError
            If a variable is missing or unknown, values are no numbers, or shapes do not broadcast.
        """
        for name in arrays:
            if name not in self.variables:
                hint = did_you_mean(name, self.variables)
                raise RuleError(f"Unknown variable {name!r}. Variables: {', '.join(self.variables)}.{hint}")
        values = {name: _numbers(name, array) for name, array in arrays.items()}
        try:
            np.broadcast_shapes(*(value.shape for value in values.values()))
        except ValueError:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in values.items())
            raise RuleError(f"These shapes do not broadcast against each other: {shapes}.") from None
        return evaluate(self.expression, values)


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise RuleError(f"The variable {name!r} needs numbers, got {type(values).__name__}.") from None

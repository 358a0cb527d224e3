"""What prompts and notebooks show of an object: one short line, and HTML.

The HTML is made in :mod:`discover.notebook`, which is named here by a text and loaded when a notebook asks:
an import would make every stage of a run depend on how its results look.
"""

from __future__ import annotations

import re
import sys
from abc import abstractmethod
from importlib import import_module
from typing import Any

__all__ = ["NOTEBOOK", "Short", "Shown", "notebook_shell", "short_numbers", "shortened"]

NOTEBOOK = "discover.notebook"
_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.]*\w)")


class Short:
    """An object with a one-line ``repr``.

    A dataclass that has it is made with ``repr=False``, or its own ``repr`` would list all that it holds.
    """

    @abstractmethod
    def in_short(self) -> str:
        """Return what it is, in a few words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.in_short()}>"


class Shown(Short):
    """An object that notebooks show as a table, too."""

    def _repr_html_(self) -> str:
        html: str = import_module(NOTEBOOK).html(self)
        return html


def short_numbers(text: str, digits: int = 4) -> str:
    """Return a text, such as a formula, whose numbers have so many significant digits.

    Examples
    --------
    >>> short_numbers("0.39538885431801913*x*y - 2.0*w*y**2")
    '0.3954*x*y - 2*w*y**2'
    """
    return _NUMBER.sub(lambda match: f"{float(match.group()):.{digits}g}", text)


def shortened(formula: str, length: int = 72) -> str:
    """Return a formula with short constants, cut where it is longer than this.

    Examples
    --------
    >>> shortened("0.123456*x*y - w*y**2", 14)
    '0.1235*x*y - …'
    """
    text = short_numbers(formula)
    return text if len(text) <= length else text[: length - 1] + "…"


def notebook_shell() -> Any:
    """Return IPython's shell where this runs in a notebook, else None.

    Nothing is imported for it: in a notebook IPython is loaded already.

    Examples
    --------
    >>> notebook_shell() is None
    True
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell if getattr(shell, "kernel", None) is not None else None

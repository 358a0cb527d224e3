"""Symbolic search: engines propose expressions for an update, the network's meta-loss decides.

Importing this package is cheap: engines and the libraries they need are loaded when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discover.search.union import search

__all__ = ["search"]


def __getattr__(name: str) -> Any:
    """Load :func:`search` on first use; the engines themselves need nothing of the fit."""
    if name == "search":
        from discover.search.union import search

        return search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

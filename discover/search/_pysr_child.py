"""The child process in which PySR and Julia run: ``python -m discover.search._pysr_child``.

Julia takes signals for itself and holds the interpreter while it searches, which must not hold up the caller.
It starts and compiles once for all fits of the process.

Requests
    ``{"start": true}``, answered by ``{"accepted": names}``, the parameters of ``PySRRegressor``, or by
    ``{"unavailable": cause}``.
    ``{"arguments": ..., "inputs": rows, "target": numbers, "names": names}``, a search, answered by
    ``{"interrupted": whether it was}``, or by ``{"failed": cause}``. PySR leaves its front in its files.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np

from discover.search._child import Message, Parent, serve

__all__ = ["main"]

_LONGEST_CAUSE = 300


@cache
def _regressor() -> Any:
    from pysr import PySRRegressor

    return PySRRegressor


def _work(request: Message, _: Parent) -> Message:
    if "start" in request:
        try:
            return {"accepted": list(inspect.signature(_regressor().__init__).parameters)}
        except Exception as error:
            return {"unavailable": _cause(error)}
    try:
        return {"interrupted": _fit(request)}
    except Exception as error:
        return {"failed": _cause(error)}


def _fit(request: Message) -> bool:
    """Search, and say whether something stopped PySR before its end."""
    model = _regressor()(**_with_pairs(request["arguments"]))
    model.fit(np.array(request["inputs"]), np.array(request["target"]), variable_names=request["names"])
    return bool(getattr(model, "interrupted_", False))


def _with_pairs(arguments: Message) -> Message:
    """Make pairs of what JSON had to write as lists."""
    limits = arguments.get("constraints", {})
    pairs = {name: tuple(limit) if isinstance(limit, list) else limit for name, limit in limits.items()}
    return {**arguments, "constraints": pairs} if pairs else arguments


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0][:_LONGEST_CAUSE] if lines else "no message"
    return f"{type(error).__name__}: {text}".rstrip(".")


def main() -> None:
    """Answer requests from standard input."""
    serve(_work)


if __name__ == "__main__":
    main()

r"""From simulations to laws: tasks, coefficient fit, symbolic search, validation, comparison and export.

What most people need has a name here, and is loaded when it is asked for: ``import discover`` is quick.

Examples
--------
>>> import discover
>>> print(discover.Rule.parse("y*(x - w*y)").latex())
\Delta w_{ij} = \eta \left( y \left(x - w y\right) \right)
>>> study = discover.run("oja")  # doctest: +SKIP
>>> print(study.rule)  # doctest: +SKIP
feedforward: 0.411*x*y - 0.411*w*y**2
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FACE = {
    "Circuit": "sims.circuit",
    "Rule": "discover.rule",
    "RuleRegressor": "discover.inference.regressor",
    "Study": "pipelines.study",
    "Task": "discover.tasks.base",
    "compare": "discover.comparison",
    "infer": "discover.inference",
    "open_study": "pipelines.study",
    "run": "pipelines.study",
}
"""What is found here -> the module that has it. ``__init__.pyi`` says the same to type checkers.

A pipeline knows the parts of this package, and never the other way round; its name stands here because
whoever imports this package wants to run one.
"""

__all__ = [
    "Circuit",
    "Rule",
    "RuleRegressor",
    "Study",
    "Task",
    "__version__",
    "compare",
    "infer",
    "open_study",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # takes longer to load than all the rest

        return metadata.version("plasticity-discovery")
    if name in _FACE:
        try:
            return getattr(import_module(_FACE[name]), name)
        except ModuleNotFoundError as error:
            _say_what_hides_it(error)
            raise
    raise AttributeError(f"module 'discover' has no attribute {name!r}")


def _say_what_hides_it(error: ModuleNotFoundError) -> None:
    """Say so where a folder or file of the user's is called like a package of this program."""
    import sys

    package = (error.name or "").partition(".")[0]
    place = getattr(sys.modules.get(package), "__file__", None)
    if package in ("sims", "pipelines") and error.name != package and place is not None:
        raise ImportError(
            f"{place} is found in place of the package {package!r} of plasticity-discovery. Rename it, or "
            "start Python in another folder."
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)

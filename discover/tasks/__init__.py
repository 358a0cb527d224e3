"""Tasks: functions that a circuit should acquire, one module each.

A task is found by its name. Every module of this package that defines ``TASK`` is one; adding a task means
adding a file. What several tasks share, or a task keeps in a second file, has a name that begins with an
underscore, or is listed below.
"""

from __future__ import annotations

import importlib
import pkgutil

from discover.errors import TaskError, did_you_mean
from discover.tasks.base import Fold, Problems, Task, TaskGradient, VisitedStates, collect

__all__ = ["Fold", "Problems", "Task", "TaskGradient", "VisitedStates", "collect", "get_task", "task_names"]


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in alphabetical order."""
    return tuple(sorted(_modules()))


def get_task(name: str) -> Task:
    """Return a task by its name.

    Raises
    ------
    TaskError
        If there is no such task.

    Examples
    --------
    >>> get_task("oja").title
    'First principal component of one linear neuron'
    """
    modules = _modules()
    if name not in modules:
        hint = did_you_mean(str(name), modules)
        raise TaskError(f"There is no task {str(name)[:40]!r}.{hint} Tasks: {', '.join(sorted(modules))}.")
    task: Task = importlib.import_module(modules[name]).TASK
    return task


def _modules() -> dict[str, str]:
    """Task name -> module; a module is named after its task, with underscores for hyphens."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    return {name.replace("_", "-"): f"{__name__}.{name}" for name in names if name not in ("base", "pca")}

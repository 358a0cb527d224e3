"""Tasks: functions that a circuit should acquire, one module each.

A task is found by its name. Every module of this package that defines ``TASK`` is one, under its own name
with hyphens for underscores; adding a task means adding a file. Installed packages offer further ones as
entry points of the group ``plasticity_discovery.tasks``, and a file of the user's own is named by its path,
as in ``path/to/file.py:MyTask`` (see :mod:`discover.user_tasks`).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

from discover.errors import TaskError, did_you_mean
from discover.tasks.base import Fold, Problems, Task, TaskGradient, VisitedStates, collect
from discover.user_tasks import installed_task, installed_task_names, is_file_task, loaded_task

__all__ = ["Fold", "Problems", "Task", "TaskGradient", "VisitedStates", "collect", "get_task", "task_names"]


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in alphabetical order."""
    return tuple(sorted({*_modules(), *installed_task_names()}))


def get_task(name: str) -> Task:
    """Return a task by its name; a file is not run, see :func:`discover.user_tasks.load_task`.

    Raises
    ------
    TaskError
        If there is no such task.

    Examples
    --------
    >>> get_task("oja").title
    'First principal component of one linear neuron'
    """
    if is_file_task(name):
        mine: Task = loaded_task(name)
        return mine
    modules = _modules()
    if name in modules:
        task: Task = importlib.import_module(modules[name]).TASK
        return task
    installed: Task | None = installed_task(name)
    if installed is None:
        names = task_names()
        hint = did_you_mean(str(name), names) or _of_a_pipeline(str(name), names)
        raise TaskError(
            f"There is no task {str(name)[:40]!r}.{hint} "
            f"Tasks: {', '.join(names)}. A task of your own: path/to/file.py:Class."
        )
    return installed


def _of_a_pipeline(name: str, names: Iterable[str]) -> str:
    """Suggest the task of a pipeline file, ``oja`` for ``oja-smoke``; empty where there is none."""
    found = [one for one in names if name.startswith(f"{one}-")]
    return f" Did you mean {max(found, key=len)!r}?" if found else ""


@cache
def _modules() -> dict[str, str]:
    """Task name -> module, of the modules here that define ``TASK``; none is imported."""
    found = {}
    for file in resources.files(__name__).iterdir():
        stem, _, suffix = file.name.rpartition(".")
        if suffix == "py" and re.search(r"^TASK\b", file.read_text(encoding="utf-8"), re.MULTILINE):
            found[stem.replace("_", "-")] = f"{__name__}.{stem}"
    return found

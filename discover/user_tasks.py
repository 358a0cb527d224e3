"""Tasks from outside of this package: a class in a file that the user names, or an installed entry point.

A file of a task is code, and it is run for one reason only: its path stands in the pipeline file, or on the
command line, that the user gave. :func:`load_task` does so. Whatever reads artefacts asks
:func:`discover.tasks.get_task`, which knows the files that were loaded and never loads one: the settings in a
run's folder may have been written by somebody else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass, is_dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from discover.checked import shortened
from discover.errors import DiscoverError, RuleError, TaskError, did_you_mean

__all__ = [
    "ENTRY_POINTS",
    "NamedFile",
    "checked_task",
    "installed_task",
    "installed_task_names",
    "is_file_task",
    "load_named",
    "load_task",
    "loaded_task",
    "named_files",
    "source_of",
]

ENTRY_POINTS = "plasticity_discovery.tasks"
"""Group of the entry points by which installed packages offer tasks."""

OWN_TASKS = Path(__file__).parent / "tasks"

HELP = "docs/new_task.md shows a whole one."


@dataclass(frozen=True)
class _Loaded:
    task: Any
    path: Path


_LOADED: dict[str, _Loaded] = {}
"""Files that the user named in this process, by what was named."""


def is_file_task(name: str) -> bool:
    """Whether a task's name is that of a class in a file.

    Examples
    --------
    >>> is_file_task("mine.py:Task"), is_file_task("oja")
    (True, False)
    """
    return ":" in name


def load_task(name: str, folder: Path | None = None) -> Any:
    """Return the task that the user named, running the file where it is one.

    Parameters
    ----------
    name : str
        Name of a task, or ``path/to/file.py:Class``. Never hand over what an artefact says.
    folder : Path, optional
        What a relative path starts from: the folder of the pipeline file; the working folder by default.

    Raises
    ------
    TaskError
        If there is no such task, file or class, the file fails, or the class is no task.
    """
    if not is_file_task(name):
        from discover.tasks import get_task

        return get_task(name)
    file, _, attribute = name.rpartition(":")
    path = (folder or Path()) / file
    if not os.path.isfile(path):  # where no file can have such a path, too
        raise TaskError(
            f"The task {shortened(name, 200)} is in no file: there is no "
            f"{shortened(os.path.abspath(path), 200)}. A path in a pipeline file starts from that file's "
            "folder, one on the command line from the working folder."
        )
    return _loaded(name, attribute, path.resolve())


@dataclass(frozen=True)
class NamedFile:
    """A file of a task that the user named, as a worker of a cluster is told of it.

    Attributes
    ----------
    name : str
        ``path/to/file.py:Class``, as the user wrote it.
    path : str
        Where the file is.
    checksum : str
        SHA-256 of its content.
    """

    name: str
    path: str
    checksum: str


def named_files() -> tuple[NamedFile, ...]:
    """Return the files of tasks that the user has named in this process."""
    return tuple(NamedFile(name, str(one.path), _checksum(one.path)) for name, one in _LOADED.items())


def load_named(file: NamedFile) -> None:
    """Run a file that the user named in the process that sends work to this one; once.

    Raises
    ------
    TaskError
        If it is not there, or is another file here than there.
    """
    if file.name in _LOADED:
        return
    path = Path(file.path)
    if not path.is_file() or _checksum(path) != file.checksum:
        state = "is another file" if path.is_file() else "is not there"
        raise TaskError(
            f"The task {file.name!r}: {path} {state} on a worker of the cluster. Keep it in a folder that "
            "all machines share, and start the workers again after an edit."
        )
    _loaded(file.name, file.name.rpartition(":")[2], path)


def _loaded(name: str, attribute: str, path: Path) -> Any:
    found = _member(_module(path, name), attribute, name)
    task = checked_task(_made(found, name), name)
    _LOADED[name] = _Loaded(task, path)
    return task


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def loaded_task(name: str) -> Any:
    """Return a file's task that the user has named in this process; no file is run.

    Raises
    ------
    TaskError
        If the user has not named it.
    """
    if name not in _LOADED:
        raise TaskError(
            f"The task {name[:200]!r} is code in a file. A file is run only when you name it yourself, not "
            "because the settings in a run's folder do: these may be somebody else's. If you trust it, give "
            "the pipeline's TOML file instead of the run's folder, as in `discover report mine.toml`."
        )
    return _LOADED[name].task


def installed_task_names() -> tuple[str, ...]:
    """Return the names of the tasks that installed packages offer, in alphabetical order."""
    return tuple(sorted(metadata.entry_points(group=ENTRY_POINTS).names))


def installed_task(name: str) -> Any:
    """Return the task of an installed package, None where there is no such entry point.

    Raises
    ------
    TaskError
        If it cannot be imported, or is no task.
    """
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=name):
        where = f"{name} ({entry.value})"
        try:
            found = entry.load()
        except Exception as error:  # the package's own code: whatever it raises is told in one paragraph
            raise TaskError(f"The installed task {where} cannot be imported: {_fault(error)}.") from error
        if isinstance(found, ModuleType):
            found = _member(found, "TASK", where)
        return checked_task(_made(found, where), where)
    return None


def source_of(name: str) -> Path | None:
    """Return the file that holds a task from outside of this package, None for the package's own tasks."""
    if is_file_task(name):
        return _LOADED[name].path if name in _LOADED else None
    if (OWN_TASKS / f"{name.replace('-', '_')}.py").is_file():
        return None
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=name):
        found = importlib.util.find_spec(entry.module)
        return Path(found.origin) if found is not None and found.origin else None
    return None


def checked_task(task: Any, where: str) -> Any:
    """Return a task that has all that one needs.

    Raises
    ------
    TaskError
        If something is missing or cannot be right; the text names all of it.
    """
    from discover.tasks.base import Task

    if not isinstance(task, Task):
        raise TaskError(
            f"The task {where} is no discover.tasks.base.Task. The class discover.tasks.neuron.NeuronTask is "
            f"one, and has most of what a task needs; {HELP}"
        )
    missing = [name for name in Task.__annotations__ if not hasattr(task, name)]
    if missing:
        raise TaskError(f"The task {where} lacks {', '.join(missing)}. {HELP}")
    _take_own_rules(task, where)
    for fault in _faults(task):
        raise TaskError(f"The task {where} cannot be used: {fault}. {HELP}")
    return task


def _is_known(slot: Any) -> bool:
    from discover.slots import get_slot

    try:
        return bool(get_slot(slot.name) == slot)
    except (AttributeError, RuleError):
        return False


def _faults(task: Any) -> list[str]:
    from discover.known_rules import KNOWN_RULES
    from discover.slots import SLOTS

    faults = []
    if not isinstance(task.name, str) or not task.name or not isinstance(task.title, str):
        faults.append("its name and its title are texts")
    if not (isinstance(task.settings_type, type) and is_dataclass(task.settings_type)):
        faults.append("its settings_type is a frozen dataclass, whose fields are the keys of [problems]")
    if not task.slots or not all(_is_known(slot) for slot in task.slots):
        faults.append(f"its slots are some of those in discover.slots ({', '.join(SLOTS)})")
    for name in (*task.known_rules, *task.known_networks, task.reference):
        if name not in KNOWN_RULES:
            hint = did_you_mean(str(name), KNOWN_RULES)
            faults.append(
                f"there is no known rule {name!r}.{hint} A rule that the library lacks goes into the task's "
                "own_rules, as a discover.known_rules.KnownRule"
            )
    if task.reference not in task.known_rules:
        faults.append(f"its reference, {task.reference!r}, is one of its known_rules")
    if "loss" not in task.measures:
        faults.append("its `measures` lack an entry for the loss: say {**NeuronTask.measures, ...}")
    return faults


def _take_own_rules(task: Any, where: str) -> None:
    from discover.known_rules import add_known_rules

    if task.own_rules:
        add_known_rules(task.own_rules, where)


def _module(path: Path, name: str) -> ModuleType:
    alias = f"_task_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(alias, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"The task {name!r}: {path} is no Python file; its name ends with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is told in one paragraph
        del sys.modules[alias]
        raise TaskError(f"{path} cannot be run: {_fault(error, path)}.") from error
    return module


def _member(module: ModuleType, attribute: str, name: str) -> Any:
    if not hasattr(module, attribute):
        classes = [one for one, value in vars(module).items() if isinstance(value, type) and one[0] != "_"]
        raise TaskError(
            f"The task {name!r}: there is no {attribute!r} in {module.__file__}."
            f"{did_you_mean(attribute, classes)} Write path/to/file.py:Class; classes there: "
            f"{', '.join(classes) or 'none'}."
        )
    return getattr(module, attribute)


def _made(found: Any, name: str) -> Any:
    """Return a task from its class; an instance is taken as it is."""
    if not isinstance(found, type):
        return found
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise TaskError(f"The task {name} lacks {', '.join(missing)}. {HELP}")
    try:
        return found()
    except Exception as error:  # the user's code again
        raise TaskError(f"The class of the task {name!r} cannot be made: {_fault(error)}.") from error


def _fault(error: BaseException, path: Path | None = None) -> str:
    """Return an error in one phrase, with the line of the file where it arose."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    step = error.__traceback__
    while step is not None and path is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = step.tb_lineno
        step = step.tb_next
    where = f" (line {line})" if line else ""
    text = str(error).rstrip(".")
    return text if isinstance(error, DiscoverError) else f"{type(error).__name__}: {text}{where}"

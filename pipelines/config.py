"""What to run: the TOML file of a pipeline, checked key by key before anything starts."""

from __future__ import annotations

import importlib
import json
import math
import re
import tomllib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from discover.checked import MAX_DEPTH, parse_json, printable, read_plain, shortened, values_in
from discover.errors import ArtefactError, ConfigError, TaskError, did_you_mean

SCHEMA = 1
"""Version of the TOML form that this program reads and writes."""

MAX_BYTES = 1_000_000
"""A configuration that a run keeps is refused unread when it is longer than this."""

MAX_TOML_BYTES = 65_536
"""A pipeline file is refused unread when it is longer than this."""

MAX_ENTRIES = 1000
"""Longest list in a configuration."""

SECTIONS: Mapping[str, tuple[str, str]] = {
    "fit": ("discover.fit", "FitSettings"),
    "search": ("discover.search.settings", "SearchSettings"),
    "validate": ("discover.validate", "ValidateSettings"),
    "compare": ("discover.comparison", "CompareSettings"),
}
"""Section of the TOML file -> module and name of its settings; those of [problems] belong to the task."""

OBJECTIVES = ("update", "task", "blocks")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY = r"""(?:(?<![\w-])[\w-]+|"(?:[^"\\\n]|\\.){0,99}"|'[^'\n]{0,99}')"""
_DEEP_KEY = re.compile(rf"(?:{_KEY}[ \t]*\.[ \t]*){{{MAX_DEPTH},}}")
_INT64 = 2**63


@dataclass(frozen=True)
class Header:
    """The keys that stand above the sections.

    Parameters
    ----------
    schema : int
        Version of the form of the file; 1.
    task : str
        Name of the task, such as ``oja``, or ``path/to/file.py:Class``, where a relative path starts from the
        folder of the file.
    seed : int
        Root of every random number of the run.
    name : str
        Name of the run and of its folder; the name of the file without ``.toml`` when empty.
    """

    schema: Annotated[int, Ge(1)]
    task: str
    seed: Annotated[int, Ge(0), Le(_INT64 - 1)] = 0
    name: str = ""


@dataclass(frozen=True)
class PipelineConfig:
    """One pipeline, every setting resolved and checked.

    Parameters
    ----------
    name : str
        Name of the run and of its folder.
    task : str
        Name of the task.
    seed : int
        Root of every random number of the run.
    engines : tuple of str
        Engines of the symbolic search as asked for; ``auto`` stands for the embedded ones.
    problems : dataclass
        The task's own settings (``task.settings_type``).
    fit, search, validate, compare : dataclass
        Settings of the stages of these names.
    """

    name: str
    task: str
    seed: int
    engines: tuple[str, ...]
    problems: Any
    fit: Any
    search: Any
    validate: Any
    compare: Any

    def section(self, name: str) -> dict[str, Any]:
        """Return one section as plain numbers, strings, lists and tables."""
        table: dict[str, Any] = _plain(asdict(getattr(self, name)))
        return {"engines": list(self.engines), **table} if name == "search" else table

    def to_dict(self) -> dict[str, Any]:
        """Return the whole configuration in the form of the TOML file, defaults written out."""
        header = {"schema": SCHEMA, "name": self.name, "task": self.task, "seed": self.seed}
        return {**header, **{name: self.section(name) for name in ("problems", *SECTIONS)}}

    def with_engines(self, engines: Sequence[str]) -> PipelineConfig:
        """Return the same pipeline with other search engines.

        Raises
        ------
        ConfigError
            When there is no engine of such a name.
        """
        return replace(self, engines=_checked_engines(list(engines), "--engine"))

    def with_objective(self, objective: str) -> PipelineConfig:
        """Return the same pipeline with something else that drives the engines.

        Raises
        ------
        ConfigError
            When there is no such objective.
        """
        if objective not in OBJECTIVES:
            raise ConfigError(
                f"--objective: {objective[:40]!r} is none of {', '.join(OBJECTIVES)}."
                f"{did_you_mean(objective, OBJECTIVES)}"
            )
        return replace(self, search=replace(self.search, objective=objective))


def load_toml(path: Path) -> PipelineConfig:
    """Read a pipeline's TOML file.

    Parameters
    ----------
    path : Path
        The file; the run is named after it unless it says ``name = ...``.

    Raises
    ------
    ConfigError
        When the file cannot be read, is not TOML, or holds an unknown key or an impossible value.
    """
    return from_table(read_toml(path), source=str(path), default_name=path.stem, folder=path.parent)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, without a look at what it says.

    Raises
    ------
    ConfigError
        When the file cannot be read, is not TOML or nests too deeply.
    """
    text = _read(path, MAX_TOML_BYTES, ConfigError, "Pipelines are TOML files such as pipelines/oja.toml.")
    too_deep = ConfigError(f"{path} nests lists or tables too deeply to be a pipeline.")
    if _DEEP_KEY.search(text):  # for these the time and memory of the parser grow with the square
        raise too_deep
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    try:
        deque(values_in(table), maxlen=0)
    except ValueError:
        raise too_deep from None
    return table


def load_json(path: Path) -> PipelineConfig:
    """Read the resolved configuration that a run keeps in its folder as ``config.json``.

    Raises
    ------
    ArtefactError
        When the file is missing or is not JSON.
    ConfigError
        When it holds an unknown key or an impossible value.
    """
    text = _read(path, MAX_BYTES, ArtefactError, "Start the run with `discover run TOML`.")
    try:
        table = parse_json(text)
    except ValueError as error:
        raise ArtefactError(
            f"{path} is truncated or was edited: it is not valid JSON ({error}). "
            "Start the run again with `discover run TOML`."
        ) from None
    if not isinstance(table, dict):
        raise ArtefactError(f"{path} holds no configuration. Start the run again with `discover run TOML`.")
    if table.get("task") == "recorded" and "data" in table:
        raise ConfigError(
            f"{path.parent} is a run of `discover infer`, which has no pipeline of stages. Repeat "
            "`discover infer` "
            "with its table to run it again; front, show, export and report read it as it is."
        )
    return from_table(table, source=str(path), default_name="")


def from_table(
    table: Mapping[str, Any], source: str, default_name: str, folder: Path | None = None
) -> PipelineConfig:
    """Check a configuration that was read from a file.

    Parameters
    ----------
    table : mapping
        The file's content.
    source : str
        What to call the file in messages.
    default_name : str
        Name of the run when the file gives none.
    folder : Path, optional
        Where the file lies when it is one that the user named: from there a task's own file is found and run.
        Without it none is, because what a run's folder says may have been written by somebody else.

    Raises
    ------
    ConfigError
        When a key is unknown, a value is impossible, or there is no such task or engine.
    """
    keys = [field.name for field in fields(Header)]
    sections = ["problems", *SECTIONS]
    for key, value in table.items():
        if key not in keys and key not in sections:
            raise _unknown_key(source, key, key, [*keys, *sections])
        if key in sections and not isinstance(value, dict):
            raise ConfigError(f"{source}: {key}: a table is expected, [{key}], but it is {shortened(value)}.")
    _refuse_other_schema(table.get("schema"), source)
    header = validated(Header, {key: table[key] for key in keys if key in table}, "", source)
    task = _task(header.task, source, folder)
    search = dict(table.get("search", {}))
    _refuse_not_simulated(search.get("operators"), source)
    engines = _checked_engines(search.pop("engines", ["auto"]), f"{source}: search.engines")
    return PipelineConfig(
        name=checked_name(header.name or default_name, source),
        task=header.task,
        seed=header.seed,
        engines=engines,
        problems=validated(task.settings_type, table.get("problems", {}), "problems", source),
        search=validated(settings_type("search"), search, "search", source),
        **{
            name: validated(settings_type(name), table.get(name, {}), name, source)
            for name in SECTIONS
            if name != "search"
        },
    )


def validated(settings_type: Any, table: Mapping[str, Any], path: str, source: str) -> Any:
    """Turn a table into a frozen dataclass whose fields are all of the right type and within bounds.

    Parameters
    ----------
    settings_type : type
        A dataclass; its ``annotated_types`` bounds are checked.
    table : mapping
        Values as they were read.
    path : str
        Where the table stands in the file, such as ``fit``; empty for the top.
    source : str
        What to call the file in messages.

    Raises
    ------
    ConfigError
        When a key is unknown or a value has the wrong type or lies out of bounds.
    """
    _check_keys(settings_type, dict(table), path, source)
    try:
        # Through JSON, because its strict mode takes a list for a tuple and still no "3" for a 3.
        return _adapter(settings_type).validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_complaint(error, table, path)}") from None


@cache
def _adapter(settings_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(settings_type)


def checked_name(name: str, source: str) -> str:
    """Return the name of a run, or refuse one that could lead out of the results folder.

    Raises
    ------
    ConfigError
        When the name is empty, too long, or holds anything but letters, digits, ``-`` and ``_``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{source}: name: {shortened(name)} cannot name a run. "
            "Allowed are up to 64 letters, digits, '-' and '_', beginning with a letter or a digit."
        )
    return name


def _read(
    path: Path, max_bytes: int, error_type: type[ArtefactError] | type[ConfigError], remedy: str
) -> str:
    try:
        data = read_plain(path, max_bytes + 1)
    except FileNotFoundError:
        raise error_type(f"There is no file {path}. {remedy}") from None
    except OSError as error:
        raise error_type(f"{path} cannot be read: {error.strerror}. {remedy}") from None
    if len(data) > max_bytes:
        raise error_type(f"{path} is longer than {max_bytes:,} bytes and was not read. {remedy}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise error_type(f"{path} is not UTF-8 text (byte {error.start}). {remedy}") from None


def _refuse_other_schema(schema: object, source: str) -> None:
    if isinstance(schema, int) and schema > SCHEMA:
        raise ConfigError(
            f"{source}: schema: the file has version {schema}, this program reads version {SCHEMA}. "
            "It was written for a newer release: upgrade plasticity-discovery."
        )


def _refuse_not_simulated(operators: object, source: str) -> None:
    from discover.expression.node import NOT_SIMULATED

    for name in operators if isinstance(operators, list) else ():
        if isinstance(name, str) and name in NOT_SIMULATED:
            raise ConfigError(
                f"{source}: search.operators: networks have no function {name}; `discover infer --function` "
                "has it for recorded data."
            )


def _task(name: str, source: str, folder: Path | None) -> Any:
    from discover.tasks import get_task
    from discover.user_tasks import is_file_task, load_task

    try:
        return load_task(name, folder) if folder is not None and is_file_task(name) else get_task(name)
    except TaskError as error:
        raise ConfigError(f"{source}: task: {error}") from error


def settings_type(section: str) -> Any:
    """Return the dataclass with the settings of one of :data:`SECTIONS`."""
    module, name = SECTIONS[section]
    return getattr(importlib.import_module(module), name)


def _checked_engines(engines: object, where: str) -> tuple[str, ...]:
    from discover.search.engine import ENGINES

    allowed = ["auto", *ENGINES]
    if not isinstance(engines, list) or not engines or not all(isinstance(name, str) for name in engines):
        raise ConfigError(
            f'{where}: engine names are expected, such as ["auto"], but it is {shortened(engines)}.'
        )
    for name in engines:
        if name not in allowed:
            raise ConfigError(
                f"{where}: there is no engine {shortened(name)}.{did_you_mean(name, allowed)} "
                f"Allowed: {', '.join(allowed)}."
            )
    return tuple(dict.fromkeys(engines))


def _check_keys(hint: Any, value: Any, path: str, source: str) -> None:
    """Refuse unknown keys and numbers that no setting can mean, at any depth."""
    settings_type = _unwrapped(hint, is_dataclass)
    if settings_type is not None and isinstance(value, dict):
        hints = get_type_hints(settings_type, include_extras=True)
        allowed = [field.name for field in fields(settings_type) if field.init]
        for key, item in value.items():
            dotted = f"{path}.{key}" if path else key
            if key not in allowed:
                raise _unknown_key(source, key, dotted, allowed)
            _check_keys(hints[key], item, dotted, source)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_keys(_element(hint), item, f"{path}.{key}", source)
    elif isinstance(value, list):
        if len(value) > MAX_ENTRIES:
            raise ConfigError(
                f"{source}: {path}: a list has at most {MAX_ENTRIES:,} entries, but it has {len(value):,}."
            )
        for number, item in enumerate(value):
            _check_keys(_element(hint), item, f"{path}[{number}]", source)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{source}: {path}: a finite number is expected, but it is {value}.")
    elif isinstance(value, int) and abs(value) >= _INT64:
        raise ConfigError(f"{source}: {path}: the number has {value.bit_length()} bits, and 63 must hold it.")


def _unwrapped(hint: Any, wanted: Callable[[Any], bool]) -> Any:
    """Return the wanted type out of ``Annotated[...]`` and unions, None when it is not there."""
    if wanted(hint):
        return hint
    if get_origin(hint) in (Annotated, Union, UnionType):
        for argument in get_args(hint):
            if (found := _unwrapped(argument, wanted)) is not None:
                return found
    return None


def _element(hint: Any) -> Any:
    """Return the type of a container's elements as far as the hint tells it."""
    container = _unwrapped(hint, lambda kind: get_origin(kind) in (list, tuple, dict, Mapping, Sequence))
    arguments = [argument for argument in get_args(container) if argument is not Ellipsis]
    return arguments[-1] if arguments else None


def _unknown_key(source: str, key: str, dotted: str, allowed: Sequence[str]) -> ConfigError:
    choice = ", ".join(allowed) or "none"
    shown = printable(dotted, 100)
    return ConfigError(
        f"{source}: unknown key '{shown}'.{did_you_mean(key, allowed)} Allowed here: {choice}."
    )


def _first_complaint(error: ValidationError, table: Mapping[str, Any], path: str) -> str:
    """Return what is wrong with the first bad value; every branch of a union has its say about it."""
    complaints = [(_place(one["loc"], table, path), one) for one in error.errors(include_url=False)]
    place, first = complaints[0]
    if first["type"] == "missing":
        return f"{place}: this key is missing."
    if first["type"] == "value_error":
        return f"{place}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."
    messages = dict.fromkeys(
        one["msg"].removeprefix("Input should be ") for at, one in complaints if at == place
    )
    others = len({at for at, _ in complaints}) - 1
    more = f" ({others} more to mend.)" if others else ""
    return f"{place}: it should be {', or '.join(messages)}, but it is {shortened(first['input'])}.{more}"


def _place(location: tuple[int | str, ...], table: Mapping[str, Any], path: str) -> str:
    """Return a dotted path; what pydantic adds to it, such as the branch of a union, is left out."""
    value: Any = table
    for part in location:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif not isinstance(value, dict) or part != location[-1]:
            break  # the name of a union's branch; a missing key is the last part of a location inside a table
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return printable(path, 200)


def _plain(value: Any) -> Any:
    """Return settings as JSON has them, so that they compare equal after a round trip."""
    return json.loads(json.dumps(value, default=str, allow_nan=False))

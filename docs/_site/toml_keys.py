"""A page of all keys that a pipeline file may have, made from the settings themselves."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from discover.tasks import get_task, task_names
from pipelines.config import SECTIONS, Header, settings_type

PAGE = "toml_keys.md"

INTRODUCTION = """\
# All keys of a pipeline file

A pipeline is a TOML file with a few keys at its head and five sections. A key that you do not write has its
default. `[problems]` belongs to the task; the other sections are the same for all tasks. An unknown key, a
value of another type and one out of bounds are errors that name the key before anything runs.

A dotted key such as `teacher.restarts` in the section `[fit]` stands in the file as

```toml
[fit.teacher]
restarts = 6
```
"""

_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : (.*)$")


def page_of_keys() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION, "## At the head\n", _table(Header)]
    for section in SECTIONS:
        parts += [f"## [{section}]\n", _table(settings_type(section), _extra(section))]
    parts.append("## [problems]\n")
    by_settings: dict[Any, list[str]] = {}
    for name in task_names():
        by_settings.setdefault(get_task(name).settings_type, []).append(name)
    for settings, names in by_settings.items():
        parts += [f"### {', '.join(names)}\n", _table(settings)]
    return "\n".join(parts)


def _extra(section: str) -> list[tuple[str, str, str, str]]:
    if section != "search":
        return []
    return [
        (
            "engines", "list of text", '["auto"]',
            "Engines of the search: auto stands for the embedded ones. See [Engines](engines.md).",
        )
    ]  # fmt: skip


def _table(settings: Any, first: list[tuple[str, str, str, str]] | None = None) -> str:
    rows = [*(first or []), *keys_of(settings)]
    lines = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in rows]
    return "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *lines, ""])


def keys_of(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and meaning of every setting, nested ones under dotted keys."""
    told, hints = described(settings), get_type_hints(settings, include_extras=True)
    for field in fields(settings):
        if not field.init:
            continue
        key, hint = f"{prefix}{field.name}", hints[field.name]
        nested = next((one for one in _parts(hint) if is_dataclass(one)), None)
        default = _default(field)
        if nested is not None and is_dataclass(default):
            yield from keys_of(nested, f"{key}.")
        else:
            yield key, _kind(hint), _shown(default), told.get(field.name, "")


def described(settings: Any) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of each field."""
    found: dict[str, str] = {}
    for base in settings.__mro__:
        names: list[str] = []
        for line in inspect.getdoc(base).splitlines() if is_dataclass(base) and base.__doc__ else []:
            entry = _ENTRY.match(line)
            if entry:
                names = [name for name in entry[1].split(", ") if name not in found]
                found.update(dict.fromkeys(names, ""))
            elif line.startswith("    ") and names:
                found.update({name: f"{found[name]} {line.strip()}".strip() for name in names})
            elif line.strip():
                names = []
    return {
        name: re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text.replace("``", "`")) for name, text in found.items()
    }


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for argument in get_args(hint):
        if get_origin(hint) is not Literal:
            yield from _parts(argument)


def _kind(hint: Any) -> str:
    """Return a type in words, with the bounds that it has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [text for one in arguments[1:] if (text := _bound(one))]
        return " ".join([_kind(arguments[0]), *bounds])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (tuple, list):
        return f"list of {_kind(arguments[0])}"
    if origin in (dict, Mapping) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return f"table of {_kind(arguments[1])}"
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(hint, "table" if is_dataclass(hint) else getattr(hint, "__name__", str(hint)))


def _bound(one: Any) -> str:
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}", "min_length": "({} or more)"}
    bounds = ((text, getattr(one, name, None)) for name, text in words.items())
    return " ".join(text.format(bound) for text, bound in bounds if bound is not None)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def _shown(value: Any) -> str:
    if value is MISSING:
        return "needed"
    if value is None:
        return "–"
    plain = asdict(value) if is_dataclass(value) else value
    text = json.dumps(plain, default=lambda one: asdict(one) if is_dataclass(one) else str(one))
    return f"`{text}`" if len(text) <= 60 else "several, see the source"

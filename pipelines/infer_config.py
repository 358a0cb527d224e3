"""What `discover infer` is asked for: which columns of a table are what, and the settings of the run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.errors import ConfigError
from pipelines.config import checked_name

if TYPE_CHECKING:
    from discover.inference import InferSettings

__all__ = ["TASK", "DataConfig", "InferConfig", "is_recorded", "named_pairs", "run_name"]

TASK = "recorded"
"""Stands in ``config.json`` where simulated runs name their task."""


@dataclass(frozen=True)
class DataConfig:
    """Which columns of a table are what.

    Parameters
    ----------
    source : str
        The file.
    target : str
        Column of the update; with `weak`, of the quantity whose rate of change is wanted.
    variables : mapping from str to str
        Name in the rule -> column.
    groups, synapse, time : str
        Columns of recordings, synapses and times; empty for none.
    units : mapping from str to str
        Column -> unit, beside those that headings give.
    weak : bool
        Whether the target is observed over time and not its change.
    window : float or None
        Width of the test functions.
    sha256 : str
        Checksum of the file.
    """

    source: str
    target: str
    variables: Mapping[str, str]
    groups: str = ""
    synapse: str = ""
    time: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    weak: bool = False
    window: float | None = None
    sha256: str = ""

    @property
    def quantity(self) -> str:
        """What the rule gives."""
        return f"d{self.target}/d{self.time}" if self.weak else self.target


@dataclass(frozen=True)
class InferConfig:
    """One inference, every setting resolved.

    Parameters
    ----------
    name : str
    engines : tuple of str
    data : DataConfig
    settings : InferSettings
    """

    name: str
    engines: tuple[str, ...]
    data: DataConfig
    settings: InferSettings

    @property
    def seed(self) -> int:
        """Root of every random number of the run."""
        return self.settings.seed

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``config.json``."""
        settings = asdict(self.settings)
        search = settings.pop("search")
        for unused in ("network", "objective", "selector", "resolution", "pysr"):
            search.pop(unused)
        data = {key: value for key, value in asdict(self.data).items() if value not in ("", None, {})}
        return {
            "schema": 1,
            "name": self.name,
            "task": TASK,
            "seed": self.seed,
            "data": {**data, "variables": dict(self.data.variables)},
            "infer": settings,
            "search": {"engines": list(self.engines), **search},
        }


def named_pairs(text: str, option: str, alone: bool = False) -> dict[str, str]:
    """Read ``a=b,c=d``; with `alone`, ``a`` stands for ``a=a``.

    Raises
    ------
    ConfigError
        If it is none, or a name comes twice.

    Examples
    --------
    >>> named_pairs("x=pre,y,w", "--variables", alone=True)
    {'x': 'pre', 'y': 'y', 'w': 'w'}
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not name or (sign and not value) or (not sign and not alone):
            example = "x,y,w or x=pre_rate,y=post_rate,w" if alone else "x=Hz,w=nS"
            raise ConfigError(f"{option}: {example} is expected, but {part[:60]!r} is part of it.")
        if name in pairs:
            raise ConfigError(f"{option}: {name[:40]!r} comes twice.")
        pairs[name] = value if sign else name
    return pairs


def run_name(path: Path, name: str = "") -> str:
    """Return the name of a run: what was asked for, else one after the file.

    Examples
    --------
    >>> run_name(Path("my data.v2.csv"))
    'my-data-v2'
    """
    if name:
        return checked_name(name, "--name")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:64]
    return checked_name(plain or "recorded", "--name")


def is_recorded(folder: Path) -> bool:
    """Say whether a folder holds a run of `discover infer`."""
    path = folder / "config.json"
    if not os.path.isfile(path) or path.stat().st_size > 1_000_000:
        return False
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return False
    return isinstance(content, dict) and content.get("task") == TASK and "data" in content

"""Finding a Julia that PySR can use, without importing PySR and without a download."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REMEDY", "Julia", "find_julia"]

REMEDY = (
    "Get it with `discover doctor --install-julia`, which downloads Julia and PySR's Julia packages once; a "
    "Julia 1.10 or later from https://julialang.org/downloads on the PATH is used if it is there. A Julia "
    "that has the packages is also taken from PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT together."
)

_PACKAGE = "SymbolicRegression"
_VERSION_LIMIT_S = 20.0


@dataclass(frozen=True)
class Julia:
    """What was found.

    Parameters
    ----------
    version : str
        Empty if there is no Julia that works.
    problem : str
        What is missing, as a sentence; empty if nothing.
    """

    version: str
    problem: str


def find_julia() -> Julia:
    """Look where PySR would find a Julia: environment variables, its own environment, the PATH."""
    executable, project = os.environ.get("PYTHON_JULIACALL_EXE"), os.environ.get("PYTHON_JULIACALL_PROJECT")
    if executable and project:
        return _checked(executable, "PYTHON_JULIACALL_EXE", has_packages=Path(project).is_dir())
    named = os.environ.get("PYTHON_JULIAPKG_EXE")
    if named:
        return _checked(named, "PYTHON_JULIAPKG_EXE", has_packages=_packages_are_there())
    resolved = _resolved_executable()
    if resolved:
        return _checked(resolved, str(_environment()), has_packages=True)
    on_path = shutil.which("julia")
    if on_path:
        return _checked(on_path, "the PATH", has_packages=_packages_are_there())
    return Julia("", "No Julia was found.")


def _checked(executable: str, where: str, *, has_packages: bool) -> Julia:
    version = _version(executable)
    if not version:
        return Julia("", f"The Julia named by {where}, {executable}, does not answer `--version`.")
    if not has_packages:
        return Julia(version, f"Julia {version} was found ({executable}), but without PySR's packages.")
    return Julia(version, "")


def _version(executable: str) -> str:
    """Return the version that an executable answers, empty if it is no Julia."""
    try:
        answer = subprocess.run(
            [executable, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_LIMIT_S,
            check=True,
            text=True,
        ).stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return answer[2] if [word.lower() for word in answer[:2]] == ["julia", "version"] and answer[2:] else ""


def _environment() -> Path:
    """Return the folder in which juliapkg keeps the Julia project of this Python."""
    named = os.environ.get("PYTHON_JULIAPKG_PROJECT")
    if named:
        return Path(named)
    prefix = sys.prefix if sys.prefix != sys.base_prefix else os.environ.get("CONDA_PREFIX")
    return Path(prefix) / "julia_env" if prefix else _depots()[0] / "environments" / "pyjuliapkg"


def _resolved_executable() -> str:
    """Return the executable that juliapkg wrote down after installing the packages; empty if it did not."""
    try:
        content = json.loads((_environment() / "pyjuliapkg" / "meta.json").read_text(encoding="utf-8"))
        executable = content["executable"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return executable if isinstance(executable, str) else ""


def _depots() -> list[Path]:
    listed = [Path(part) for part in os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep) if part]
    return listed or [Path.home() / ".julia"]


def _packages_are_there() -> bool:
    return any((depot / "packages" / _PACKAGE).is_dir() for depot in _depots())

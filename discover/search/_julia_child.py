"""Which Julia PySR would start, asked of juliapkg itself: ``python -m discover.search._julia_child``.

juliapkg knows where it looks for Julia and which versions PySR, juliacall and this Python's OpenSSL take
together. It reads its environment when it is imported and prints what it does, hence a process of its own.
The answer is one line of JSON, the arguments of :class:`discover.search._julia.Julia`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from juliapkg.compat import Compat, Version
from juliapkg.deps import can_skip_resolve, find_requirements
from juliapkg.find_julia import find_julia, julia_version
from juliapkg.state import STATE

__all__ = ["main"]

_PACKAGES = ("PythonCall", "SymbolicRegression")
_MANIFESTS = ("JuliaManifest", "Manifest")
_EXE, _PROJECT = "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"


class _Problem(Exception):
    """Why Julia would not start."""

    def __init__(self, text: str, version: object = "") -> None:
        super().__init__(text)
        self.version = version


def _look() -> dict[str, str]:
    compat, packages = find_requirements()
    needed = "" if compat is None else str(compat)
    wanted = {package.name: package.version for package in packages if package.name in _PACKAGES}
    version: object = ""
    try:
        executable, version, project = _chosen(compat)
        if compat is not None and version not in compat:
            raise _Problem(f"Julia {version} was found ({executable}), but {needed} is needed.", version)
        for name in _PACKAGES:
            _find_package(name, wanted.get(name), project, version, executable)
    except _Problem as problem:
        return {"version": str(problem.version), "problem": str(problem), "needed": needed}
    return {"version": str(version), "problem": "", "needed": needed}


def _chosen(compat: Any) -> tuple[str, Any, Path]:
    """Return executable, version and project of the Julia that juliacall would start."""
    named = {name: os.environ[name] for name in (_EXE, _PROJECT) if name in os.environ}
    if named:
        return _named(named)
    project = Path(STATE["project"])
    override = STATE["override_executable"]
    if override:
        return override, _version(override, "PYTHON_JULIAPKG_EXE"), project
    try:
        resolved = can_skip_resolve()
    except Exception as error:  # juliapkg would end with it too
        raise _Problem(f"The note {STATE['meta']} that juliapkg left cannot be read; remove it.") from error
    if resolved:
        return resolved["executable"], Version.parse(resolved["version"]), project
    try:
        return (*find_julia(compat=compat, prefix=STATE["install"]), project)
    except Exception as error:
        on_path = shutil.which("julia")
        version = on_path and julia_version(on_path)
        if version:
            text = f"Julia {version} was found ({on_path}), but {compat} is needed."
            raise _Problem(text, version) from error
        if on_path:
            _version(on_path, "the PATH")
        raise _Problem("No Julia was found.") from error


def _named(named: dict[str, str]) -> tuple[str, Any, Path]:
    for name in (_EXE, _PROJECT):
        if name not in named:
            raise _Problem(f"{_EXE} and {_PROJECT} are used together only, and {name} is not set.")
    executable = shutil.which(named[_EXE])
    if executable is None:
        raise _Problem(f"{_EXE} names no program: {named[_EXE]!r}.")
    version = _version(executable, _EXE)
    if not named[_PROJECT] or not Path(named[_PROJECT]).exists():
        raise _Problem(f"{_PROJECT} names no folder: {named[_PROJECT]!r}.", version)
    return executable, version, Path(named[_PROJECT])


def _version(executable: str, where: str) -> Any:
    version = julia_version(executable)
    if version is None:
        raise _Problem(f"The Julia named by {where}, {executable}, does not answer `--version`.")
    return version


def _find_package(name: str, wanted: Any, project: Path, version: Any, executable: str) -> None:
    """Look for a package where Julia does: in the project, then in the shared environment of this version.

    A folder in a depot alone does not count: it may be of another version, and Julia would not load it.
    """
    found = f"Julia {version} was found ({executable}), but"
    for manifest in _manifests(project, version):
        entry = _entry(manifest, name)
        if entry is None:
            continue
        recorded = str(entry.get("version", ""))
        if wanted is not None and (not recorded or Version.parse(recorded) not in Compat.parse(str(wanted))):
            raise _Problem(
                f"{found} its package {name} is {recorded or 'of no version'}, where the PySR that is "
                f"installed needs {wanted}.",
                version,
            )
        if not _is_there(name, recorded, entry.get("path"), manifest):
            raise _Problem(f"{found} the code of its package {name} {recorded} is gone.", version)
        return
    raise _Problem(f"{found} without PySR's packages ({name} is missing).", version)


def _manifests(project: Path, version: Any) -> Iterator[Path]:
    short = f"v{version.major}.{version.minor}"
    home = project.parent if project.is_file() else project
    for folder in (home, *(depot / "environments" / short for depot in _depots())):
        names = (f"{name}{suffix}.toml" for suffix in (f"-{short}", "") for name in _MANIFESTS)
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            yield path


def _entry(manifest: Path, name: str) -> dict[str, Any] | None:
    try:
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
        entry = content.get("deps", content)[name][0]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return entry if isinstance(entry, dict) else None


def _is_there(name: str, version: str, path: object, manifest: Path) -> bool:
    if isinstance(path, str):
        return (manifest.parent / path).is_dir()
    copies = (one for depot in _depots() for one in (depot / "packages" / name).glob("*/Project.toml"))
    return any(_project_version(one) == version for one in copies)


def _project_version(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("version", ""))
    except (OSError, ValueError):
        return ""


def _depots() -> list[Path]:
    usual = Path.home() / ".julia"
    parts = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    return [Path(part) if part else usual for part in parts]


def main() -> None:
    """Print the answer."""
    with contextlib.redirect_stdout(sys.stderr):
        answer = _look()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

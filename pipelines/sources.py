"""Which source files a stage's result depends on, found by following the imports without running them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

__all__ = ["CHECKOUT", "code_hash", "imported_modules", "sources_of"]

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages ``sims``, ``discover`` and ``pipelines``."""

FOLLOWED = ("sims", "discover")


def code_hash(modules: Iterable[str]) -> str:
    """Return a checksum of all code that some modules depend on.

    Parameters
    ----------
    modules : iterable of str
        Dotted names, such as ``discover.fit``. Of a package every file counts, templates too.

    Returns
    -------
    str
        Hexadecimal digits; the same on every machine for the same files.
    """
    digest = hashlib.sha256()
    for path in sources_of(modules):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(CHECKOUT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def sources_of(modules: Iterable[str]) -> list[Path]:
    """Return the files that some modules depend on, in alphabetical order.

    Parameters
    ----------
    modules : iterable of str
        Dotted names of modules or packages of this project. A name that does not exist counts for nothing.

    Returns
    -------
    list of Path
        The modules' own files and everything of :data:`FOLLOWED` that they import, directly or not, also
        inside functions.
    """
    waiting = [path for module in modules for path in _own_files(module)]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            waiting += [file for name in imported_modules(path) if (file := _file(name)) is not None]
    return sorted(found)


@cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Return the dotted names of this project's modules that a file imports anywhere in its text.

    Parameters
    ----------
    path : Path
        A Python file inside :data:`CHECKOUT`.
    """
    package = path.relative_to(CHECKOUT).parent.parts
    names: list[str] = []
    for node in _statements(ast.parse(path.read_bytes(), str(path))):
        names += _imported(node, package)
    return tuple(dict.fromkeys(name for name in names if name.split(".")[0] in (*FOLLOWED, "pipelines")))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A module or statement and all statements inside it, functions and branches included."""
    yield node
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, ()):
            yield from _statements(inner)


def _imported(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package[: len(package) - node.level + 1] if node.level else ()
        origin = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            # `from discover import rule` names a module, `from discover.rule import Rule` does not.
            submodule = f"{origin}.{alias.name}"
            yield submodule if _file(submodule) is not None else origin


@cache
def _file(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] not in (*FOLLOWED, "pipelines"):
        return None
    base = CHECKOUT.joinpath(*parts)
    for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if path.is_file():
            return path
    return None


def _own_files(module: str) -> list[Path]:
    path = _file(module)
    if path is None:
        return []
    if path.name != "__init__.py":
        return [path]
    return [
        file
        for file in path.parent.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    ]

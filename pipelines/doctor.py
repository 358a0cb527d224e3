"""`discover doctor`: what is installed here, and which engines are usable."""

from __future__ import annotations

import os
import sys

from pipelines.manifest import platform_facts, versions
from pipelines.show import table_text
from pipelines.threads import available_threads, use_threads

__all__ = ["doctor_text"]

_TOOLS = (
    "plasticity-discovery",
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "scikit-learn",
    "sympy",
    "cma",
    "pyoperon",
    "pysr",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "plotly",
    "jinja2",
    "joblib",
    "filelock",
)


def doctor_text() -> str:
    """Return versions, threads, and for every engine whether it is usable and what is missing."""
    facts = platform_facts()
    found = versions(_TOOLS)
    lines = [
        f"python      {found.pop('python')} ({sys.executable})",
        f"platform    {facts['system']} {facts['release']}, {facts['machine']}, {facts['cores']} cores",
        f"threads     {_threads()}",
        f"kernels     {_cache()}",
        "",
        table_text(["package", "version"], list(found.items())),
        "",
        _engines(),
    ]
    return "\n".join(lines)


def _threads() -> str:
    return f"{use_threads(None)} of {available_threads()} for the kernels"


def _cache() -> str:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return f"compiled once, kept in {folder or '__pycache__ beside the sources (NUMBA_CACHE_DIR is not set)'}"


def _engines() -> str:
    from discover.search.engine import ENGINES, get_engine

    states = [get_engine(name).availability() for name in ENGINES]
    lines = [
        table_text(
            ["engine", "usable", "version"],
            [[state.engine, "yes" if state.usable else "no", state.version or "-"] for state in states],
        )
    ]
    lines += [f"{state.engine}: {state.reason} {state.remedy}" for state in states if not state.usable]
    return "\n".join(lines)

"""`discover doctor`: what is installed here, and which engines are usable."""

from __future__ import annotations

import os
import subprocess
import sys

from discover.errors import RunFailed
from pipelines.manifest import platform_facts, versions
from pipelines.show import table_text
from pipelines.threads import available_threads, use_threads

__all__ = ["doctor_text", "install_julia"]

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


def install_julia() -> None:
    """Let PySR fetch Julia and its Julia packages; the one place where the program asks for a download.

    Raises
    ------
    RunFailed
        If PySR cannot be loaded afterwards; its own words are in the message.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_JULIAPKG_OFFLINE"}
    command = [sys.executable, "-c", "import pysr"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunFailed(
            f"Julia could not be installed for PySR: {said[:500]}. It needs the network once; or put a Julia "
            "1.10 or later from https://julialang.org/downloads on the PATH and try again."
        )


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

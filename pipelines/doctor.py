"""`discover doctor`: what is installed here, which engines were found, and which of them would start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from discover.errors import EngineError, RunFailed
from pipelines.look import PLAIN, Look
from pipelines.manifest import platform_facts, versions
from pipelines.threads import available_threads, use_threads

if TYPE_CHECKING:
    from discover.search.engine import Engine

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


def doctor_text(start: bool = False, look: Look = PLAIN) -> str:
    """Return versions, threads, and for every engine what was found and whether it would start.

    Parameters
    ----------
    start : bool
        Whether engines that would start are started, each in a child process with a time limit.
    look : Look
    """
    facts = platform_facts()
    found = versions(_TOOLS)
    lines = [
        f"python      {found.pop('python')} ({sys.executable})",
        f"platform    {facts['system']} {facts['release']}, {facts['machine']}, {facts['cores']} cores",
        f"threads     {_threads()}",
        f"kernels     {_cache()}",
        "",
        look.table(["package", "version"], list(found.items())),
        "",
        _engines(start, look),
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
        from discover.search._julia import find_julia

        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunFailed(
            f"Julia could not be installed for PySR: {said[:500]}. It needs the network once; or put Julia "
            f"{find_julia().needed or '1.10.3 or later'} from https://julialang.org/downloads on the PATH "
            "and try again."
        )


def _threads() -> str:
    return f"{use_threads(None)} of {available_threads()} for the kernels"


def _cache() -> str:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return f"compiled once, kept in {folder or '__pycache__ beside the sources (NUMBA_CACHE_DIR is not set)'}"


def _engines(start: bool, look: Look) -> str:
    from discover.search.engine import ENGINES, get_engine

    rows, remarks = [], []
    for name in ENGINES:
        engine = get_engine(name)
        state = engine.availability()
        row = [state.engine, state.version or "-", "yes" if state.usable else "no"]
        remark = "" if state.usable else f"{state.reason} {state.remedy}"
        if start and state.usable:
            took, remark = _started(engine)
            row.append("no" if remark else f"yes, {took:.1f} s")
        elif start:
            row.append("not tried")
        rows.append(row)
        if remark:
            remarks.append(f"{state.engine}: {remark}")
    headings = ["engine", "found", "would start", *(["started"] if start else [])]
    return "\n".join([look.table(headings, rows), *map(look.prose, remarks)])


def _started(engine: Engine) -> tuple[float, str]:
    """Start an engine; return how many seconds that took, and what went wrong."""
    from discover.search.engine import StartsFirst

    began = time.monotonic()
    try:
        if isinstance(engine, StartsFirst):
            engine.start()
    except EngineError as error:
        return time.monotonic() - began, str(error)
    return time.monotonic() - began, ""

"""`discover doctor`: what is installed here, which engines were found, and which of them would start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from discover.errors import EngineError, RunFailed
from discover.search import engine as search_engine
from pipelines.look import PLAIN, Look
from pipelines.manifest import platform_facts, versions
from pipelines.threads import available_threads, use_threads

__all__ = ["doctor_facts", "doctor_text", "install_julia"]

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


def doctor_facts(start: bool = False) -> dict[str, Any]:
    """Return versions, threads, and for every engine what was found and whether it would start.

    Parameters
    ----------
    start : bool
        Whether engines that would start are started, each in a child process with a time limit.
    """
    packages = versions(_TOOLS)
    return {
        "python": {"version": packages.pop("python"), "executable": sys.executable},
        "platform": platform_facts(),
        "threads": {"kernels": use_threads(None), "available": available_threads()},
        "kernels": os.environ.get("NUMBA_CACHE_DIR"),
        "packages": packages,
        "engines": [_engine_facts(name, start) for name in search_engine.ENGINES],
    }


def doctor_text(facts: Mapping[str, Any], look: Look = PLAIN) -> str:
    """Return what :func:`doctor_facts` found as text."""
    python, platform, threads = facts["python"], facts["platform"], facts["threads"]
    folder = facts["kernels"] or "__pycache__ beside the sources (NUMBA_CACHE_DIR is not set)"
    lines = [
        f"python      {python['version']} ({python['executable']})",
        f"platform    {platform['system']} {platform['release']}, {platform['machine']}, "
        f"{platform['cores']} cores",
        f"threads     {threads['kernels']} of {threads['available']} for the kernels",
        f"kernels     compiled once, kept in {folder}",
        "",
        look.table(["package", "version"], list(facts["packages"].items())),
        "",
        _engines_text(facts["engines"], look),
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


def _engine_facts(name: str, start: bool) -> dict[str, Any]:
    engine = search_engine.get_engine(name)
    state = engine.availability()
    facts: dict[str, Any] = {
        "engine": state.engine,
        "version": state.version or None,
        "usable": state.usable,
        "remark": "" if state.usable else f"{state.reason} {state.remedy}",
    }
    if start:
        took, fault = _started(engine) if state.usable else (None, facts["remark"])
        facts |= {"started": state.usable and not fault, "start_seconds": took, "remark": fault}
    return facts


def _engines_text(engines: Sequence[Mapping[str, Any]], look: Look) -> str:
    was_asked = any("started" in one for one in engines)
    rows = []
    for one in engines:
        row = [one["engine"], one["version"] or "-", "yes" if one["usable"] else "no"]
        if was_asked and not one["usable"]:
            row.append("not tried")
        elif was_asked:
            row.append(f"yes, {one['start_seconds']:.1f} s" if one["started"] else "no")
        rows.append(row)
    headings = ["engine", "found", "would start", *(["started"] if was_asked else [])]
    remarks = [look.prose(f"{one['engine']}: {one['remark']}") for one in engines if one["remark"]]
    return "\n".join([look.table(headings, rows), *remarks])


def _started(engine: search_engine.Engine) -> tuple[float, str]:
    """Start an engine; return how many seconds that took, and what went wrong."""
    began = time.monotonic()
    try:
        if isinstance(engine, search_engine.StartsFirst):
            engine.start()
    except EngineError as error:
        return time.monotonic() - began, str(error)
    return time.monotonic() - began, ""

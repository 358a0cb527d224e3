"""Engine ``pysr``: PySR 1.5 and 2.x, where a Julia is at hand.

Importing PySR starts Julia, so it is imported when a search begins and not before; whether that would work is
found out by looking at files.

References
----------
Cranmer (2023), Interpretable Machine Learning for Science with PySR and SymbolicRegression.jl,
arXiv:2305.01582.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import EngineError, EngineUnavailable
from discover.expression import Node, const, var
from discover.progress import Progress, silent
from discover.search._front import front
from discover.search._julia import REMEDY, find_julia
from discover.search._polish import polished
from discover.search._pysr_files import read_hall_of_fame
from discover.search._term_library import substitute
from discover.search.engine import Availability, Proposal, Samples, SearchSettings

__all__ = ["PySREngine", "constructor_arguments", "to_proposals"]

OFFLINE = "PYTHON_JULIAPKG_OFFLINE"

_BINARY = {"div": "/", "max": "max", "min": "min"}
_UNARY = ("tanh", "exp", "log", "sqrt", "abs", "sign")
_EXACT_LOSS = 1e-25


class PySREngine:
    """Symbolic regression by PySR, in this process: Julia is started once and compiles once."""

    name = "pysr"

    def availability(self) -> Availability:
        """Say whether PySR and a Julia with its packages are installed; neither is started."""
        if importlib.util.find_spec("pysr") is None:
            return Availability(self.name, False, "", "PySR is not installed.", "Get it: pip install pysr")
        version = f"PySR {importlib.metadata.version('pysr')}"
        julia = find_julia()
        if julia.problem:
            return Availability(self.name, False, version, f"{version} needs Julia. {julia.problem}", REMEDY)
        return Availability(self.name, True, f"{version}, Julia {julia.version}")

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """Return PySR's front, its constants fitted on all rows.

        Parameters
        ----------
        samples : Samples
        settings : SearchSettings
            ``operators``, ``max_nodes`` and ``pysr`` are used.
        seed : int
        progress : callable, optional

        Returns
        -------
        list of Proposal

        Raises
        ------
        EngineUnavailable
            If PySR or Julia is missing or does not start.
        EngineError
            If the search fails or runs into its time limit.
        """
        state = self.availability()
        if not state.usable:
            raise EngineUnavailable(f"The engine 'pysr' cannot run here. {state.reason} {state.remedy}")
        if samples.kernel is not None:
            raise EngineError(f"The engine {self.name!r} takes samples of the update, not sums of it.")
        rows = samples.subset(settings.pysr.max_rows, seed)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_stdout_to_stderr())
            folder = Path(settings.pysr.output_folder or stack.enter_context(_temporary_folder()))
            progress(0.0, "pysr: starting Julia (10 to 15 s, once)")
            regressor = _import_regressor()
            progress(0.1, "pysr: searching (the first search of a process compiles for about 20 s)")
            trees = _search(regressor, rows, settings, seed, folder)
        progress(0.9, "pysr: fitting the constants")
        return to_proposals(trees, samples, settings.max_nodes, _scales(rows))


def to_proposals(
    trees: Iterable[Node],
    samples: Samples,
    max_nodes: int,
    scales: tuple[tuple[float, ...], float] | None = None,
) -> list[Proposal]:
    """Turn PySR's expressions in x0, x1, ... into proposals in the variables of the samples.

    Parameters
    ----------
    trees : iterable of Node
    samples : Samples
        All rows.
    max_nodes : int
    scales : (tuple of float, float), optional
        What inputs and target were divided by before PySR saw them.
    """
    input_scales, target_scale = scales or ((1.0,) * len(samples.variables), 1.0)
    names = {
        f"x{k}": _times(1.0 / scale, var(name))
        for k, (name, scale) in enumerate(zip(samples.variables, input_scales, strict=True))
    }
    renamed = [_times(target_scale, substitute(tree, names)) for tree in trees]
    with threadpool_limits(1):
        tidy = [node for tree in renamed for node in polished(tree, samples)]
    return front([*renamed, *tidy], samples, PySREngine.name, max_nodes)


def _times(scale: float, node: Node) -> Node:
    return node if scale == 1 else Node("mul", (const(scale), node))


def _scales(samples: Samples) -> tuple[tuple[float, ...], float]:
    """Return powers of ten that bring inputs and target near 1, so that round constants stay round."""
    inputs = tuple(_decade(float(rms)) for rms in np.sqrt(np.mean(samples.inputs**2, axis=0)))
    return inputs, _decade(float(samples.target.std()))


def _decade(size: float) -> float:
    return float(10.0 ** round(math.log10(size))) if size > 0 else 1.0


def constructor_arguments(
    settings: SearchSettings, seed: int, folder: Path, run_id: str, accepted: Iterable[str]
) -> dict[str, Any]:
    """Return the arguments for ``PySRRegressor``, those left out that this version does not take.

    Parameters
    ----------
    settings : SearchSettings
    seed : int
    folder : Path
        PySR's ``output_directory``.
    run_id : str
        Name of the sub-folder.
    accepted : iterable of str
        Parameters in the signature of the installed version.
    """
    budget = settings.pysr
    wanted = {
        "binary_operators": ["+", "-", "*", *(_BINARY[op] for op in settings.operators if op in _BINARY)],
        "unary_operators": [op for op in _UNARY if op in settings.operators],
        "niterations": budget.niterations,
        "populations": budget.populations,
        "population_size": budget.population_size,
        "maxsize": max(settings.max_nodes, 7),
        "parsimony": budget.parsimony,
        "early_stop_condition": _EXACT_LOSS,
        "timeout_in_seconds": budget.timeout_in_seconds,
        "deterministic": True,
        "parallelism": "serial",
        "random_state": seed % 2**32,
        "precision": 64,
        "batching": False,
        "output_directory": str(folder),
        "run_id": run_id,
        "temp_equation_file": False,
        "input_stream": "devnull",
        "progress": False,
        "verbosity": 0,
    }
    names = set(accepted)
    return {name: value for name, value in wanted.items() if name in names}


def _import_regressor() -> Any:
    """Import PySR, which starts Julia, without letting it download one."""
    os.environ.setdefault(OFFLINE, "yes")
    try:
        return importlib.import_module("pysr").PySRRegressor
    except Exception as error:
        raise EngineUnavailable(
            f"The engine 'pysr' cannot run here: PySR could not start Julia ({_cause(error)}). {REMEDY}"
        ) from error


def _search(regressor: Any, rows: Samples, settings: SearchSettings, seed: int, folder: Path) -> list[Node]:
    """Run one search and read the front that it wrote."""
    input_scales, target_scale = _scales(rows)
    run_id = f"seed-{seed}-{time.time_ns()}"
    accepted = inspect.signature(regressor.__init__).parameters
    arguments = constructor_arguments(settings, seed, folder, run_id, accepted)
    names = [f"x{k}" for k in range(len(rows.variables))]
    began = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model = regressor(**arguments)
        model.fit(rows.inputs / np.array(input_scales), rows.target / target_scale, variable_names=names)
    except Exception as error:
        raise EngineError(f"The engine 'pysr' failed: {_cause(error)}.") from error
    limit = settings.pysr.timeout_in_seconds
    if time.monotonic() - began >= limit:
        raise EngineError(
            f"The engine 'pysr' did not finish within its time limit of {limit:g} s. Raise "
            "pysr.timeout_in_seconds, or lower pysr.niterations or pysr.populations."
        )
    return read_hall_of_fame(folder / run_id, names)


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}".rstrip(".")


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="discover-pysr-")


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what PySR, juliapkg and Julia itself print to the error stream."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)

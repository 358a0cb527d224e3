"""Engine ``pysr``: PySR 1.5 and 2.x, where a Julia is at hand.

Importing PySR starts Julia, so a child process imports it, once for all searches; whether that would work is
found out by looking at files.

References
----------
Cranmer (2023), Interpretable Machine Learning for Science with PySR and SymbolicRegression.jl,
arXiv:2305.01582.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import EngineError, EngineUnavailable
from discover.expression import COSTS, Node, const, var
from discover.progress import Progress, part, silent
from discover.search._child import Child
from discover.search._front import front
from discover.search._julia import OFFLINE, find_julia
from discover.search._polish import polished
from discover.search._pysr_files import SearchFolder
from discover.search._pysr_guesses import julia_guesses
from discover.search._term_library import substitute
from discover.search.engine import Availability, Proposal, Samples, SearchSettings
from discover.search.settings import SMALLEST_MAXSIZE

__all__ = ["PySREngine", "constructor_arguments", "question", "to_proposals"]

START_LIMIT_S = 300.0
"""Time limit for starting Julia; packages that were not compiled yet take minutes."""

_CHILD = "discover.search._pysr_child"
_TOO_SLOW = "Raise pysr.timeout_in_seconds, or lower pysr.niterations or pysr.populations."
_BINARY = {"div": "/", "max": "max", "min": "min"}
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_UNARY = ("tanh", "exp", "log", "sqrt", "abs", "sign", "sin", "cos")
_EXACT_LOSS = 1e-25
_TOURNAMENT = 15


class PySREngine:
    """Symbolic regression by PySR, in a child process: Julia is started once and compiles once.

    Parameters
    ----------
    command : tuple of str, optional
        How the child is started.
    """

    name = "pysr"

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", _CHILD)) -> None:
        self.command = command
        self._child: Child | None = None
        self._state: Availability | None = None
        self._accepted: tuple[str, ...] = ()

    def availability(self) -> Availability:
        """Say whether PySR and a Julia that suits it are installed; neither is started."""
        if importlib.util.find_spec("pysr") is None:
            return Availability(self.name, False, "", "PySR is not installed.", "Get it: pip install pysr")
        version = f"PySR {importlib.metadata.version('pysr')}"
        julia = find_julia()
        if julia.version:
            version = f"{version}, Julia {julia.version}"
        if julia.problem:
            return Availability(self.name, False, version, f"PySR needs Julia. {julia.problem}", julia.remedy)
        return Availability(self.name, True, version)

    def start(self, progress: Progress = silent) -> None:
        """Start Julia and load PySR's packages, unless they are there already.

        Raises
        ------
        EngineUnavailable
            If PySR or Julia is missing or does not start.
        """
        if self._child is not None and self._child.is_alive:
            return
        self._usable()
        waiting = _counting(progress, 0.0, "starting Julia (10 to 15 s, once)")
        child = Child(self.name, self.command, own_group=True, defaults=OFFLINE)
        try:
            answer = child.ask({"start": True}, START_LIMIT_S, "", waiting=waiting)
            cause = answer.get("unavailable", "")
        except EngineError as error:
            cause = str(error)
        if cause:
            child.close()
            raise EngineUnavailable(
                f"The engine 'pysr' cannot run here: PySR could not start Julia ({cause}). "
                f"{find_julia().remedy}"
            )
        self._child, self._accepted = child, tuple(answer["accepted"])

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """Return PySR's front, its constants fitted on all rows; that of a search that was finished is read.

        Parameters
        ----------
        samples : Samples
        settings : SearchSettings
            ``operators``, ``max_nodes``, the weights and ``pysr`` are used.
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
            If the search fails, is interrupted, or runs into its time limit.
        """
        version = self._usable().version
        if samples.kernel is not None:
            raise EngineError(f"The engine {self.name!r} takes samples of the update, not sums of it.")
        rows = samples.subset(settings.pysr.max_rows, seed)
        with contextlib.ExitStack() as stack:
            folder = Path(settings.pysr.output_folder or stack.enter_context(_temporary_folder()))
            words = _seeds(seed, settings.pysr.seeds)
            trees: list[Node] = []
            for number, word in enumerate(words):
                search = _OneSearch(rows, settings, word, folder, version)
                found = search.finished()
                if found is None:
                    done = 0.9 * number / len(words)
                    self.start(part(progress, done, 1.0))
                    waiting = _counting(progress, done, f"searching, seed {number + 1} of {len(words)}")
                    found = self._searched(search, waiting)
                trees += found
        progress(0.9, "fitting the constants")
        return to_proposals(trees, samples, settings.max_nodes, _scales(rows), settings.complexity_of)

    def _usable(self) -> Availability:
        if self._state is None:
            state = self.availability()
            if not state.usable:
                raise EngineUnavailable(f"The engine 'pysr' cannot run here. {state.reason} {state.remedy}")
            self._state = state
        return self._state

    def _searched(self, search: _OneSearch, waiting: Callable[[float], None]) -> list[Node]:
        """Let the child search, and read the front that PySR wrote."""
        assert self._child is not None
        request = search.begin(self._accepted)
        answer = self._child.ask(request, search.settings.pysr.timeout_in_seconds, _TOO_SLOW, waiting=waiting)
        if "failed" in answer:
            raise EngineError(f"The engine 'pysr' failed: {answer['failed']}.")
        if answer["interrupted"]:
            raise EngineError(
                "The engine 'pysr' was interrupted before its search had ended; what it had found by then is "
                "no result. Start the search again."
            )
        return search.end()


def _counting(progress: Progress, done: float, what: str) -> Callable[[float], None]:
    """Return what says how long something has taken: Julia itself reports nothing that could be trusted."""
    progress(done, what)
    return lambda seconds: progress(done, f"{what}, {seconds:.0f} s")


def to_proposals(
    trees: Iterable[Node],
    samples: Samples,
    max_nodes: int,
    scales: tuple[tuple[float, ...], float] | None = None,
    complexity_of: Callable[[Node], float] = lambda tree: tree.complexity,
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
    complexity_of : callable, optional
        What an expression counts on the front; default its nodes.
    """
    input_scales, target_scale = scales or ((1.0,) * len(samples.variables), 1.0)
    names = {
        f"x{k}": _times(1.0 / scale, var(name))
        for k, (name, scale) in enumerate(zip(samples.variables, input_scales, strict=True))
    }
    renamed = [_times(target_scale, substitute(tree, names)) for tree in trees]
    with threadpool_limits(1):
        tidy = [node for tree in renamed for node in polished(tree, samples)]
    return front([*renamed, *tidy], samples, PySREngine.name, max_nodes, complexity_of)


def _times(scale: float, node: Node) -> Node:
    return node if scale == 1 else Node("mul", (const(scale), node))


def _scales(samples: Samples) -> tuple[tuple[float, ...], float]:
    """Return powers of ten that bring inputs and target near 1, so that round constants stay round."""
    inputs = tuple(_decade(float(rms)) for rms in np.sqrt(np.mean(samples.inputs**2, axis=0)))
    return inputs, _decade(float(samples.target.std()))


def _decade(size: float) -> float:
    return float(10.0 ** round(math.log10(size))) if size > 0 else 1.0


def constructor_arguments(
    settings: SearchSettings,
    seed: int,
    folder: Path,
    run_id: str,
    accepted: Iterable[str],
    guesses: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the arguments for ``PySRRegressor``.

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
    guesses : sequence of str
        Expressions to begin with, in Julia's form.

    Raises
    ------
    EngineError
        If the installed version does not take something that the settings ask for. What only concerns output
        is left out where it is not taken.
    """
    budget = settings.pysr
    wanted = {
        "binary_operators": ["+", "-", "*", *(_BINARY[op] for op in settings.operators if op in _BINARY)],
        "unary_operators": [op for op in _UNARY if op in settings.operators],
        "niterations": budget.niterations,
        "populations": budget.populations,
        "population_size": budget.population_size,
        "tournament_selection_n": min(_TOURNAMENT, budget.population_size - 1),
        "maxsize": budget.maxsize or max(settings.max_nodes, SMALLEST_MAXSIZE),
        "parsimony": budget.parsimony,
        "early_stop_condition": _EXACT_LOSS,
        "timeout_in_seconds": budget.timeout_in_seconds,
        "deterministic": budget.deterministic,
        "parallelism": "serial" if budget.deterministic else "multithreading",
        "precision": 64,
        "batching": False,
        "output_directory": str(folder),
        "run_id": run_id,
        **_quiet(),
        **_asked_for(settings, seed, guesses),
    }
    names = set(accepted)
    missing = [name for name in _asked_for(settings, seed, guesses) if name not in names]
    if missing:
        remedy = "Upgrade PySR to version 2 or newer, or leave" if "guesses" in missing else "Leave"
        names_text = ", ".join(missing)
        raise EngineError(
            f"The installed PySR does not take {names_text}. {remedy} the setting out of [search.pysr]."
        )
    return {name: value for name, value in wanted.items() if name in names}


def _quiet() -> dict[str, Any]:
    return {"temp_equation_file": False, "input_stream": "devnull", "progress": False, "verbosity": 0}


def _asked_for(settings: SearchSettings, seed: int, guesses: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of settings that are not left at PySR's own values, in its names of operations."""
    budget = settings.pysr
    # PySR counts nodes unless it is told otherwise, so that many sizes are kept; its front is weighed here.
    usual = COSTS["const"], COSTS["var"]
    weighted = (settings.complexity_of_constants, settings.complexity_of_variables) != usual
    candidates = {
        "random_state": seed % 2**32 if budget.deterministic else None,
        "ncycles_per_iteration": budget.ncycles_per_iteration or None,
        "max_evals": budget.max_evals or None,
        "maxdepth": budget.maxdepth or None,
        "constraints": _named(budget.constraints),
        "nested_constraints": _nested(settings),
        "complexity_of_operators": _named(settings.complexity_of_operators),
        "complexity_of_constants": settings.complexity_of_constants if weighted else None,
        "complexity_of_variables": settings.complexity_of_variables if weighted else None,
        "guesses": list(guesses),
    }
    return {name: value for name, value in candidates.items() if value not in (None, {}, [])}


def _nested(settings: SearchSettings) -> dict[str, dict[str, int]]:
    """Return the constraints on nesting of operations that are allowed; PySR takes no others."""
    allowed = {"add", "sub", "mul", *settings.operators}
    return {
        _SYMBOLS.get(outer, outer): _named({name: most for name, most in inside.items() if name in allowed})
        for outer, inside in settings.pysr.nested_constraints.items()
        if outer in allowed
    }


def _named(table: Mapping[Any, Any]) -> dict[str, Any]:
    return {_SYMBOLS.get(name, name): value for name, value in table.items()}


def question(rows: Samples, settings: SearchSettings, seed: int, version: str) -> str:
    """Return a checksum of everything that a search depends on.

    Parameters
    ----------
    rows : Samples
    settings : SearchSettings
    seed : int
    version : str
        Of PySR and Julia.
    """
    own = {
        name: value
        for name, value in asdict(settings.pysr).items()
        if name not in ("seeds", "interrupted", "timeout_in_seconds", "output_folder")
    }
    shared = [
        settings.operators,
        settings.max_nodes,
        settings.complexity_of_operators,
        settings.complexity_of_constants,
        settings.complexity_of_variables,
    ]
    text = json.dumps([version, seed, rows.variables, own, shared], sort_keys=True)
    return hashlib.sha256(text.encode() + rows.inputs.tobytes() + rows.target.tobytes()).hexdigest()


def _seeds(seed: int, n_searches: int) -> list[int]:
    others = np.random.SeedSequence(seed).generate_state(n_searches)[1:]
    return [seed, *(int(word) for word in others)]


@dataclass(frozen=True)
class _OneSearch:
    """One search of one seed, and its files."""

    rows: Samples
    settings: SearchSettings
    seed: int
    folder: Path
    version: str

    @cached_property
    def files(self) -> SearchFolder:
        return SearchFolder(self.folder, question(self.rows, self.settings, self.seed, self.version))

    @property
    def names(self) -> list[str]:
        return [f"x{k}" for k in range(len(self.rows.variables))]

    def finished(self) -> list[Node] | None:
        """Return the front of this search if an earlier run finished it."""
        return self.files.finished(self.names)

    def begin(self, accepted: Iterable[str]) -> dict[str, Any]:
        """Make room for the search and return the request for it."""
        rows, budget = self.rows, self.settings.pysr
        input_scales, target_scale = scales = _scales(rows)
        guesses = julia_guesses(budget.guesses, rows.variables, scales)
        arguments = constructor_arguments(
            self.settings, self.seed, self.folder, self.files.run_id, accepted, guesses
        )
        try:
            found = self.files.begin(budget.interrupted == "continue", self.names)
        except OSError as error:
            raise EngineError(f"The engine 'pysr' cannot write its files: {error}.") from error
        if found and "guesses" in accepted:
            arguments["guesses"] = [*guesses, *found]
        return {
            "arguments": arguments,
            "inputs": (rows.inputs / np.array(input_scales)).tolist(),
            "target": (rows.target / target_scale).tolist(),
            "names": self.names,
        }

    def end(self) -> list[Node]:
        """Read the front and note that the search came to its end."""
        front = self.files.front(self.names)
        self.files.finish()
        return front


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="discover-pysr-")

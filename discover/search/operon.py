"""Engine ``operon``: genetic programming by pyoperon, several searches with growing sets of operations.

pyoperon cannot be told which operations may nest, so small sets search first: a rule that + - * can write is
found by the search that has nothing else. The searches run in a child process; here their trees are scaled
back, their constants are fitted on all rows in double precision, and what the data do not ask for is dropped.

References
----------
Burlacu, Kronberger and Kommenda (2020), Operon C++, GECCO Companion, 1562-1570.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import EngineError, EngineUnavailable
from discover.expression import MAX_NODES, Node, const, var
from discover.progress import Progress, silent
from discover.search._child import Child
from discover.search._front import front
from discover.search._polish import polished
from discover.search.engine import Availability, Proposal, Samples, SearchSettings

__all__ = ["OperonEngine", "evolve_on"]

PLATFORMS = "Linux on x86-64 (with AVX2) and macOS on Apple silicon, Python 3.10 to 3.14"
"""Where pyoperon has a wheel."""

_CHILD = "discover.search._operon_child"
_NAMES = {
    "div": "Div",
    "tanh": "Tanh",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "max": "Fmax",
    "min": "Fmin",
    "sin": "Sin",
    "cos": "Cos",
}
_OPERATIONS = {name: op for op, name in _NAMES.items()} | {"Add": "add", "Sub": "sub", "Mul": "mul"}
_SEARCH_SHARE = 0.7
_START_LIMIT_S = 120.0
_ADVICE = "another seed often runs through, and the engine terms does not need pyoperon"
_TOO_SLOW = "Raise operon.time_limit_s, or lower operon.generations or operon.population_size."


class OperonEngine:
    """Genetic programming by pyoperon, in a child process.

    Parameters
    ----------
    command : tuple of str, optional
        How the child is started.
    """

    name = "operon"

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", _CHILD)) -> None:
        self.command = command

    def availability(self) -> Availability:
        """Say whether pyoperon is installed and this processor can run it; nothing is loaded."""
        if importlib.util.find_spec("pyoperon") is None:
            reason = f"pyoperon is not installed (this is {platform.system()} on {platform.machine()})."
            remedy = f"It has wheels for {PLATFORMS}; there: pip install 'pyoperon>=0.6.2,<0.7'."
            return Availability(self.name, False, "", reason, f"{remedy} Elsewhere use the engine terms.")
        version = importlib.metadata.version("pyoperon")
        if not _has_avx2():
            reason = f"pyoperon {version} needs a processor with AVX2."
            return Availability(self.name, False, version, reason, "Use the engine terms.")
        return Availability(self.name, True, f"pyoperon {version}")

    def start(self, progress: Progress = silent) -> None:
        """Load pyoperon in a child process.

        Raises
        ------
        EngineUnavailable
            If it does not load.
        """
        progress(0.0, "loading pyoperon")
        try:
            _run_child(self.command, {"operator_sets": [], "generations": 0}, _START_LIMIT_S, progress)
        except EngineError as error:
            raise EngineUnavailable(f"The engine 'operon' cannot run here. {error}") from error

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """Return the front of the searches together.

        Parameters
        ----------
        samples : Samples
        settings : SearchSettings
            ``operators``, ``max_nodes`` and ``operon`` are used.
        seed : int
        progress : callable, optional

        Returns
        -------
        list of Proposal

        Raises
        ------
        EngineUnavailable
            If pyoperon is not there.
        EngineError
            If the child process crashes or runs into the time limit.
        """
        state = self.availability()
        if not state.usable:
            raise EngineUnavailable(f"The engine 'operon' cannot run here: {state.reason} {state.remedy}")
        if samples.kernel is not None:
            raise EngineError(f"The engine {self.name!r} takes samples of the update, not sums of it.")
        rows = samples.subset(settings.operon.max_rows, seed)
        scales = _scales(rows)
        request = _request(rows, scales, settings, seed)
        trees = _run_child(self.command, request, settings.operon.time_limit_s, progress)
        with threadpool_limits(1):
            found = _to_nodes(trees, samples.variables, scales)
            proposals = _polish_all(found, rows, samples, progress)
        progress(1.0, "done")
        mean = const(float(samples.target.mean()))
        return front([*proposals, mean], samples, self.name, settings.max_nodes, settings.complexity_of)


def evolve_on(
    worth: Callable[[Node], float],
    samples: Samples,
    settings: SearchSettings,
    seed: int,
    progress: Progress = silent,
    command: tuple[str, ...] = (sys.executable, "-m", _CHILD),
) -> None:
    """Let pyoperon's evolution be driven by what expressions are worth to the caller.

    Coefficients are whole numbers from -2 to 2; the caller keeps the expressions that it likes and refines
    their constants.

    Parameters
    ----------
    worth : callable
        Takes an expression in the variables of the samples; returns a number, smaller is better.
    samples : Samples
        For their variables; a few rows are enough.
    settings : SearchSettings
        ``operators``, ``max_nodes`` and ``operon`` are used, with its ``task_generations`` and
        ``task_population``.
    seed : int
    progress : callable, optional

    Raises
    ------
    EngineUnavailable
        If pyoperon is not there.
    EngineError
        If the child process crashes or runs into the time limit.
    """
    engine = OperonEngine(command)
    state = engine.availability()
    if not state.usable:
        raise EngineUnavailable(f"The engine 'operon' cannot run here: {state.reason} {state.remedy}")
    ones = np.ones(len(samples.variables))
    budget = settings.operon
    request = {
        **_request(samples, ones, settings, seed),
        "asks": True,
        "generations": budget.task_generations,
        "population_size": budget.task_population,
        "local_search": 0.0,
        "threads": 1,
    }

    def reply(tree: list[list[Any]]) -> float:
        return worth(_to_nodes([tree], samples.variables, ones)[0])

    _run_child(command, request, budget.task_time_limit_s, progress, reply)


def _has_avx2() -> bool:
    """Read the processor's flags; where they cannot be read, assume that it can."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True
    return "flags" not in flags or "avx2" in flags


def _scales(samples: Samples) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Root mean square of every column; pyoperon computes in single precision."""
    scales = np.sqrt(np.mean(samples.inputs**2, axis=0))
    return np.where(scales > 0, scales, 1.0)


def _request(
    rows: Samples, scales: np.ndarray[Any, np.dtype[np.float64]], settings: SearchSettings, seed: int
) -> dict[str, Any]:
    budget = settings.operon
    spread = float(rows.target.std()) or 1.0
    allowed = [[op for op in chosen if op in settings.operators] for chosen in budget.operator_sets]
    named = [tuple(sorted(_NAMES[op] for op in chosen if op in _NAMES)) for chosen in allowed]
    return {
        "columns": (rows.inputs / scales).T.tolist(),
        "target": ((rows.target - rows.target.mean()) / spread).tolist(),
        "operator_sets": list(dict.fromkeys(named)),
        "max_length": settings.max_nodes,
        "generations": budget.generations,
        "chunk": budget.chunk,
        "population_size": budget.population_size,
        "local_search": budget.local_search,
        "threads": budget.threads,
        "seed": int(np.random.SeedSequence(seed).generate_state(1)[0]),
    }


def _run_child(
    command: tuple[str, ...],
    request: dict[str, Any],
    limit_s: float,
    progress: Progress,
    reply: Callable[[list[list[Any]]], float] | None = None,
) -> list[list[list[Any]]]:
    """Run the child process and return its trees; `reply` answers its questions, if it has any."""

    def hear(message: dict[str, Any]) -> float | None:
        if "done" in message:
            done, total = message["done"], message["of"]
            progress(_SEARCH_SHARE * done / total, f"generation {done} of {total}")
        return reply(message["ask"]) if reply is not None and "ask" in message else None

    child = Child(OperonEngine.name, command, _ADVICE)
    try:
        trees: list[list[list[Any]]] = child.ask(request, limit_s, _TOO_SLOW, hear)
        return trees
    finally:
        child.close()


def _to_nodes(trees: list[list[list[Any]]], variables: tuple[str, ...], scales: Any) -> list[Node]:
    try:
        return [_to_node(tree, variables, scales) for tree in trees]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"The engine 'operon' failed: the answer of its child process cannot be read ({error!r})."
        ) from error


def _to_node(tree: list[list[Any]], variables: tuple[str, ...], scales: Any) -> Node:
    """Translate a tree from postfix; the operand that an operation names first stands last."""
    stack: list[Node] = []
    for kind, *details in tree:
        if kind == "const":
            stack.append(const(details[0]))
        elif kind == "var":
            index, coefficient = details
            stack.append(Node("mul", (const(coefficient / scales[index]), var(variables[index]))))
        else:
            first = stack.pop()
            args = (first,) if details[0] == 1 else (first, stack.pop())
            stack.append(Node(_OPERATIONS[kind], args))
    return stack.pop()


def _polish_all(found: list[Node], rows: Samples, samples: Samples, progress: Progress) -> list[Node]:
    """Fit and tidy the trees, on the rows of the search first and what comes out on all rows."""
    tidy: dict[str, Node] = {}
    for k, tree in enumerate(found):
        progress(_SEARCH_SHARE + (1 - _SEARCH_SHARE) * k / len(found), "fitting the constants")
        tidy |= {str(node): node for node in polished(tree, rows)}
    best = front(tidy.values(), rows, OperonEngine.name, MAX_NODES)
    return [node for proposal in best for node in polished(proposal.expression, samples)]

"""What every symbolic engine takes and gives, and where the engines are found.

An engine gets samples of an update and proposes expressions for it: its whole front, regression error against
complexity. It does not choose; that is done later, by what the expressions do in the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import EngineError, EngineUnavailable, EngineWarning, did_you_mean
from discover.expression import Node
from discover.progress import Progress, silent
from discover.search.settings import OperonSettings, PySRSettings, SearchSettings, TermsSettings

__all__ = [
    "AUTO",
    "ENGINES",
    "TAKES_EQUATIONS",
    "Availability",
    "Engine",
    "OperonSettings",
    "Proposal",
    "PySRSettings",
    "Samples",
    "SearchSettings",
    "StartsFirst",
    "TermsSettings",
    "get_engine",
    "resolve",
    "started",
]

AUTO = "auto"
"""Stands for every engine that is usable here without a download."""

TAKES_EQUATIONS = frozenset({"terms"})
"""Engines that can use equations, sums of the update over samples, in place of samples."""

MIN_ROWS = 20
"""Fewest rows an engine works on."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of an update: what the synapse sees and how it changes.

    Parameters
    ----------
    variables : tuple of str
        Names of the inputs, such as ``("x", "y", "w")``.
    inputs : array_like, shape (n_samples, n_variables)
    target : array_like, shape (n_samples,)
        The update; any unit, it is scaled inside the engines.
    kernel : sparse array, shape (n_equations, n_samples), optional
        Where only weighted sums of the update over samples are known (a weak form), their weights; the target
        then has shape (n_equations,), and every equation counts as a row. Engines that cannot use it refuse.

    Raises
    ------
    EngineError
        If shapes do not fit, a name comes twice, there are fewer than 20 rows, or a number is not finite.

    Examples
    --------
    >>> samples = Samples(("x", "w"), np.ones((20, 2)), np.zeros(20))
    >>> samples.n_rows, samples.columns["w"][:2]
    (20, array([1., 1.]))
    """

    variables: tuple[str, ...]
    inputs: NDArray[np.float64]
    target: NDArray[np.float64]
    kernel: Any = None
    least_rows: ClassVar[int] = MIN_ROWS

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "inputs", _frozen_copy(self.inputs))
        object.__setattr__(self, "target", _frozen_copy(self.target))
        expected = (self.n_states, len(self.variables))
        if self.target.ndim != 1 or self.inputs.shape != expected or not self.variables:
            raise EngineError(
                "Samples need inputs of shape (n_samples, n_variables) and a target of shape (n_samples,), "
                f"got {self.inputs.shape}, {self.target.shape} and {len(self.variables)} variables."
            )
        if self.kernel is not None and self.kernel.shape != (self.n_rows, self.n_states):
            raise EngineError(
                f"The kernel of the samples needs the shape ({self.n_rows}, {self.n_states}), "
                f"got {self.kernel.shape}."
            )
        if len(set(self.variables)) < len(self.variables):
            raise EngineError(f"A variable of the samples comes twice: {', '.join(self.variables)}.")
        if self.n_rows < self.least_rows:
            raise EngineError(
                f"A symbolic search needs at least {self.least_rows} samples, got {self.n_rows}."
            )
        if not (np.isfinite(self.inputs).all() and np.isfinite(self.target).all()):
            raise EngineError("The samples hold NaN or infinity; leave out states of networks that blew up.")

    @property
    def n_rows(self) -> int:
        """Number of samples, or of equations where there is a kernel."""
        return int(self.target.size)

    @property
    def n_states(self) -> int:
        """Number of rows of the inputs."""
        return int(self.target.size if self.kernel is None else self.inputs.shape[0])

    @property
    def columns(self) -> Mapping[str, NDArray[np.float64]]:
        """Inputs by name, each of shape (n_samples,)."""
        return {name: self.inputs[:, k] for k, name in enumerate(self.variables)}

    def observed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sums of values at the states that the target shows, by rows."""
        return values if self.kernel is None else np.asarray(self.kernel @ values)

    def where(self, rows: NDArray[np.bool_]) -> Samples:
        """Return the rows at which `rows` (n_samples,) is true."""
        return self.take(np.flatnonzero(rows))

    def subset(self, n_rows: int, seed: int) -> Samples:
        """Return at most `n_rows` rows, drawn without replacement and kept in order."""
        if n_rows >= self.n_rows:
            return self
        rows = np.sort(np.random.default_rng(seed).choice(self.n_rows, size=n_rows, replace=False))
        return self.take(rows)

    def take(self, rows: NDArray[np.intp]) -> Samples:
        """Return rows by their numbers, some perhaps more than once."""
        if self.kernel is None:
            return type(self)(self.variables, self.inputs[rows], self.target[rows])
        kernel = self.kernel[rows]
        used = np.unique(kernel.indices)
        return type(self)(self.variables, self.inputs[used], self.target[rows], kernel[:, used])


def _frozen_copy(values: ArrayLike) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Proposal:
    """An expression for the update, as an engine proposes it.

    Parameters
    ----------
    expression : Node
        In canonical form, in the variables of the samples.
    nmse : float
        Mean squared error over all rows, divided by the variance of the target.
    engine : str
        Who proposed it.
    """

    expression: Node
    nmse: float
    engine: str


@dataclass(frozen=True)
class Availability:
    """Whether an engine can run here, as far as can be seen without starting it.

    Parameters
    ----------
    engine : str
    usable : bool
        Whether it would start.
    version : str
        What was found, empty if nothing.
    reason : str
        What is missing, empty if nothing.
    remedy : str
        How to get it, empty if nothing is missing.
    """

    engine: str
    usable: bool
    version: str = ""
    reason: str = ""
    remedy: str = ""


@runtime_checkable
class Engine(Protocol):
    """One way to propose expressions.

    The proposals depend on the samples, the settings and the seed alone, not on the number of threads.
    Budgets are counted in generations or evaluations; a limit in seconds is a safety net that ends in an
    error.
    """

    name: str

    def availability(self) -> Availability:
        """Say whether the engine can run here, without loading it and without a download."""
        ...

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """Return the whole front, sorted by complexity.

        Raises
        ------
        EngineError
            If the engine did not do its work; :class:`EngineUnavailable` if it cannot run here.
        """
        ...


@runtime_checkable
class StartsFirst(Protocol):
    """An engine that has something to start, and can be asked to do so before it gets work."""

    def start(self, progress: Progress = silent) -> None:
        """Start what the engine needs.

        Raises
        ------
        EngineUnavailable
            If it does not start.
        """
        ...


def _terms() -> Engine:
    from discover.search.terms import TermsEngine

    return TermsEngine()


def _operon() -> Engine:
    from discover.search.operon import OperonEngine

    return OperonEngine()


def _pysr() -> Engine:
    from discover.search.pysr import PySREngine

    return PySREngine()


ENGINES: Mapping[str, Callable[[], Engine]] = MappingProxyType(
    {"operon": _operon, "terms": _terms, "pysr": _pysr}
)
"""The engines by name; an engine is loaded when it is made."""


def get_engine(name: str) -> Engine:
    """Return an engine by its name, whether or not it is usable here.

    Raises
    ------
    EngineError
        If there is no such engine.

    Examples
    --------
    >>> get_engine("terms").name
    'terms'
    >>> get_engine("oporon")
    Traceback (most recent call last):
    ...
    discover.errors.EngineError: Unknown engine 'oporon'. Engines: ... Did you mean 'operon'?
    """
    if name not in ENGINES:
        allowed = (*ENGINES, AUTO)
        raise EngineError(
            f"Unknown engine {name!r}. Engines: {', '.join(allowed)}.{did_you_mean(name, allowed)}"
        )
    return ENGINES[name]()


def resolve(names: Sequence[str]) -> list[Engine]:
    """Return the engines that a list of names stands for, each once.

    ``auto`` stands for every engine that seems usable here: ``terms`` always, ``operon`` where it is
    installed, ``pysr`` where a Julia that suits it is found without a download. Nothing is started, see
    :func:`started`.

    Raises
    ------
    EngineError
        If the list is empty or a name is unknown.
    EngineUnavailable
        If an engine that was asked for by name cannot run here.
    """
    if isinstance(names, str):
        names = [names]
    chosen: dict[str, Engine] = {}
    for name in names:
        if name == AUTO:
            chosen |= {engine.name: engine for engine in _usable_engines() if engine.name not in chosen}
        else:
            chosen.setdefault(name, _asked_for(name))
    if not chosen:
        raise EngineError(f"No engine was named. Engines: {', '.join((*ENGINES, AUTO))}.")
    return list(chosen.values())


def started(names: Sequence[str], progress: Progress = silent) -> list[Engine]:
    """Return the engines that a list of names stands for, once they have started what they need.

    An engine that ``auto`` chose and that does not start is left out, with a warning
    (:class:`~discover.errors.EngineWarning`).

    Parameters
    ----------
    names : sequence of str
    progress : callable, optional

    Raises
    ------
    EngineError
        If the list is empty or a name is unknown.
    EngineUnavailable
        If an engine that was asked for by name cannot run here.
    """
    asked_for = {names} if isinstance(names, str) else set(names)
    engines = []
    for engine in resolve(names):
        try:
            if isinstance(engine, StartsFirst):
                engine.start(progress)
        except EngineUnavailable as error:
            if engine.name in asked_for:
                raise
            warnings.warn(f"{error} The search goes on without it.", EngineWarning, stacklevel=2)
        else:
            engines.append(engine)
    return engines


def _usable_engines() -> list[Engine]:
    engines = [make() for make in ENGINES.values()]
    return [engine for engine in engines if engine.availability().usable]


def _asked_for(name: str) -> Engine:
    engine = get_engine(name)
    state = engine.availability()
    if not state.usable:
        raise EngineUnavailable(f"The engine {name!r} cannot run here: {state.reason} {state.remedy}".strip())
    return engine

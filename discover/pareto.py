"""Candidate rules, the Pareto front of complexity against held-out loss, and the choice on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import AliasChoices, AliasPath, BeforeValidator, Field, Strict

from discover.errors import NoCandidate, TaskError, did_you_mean
from discover.shown import Shown, shortened
from discover.stored import Artefact, Count, NotNegative, RuleText, Stored, left_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "SELECTORS",
    "Candidate",
    "ParetoFront",
    "Provenance",
    "Reported",
    "Simplification",
    "Spent",
    "Supported",
    "chance",
    "in_layers",
    "pareto_front",
]

T = TypeVar("T")


def pareto_front(entries: Iterable[tuple[float, float, T]]) -> list[T]:
    """Return what no other beats in both of two numbers, by rising first and falling second number.

    Examples
    --------
    >>> pareto_front([(3, 0.1, "c"), (1, 0.5, "a"), (2, 0.6, "b"), (3, 0.2, "d")])
    ['a', 'c']
    """
    kept: list[T] = []
    lowest = float("inf")
    for _, second, entry in sorted(entries, key=lambda entry: entry[:2]):
        if second < lowest:
            lowest = second
            kept.append(entry)
    return kept


def in_layers(entries: Iterable[tuple[float, float, T]]) -> list[T]:
    """Order entries by fronts of two numbers: the first front, then that of the rest, and so on.

    Within a front the lower second number comes first. By the second number alone the head could all be
    variants of one good entry, and one with a much lower first number would be missed.

    Examples
    --------
    >>> in_layers([(3, 0.1, "c"), (1, 0.5, "a"), (2, 0.6, "b"), (3, 0.2, "d")])
    ['c', 'a', 'd', 'b']
    """
    rest = sorted(entries, key=lambda entry: entry[:2])
    ordered: list[T] = []
    while rest:
        front: list[tuple[float, float, T]] = []
        others: list[tuple[float, float, T]] = []
        lowest = float("inf")
        for entry in rest:
            (front if entry[1] < lowest else others).append(entry)
            lowest = min(lowest, entry[1])
        if not front:  # numbers that are not finite
            return ordered + [entry for _, _, entry in others]
        ordered += [entry for _, _, entry in sorted(front, key=lambda entry: entry[1])]
        rest = others
    return ordered


N_ERRORS = 2.0
"""Standard errors of a mean difference, problem by problem, that chance explains."""

MOST_MARGINS = 5.0
"""Differences of more than so many margins are never put down to chance."""


def chance(differences: ArrayLike, margin: float) -> float:
    """Return how large a mean difference may be that is put down to chance.

    Losses of many problems are small and those of a few are large, so that one standard error is exceeded by
    chance far too often; with several hundred problems two are still little. But where weights explode on a
    few problems the error is as large as the loss, which must not pass for a sign of being as good.

    Parameters
    ----------
    differences : array_like, shape (n_problems,)
        Of two rules' losses on the same problems.
    margin : float
        Mean difference that does not matter.

    Examples
    --------
    >>> chance([0.0, 0.0, 0.1, 0.1], margin=0.05)
    0.0577...
    >>> chance([0.0, 0.0, 0.0, 900.0], margin=0.05)
    0.25
    """
    values = np.asarray(differences, dtype=np.float64)
    return min(N_ERRORS * float(values.std(ddof=1) / np.sqrt(len(values))), MOST_MARGINS * margin)


def _as_table(provenance: object) -> object:
    """Some older runs have the name of an engine alone, or none."""
    if provenance is None or isinstance(provenance, str):
        return Provenance(() if provenance is None else (provenance,))
    return provenance


@dataclass(frozen=True)
class Reported(Stored):
    """A loss on problems that neither fitting nor choosing has seen.

    Attributes
    ----------
    mean, low, high : float
        Mean over the problems, with its 95 % interval.
    n_problems : int
    """

    mean: float
    low: float
    high: float
    n_problems: Count


@dataclass(frozen=True)
class Provenance(Stored):
    """Where a candidate came from; as text in words.

    Attributes
    ----------
    proposed_by : tuple of str
        Engines that proposed its form; ``l1-path`` is the coefficient fit.
    refined_by : str
        What its constants were refined by; empty if by nothing.

    Examples
    --------
    >>> print(Provenance(("l1-path", "terms"), "meta-gradient"))
    proposed by l1-path, terms; refined by meta-gradient
    """

    proposed_by: Annotated[tuple[str, ...], Strict(False)]  # a list has become one of Python's by then
    refined_by: str = ""

    def __str__(self) -> str:
        parts = {"proposed by": ", ".join(self.proposed_by), "refined by": self.refined_by}
        return "; ".join(f"{what} {whom}" for what, whom in parts.items() if whom)


@dataclass(frozen=True, repr=False)
class Candidate(Shown, Stored):
    """A rule with what is known of it.

    Attributes
    ----------
    id : str
        Name within a front, such as ``c03``.
    rule : Rule
    complexity : float
        What the rule costs to say; that of :attr:`discover.rule.Rule.complexity` unless told otherwise.
    train_loss, heldout_loss : float
        Mean meta-loss over the problems its constants were refined on, and over those it was chosen on.
    heldout_error : float
        Standard error of the held-out mean; 0 where it is not known.
    provenance : Provenance
    on_front : bool
        Whether no other candidate of its front beats it.
    allowance : float or None
        Difference to the lowest held-out loss that chance explains, see :func:`chance`; None where the losses
        of single problems are not known.
    test : Reported or None
        Loss on problems that were used for nothing else: the one to quote.
    """

    id: str
    rule: Annotated[RuleText, Field(alias="slots")]
    complexity: NotNegative = field(default=0, kw_only=True)
    train_loss: float
    heldout_loss: float
    heldout_error: Annotated[NotNegative, BeforeValidator(lambda error: error or 0.0)] = 0.0
    provenance: Annotated[Provenance, BeforeValidator(_as_table)] = field(kw_only=True)
    on_front: bool = field(default=False, kw_only=True, compare=False)
    allowance: Annotated[float | None, left_out] = None
    test: Annotated[Reported | None, left_out] = None

    def __post_init__(self) -> None:
        given = self.complexity or self.rule.complexity
        object.__setattr__(self, "complexity", round(given) if given == round(given) else given)

    @property
    def loss(self) -> float:
        """The loss to quote: on test problems; of fronts without such problems the held-out loss."""
        return self.heldout_loss if self.test is None else self.test.mean

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of :attr:`loss`; one standard error where it is held out."""
        return self.heldout_loss - self.heldout_error if self.test is None else self.test.low

    @property
    def high(self) -> float:
        """Upper end, like :attr:`low`."""
        return self.heldout_loss + self.heldout_error if self.test is None else self.test.high

    def in_short(self) -> str:
        """Return name, complexity, loss and rule."""
        return f"{self.id}, complexity {self.complexity:g}, loss {self.loss:.4g}, {shortened(str(self.rule))}"


@dataclass(frozen=True)
class Simplification(Stored):
    """A step from a rule to a simpler one, and what it costs.

    Attributes
    ----------
    what : str
        What was done, such as ``constants rounded``.
    before, after : Rule
    cost, error : float
        Mean by which the held-out loss of the simpler rule is larger, problem by problem, and its standard
        error.
    accepted : bool
        Whether the cost is within its standard error or the resolution.
    """

    what: str
    before: RuleText
    after: RuleText
    cost: float
    error: float
    accepted: bool


@dataclass(frozen=True)
class Spent(Stored):
    """What one way to search reached, and at what price.

    Attributes
    ----------
    way : str
        What drove the engines.
    n_simulated : int
        Problems that were simulated, with or without a gradient.
    heldout_loss : float
        Lowest loss of its candidates on the problems that they were selected on.
    trace : tuple of (int, float)
        Simulated problems so far, and the lowest loss on the problems of the search, wherever it fell.
    """

    way: str
    n_simulated: Count
    heldout_loss: float
    trace: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Supported(Stored):
    """Whether data from outside support a candidate.

    Attributes
    ----------
    candidate : str
    supported : bool
    text : str
        The verdict, in words.
    """

    candidate: str
    supported: bool
    text: str


@dataclass(frozen=True, repr=False)
class ParetoFront(Shown, Artefact):
    """``front.json``: candidates of a search, and which of them was taken.

    :meth:`of` takes one of them.

    Attributes
    ----------
    task : str
    engines : tuple of str
        Engines that ran.
    candidates : tuple of Candidate
        All of them; those that another beats in one of complexity and held-out loss without losing in the
        other are not on the front.
    chosen_id : str
        Name of the candidate that was taken.
    reason : str
        Why it was taken.
    selector : str
        Name of the way to choose, one of :data:`SELECTORS`.
    resolution : float
        Held-out losses that differ by less count as equal for the selector ``1se``.
    simplifications : tuple of Simplification
        What was tried on the best and on the chosen rule.
    spent : tuple of Spent
        What each way to search cost, where there were several.
    teacher_loss : float or None
        Loss of the teacher that the engines were to name, on the problems that candidates are chosen on.
    verdict : Supported or None
        Of a front that was read: whether data from outside support the chosen rule; None for other fronts.

    Raises
    ------
    TaskError
        If there is no candidate or no such selector, two candidates have one name, or none has that of the
        chosen one.
    """

    kind = "front"
    task: str
    engines: Annotated[tuple[str, ...], Field(alias="engine")]
    candidates: tuple[Candidate, ...]
    chosen_id: Annotated[str, Field(alias="chosen")]
    reason: str
    selector: str = "1se"
    resolution: float = 0.0
    simplifications: tuple[Simplification, ...] = ()
    spent: tuple[Spent, ...] = ()
    teacher_loss: Annotated[float | None, left_out] = None
    verdict: Annotated[
        Supported | None,
        Field(
            validation_alias=AliasChoices(AliasPath("recorded", "verdict"), AliasPath("pairing", "verdict")),
            exclude=True,
        ),
    ] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check(self.candidates, self.selector)
        names = [one.id for one in self.candidates]
        if len(set(names)) < len(names):
            raise TaskError("Two candidates have one name.")
        if self.chosen_id not in names:
            raise TaskError(f"No candidate has the name {self.chosen_id[:40]!r}, which it calls chosen.")

    @classmethod
    def of(
        cls,
        task: str,
        engines: tuple[str, ...],
        candidates: Iterable[Candidate],
        selector: str = "1se",
        resolution: float = 0.0,
        **more: Any,
    ) -> ParetoFront:
        """Choose among candidates.

        Parameters
        ----------
        task, engines, candidates, selector, resolution, **more
            As for the class.

        Raises
        ------
        TaskError
            If there is no candidate or no such selector, or two candidates have one name.

        Examples
        --------
        >>> from discover.rule import Rule
        >>> by = Provenance(("terms",))
        >>> oja = Candidate("c1", Rule.parse("x*y - w*y**2"), 0.10, 0.11, 0.01, provenance=by)
        >>> more = Candidate("c2", Rule.parse("x*y - w*y**2 + 0.01*w"), 0.1, 0.105, 0.01, provenance=by)
        >>> ParetoFront.of("oja", ("terms",), (oja, more)).chosen.id
        'c1'
        """
        candidates = tuple(candidates)
        _check(candidates, selector)
        ordered = sorted(candidates, key=lambda one: one.id)
        front = pareto_front((one.complexity, one.heldout_loss, one) for one in ordered)
        chosen, reason = SELECTORS[selector](front, resolution)
        on_front = {one.id for one in front}
        marked = tuple(replace(one, on_front=one.id in on_front) for one in candidates)
        return cls(task, engines, marked, chosen.id, reason, selector, resolution, **more)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The candidates that no other beats, simplest first."""
        return tuple(sorted((one for one in self.candidates if one.on_front), key=lambda one: one.complexity))

    def __iter__(self) -> Iterator[Candidate]:
        """Go through :attr:`front`, simplest first."""
        return iter(self.front)

    def __len__(self) -> int:
        return len(self.front)

    def __getitem__(self, name: str) -> Candidate:
        """Return a candidate by its name, whether it is on the front or not.

        Raises
        ------
        NoCandidate
            If no candidate has that name; it is a `KeyError`, too.
        """
        for one in self.candidates:
            if one.id == name:
                return one
        names = [one.id for one in self.candidates]
        hint = did_you_mean(str(name), names)
        raise NoCandidate(f"There is no candidate {str(name)[:40]!r}.{hint} Candidates: {', '.join(names)}.")

    def in_short(self) -> str:
        """Return how many candidates there are, and the chosen one."""
        return (
            f"{self.task}, {len(self)} of {len(self.candidates)} candidates on the front, "
            f"chosen {self.chosen.in_short()}"
        )

    @property
    def chosen(self) -> Candidate:
        """The candidate that was taken."""
        return next(one for one in self.candidates if one.id == self.chosen_id)

    @property
    def is_tested(self) -> bool:
        """Whether the losses to quote come from problems that were used for nothing else."""
        return all(one.test is not None for one in self.candidates)

    @property
    def loss_name(self) -> str:
        """What the losses to quote are."""
        return "loss on test problems" if self.is_tested else "held-out loss"

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row a candidate, expressions in columns ``slot:<name>``."""
        rows = []
        for data in self.to_json()["candidates"]:
            slots = data.pop("slots")
            provenance = data.pop("provenance")
            flat = {f"slot:{name}": text for name, text in slots.items()}
            row = {
                **data,
                "proposed_by": " ".join(provenance["proposed_by"]),
                "refined_by": provenance["refined_by"],
                "chosen": data["id"] == self.chosen_id,
                **flat,
            }
            rows.append(row)
        return rows

    def to_frame(self) -> Any:
        """Return all candidates as a pandas data frame, one row a candidate, by their names.

        Its columns are those of :meth:`rows`, with the text of the whole rule, and the loss to quote and its
        interval, first.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError:
            raise ImportError("A data frame needs pandas: pip install pandas.") from None
        first = [
            {"rule": str(one.rule), "complexity": one.complexity, "loss": one.loss}
            | {"low": one.low, "high": one.high}
            for one in self.candidates
        ]
        rows = [{"id": row["id"], **told, **row} for told, row in zip(first, self.rows(), strict=True)]
        return DataFrame(rows).drop(columns="test", errors="ignore").set_index("id")

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw complexity against loss with Matplotlib, the front as a staircase, an arrow at the choice.

        Parameters
        ----------
        axes : Axes, optional
            Where to draw; axes of a new figure by default, which a notebook then shows.

        Returns
        -------
        Axes
        """
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(layout="constrained")[1]
        # Named by a text: an import would make the search depend on how figures look.
        import_module("discover.report.figures").draw_front(self, axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
        return axes


def _check(candidates: Sequence[Candidate], selector: str) -> None:
    if not candidates:
        raise TaskError("A front needs at least one candidate.")
    if selector not in SELECTORS:
        hint = did_you_mean(selector, SELECTORS)
        raise TaskError(f"There is no selector {selector[:40]!r}. Selectors: {', '.join(SELECTORS)}.{hint}")


def _one_standard_error(front: Sequence[Candidate], resolution: float) -> tuple[Candidate, str]:
    """Simplest candidate within one standard error of the best held-out loss, or within the resolution."""
    best = front[-1]
    limit = best.heldout_loss + max(best.heldout_error, resolution)
    reach = (
        f"one standard error ({best.heldout_error:.2g})"
        if best.heldout_error >= resolution
        else f"the resolution ({resolution:g})"
    )
    chosen = next(candidate for candidate in front if candidate.heldout_loss <= limit)
    if chosen is best:
        return (
            best,
            f"lowest held-out loss, {best.heldout_loss:.4g}; nothing simpler is within {reach}",
        )
    return chosen, (
        f"simplest rule whose held-out loss ({chosen.heldout_loss:.4g}) is within {reach} "
        f"of the best ({best.heldout_loss:.4g}, complexity {best.complexity})"
    )


def _paired(front: Sequence[Candidate], resolution: float) -> tuple[Candidate, str]:
    """Simplest candidate that is not shown to be worse than the best by more than the resolution."""
    best = front[-1]

    def by_chance(one: Candidate) -> float:
        return one.heldout_error if one.allowance is None else one.allowance

    def cost(one: Candidate) -> float:
        return one.heldout_loss - best.heldout_loss

    chosen = next(one for one in front if one is best or cost(one) <= resolution + by_chance(one))
    if chosen is best:
        return (
            best,
            f"lowest held-out loss, {best.heldout_loss:.4g}; all that is simpler is worse, pair by pair",
        )
    within = (
        f"the resolution ({resolution:.2g})"
        if cost(chosen) <= resolution
        else f"the resolution ({resolution:.2g}) and what chance explains ({by_chance(chosen):.2g})"
    )
    return chosen, (
        f"simplest rule whose held-out loss ({chosen.heldout_loss:.4g}) is within {within} "
        f"of the best ({best.heldout_loss:.4g}, complexity {best.complexity})"
    )


def _lowest(front: Sequence[Candidate], _: float) -> tuple[Candidate, str]:
    return front[-1], f"lowest held-out loss, {front[-1].heldout_loss:.4g}"


def _elbow(front: Sequence[Candidate], _: float) -> tuple[Candidate, str]:
    """Candidate furthest below the line from the simplest to the best, both axes scaled to one."""
    first, last = front[0], front[-1]
    width = max(last.complexity - first.complexity, 1)
    height = max(first.heldout_loss - last.heldout_loss, 1e-300)

    def gain(candidate: Candidate) -> float:
        fallen = (first.heldout_loss - candidate.heldout_loss) / height
        return fallen - (candidate.complexity - first.complexity) / width

    return max(front, key=gain), "elbow of the front: the most loss saved for its complexity"


SELECTORS: Mapping[str, Callable[[Sequence[Candidate], float], tuple[Candidate, str]]] = {
    "1se": _one_standard_error,
    "paired": _paired,
    "lowest": _lowest,
    "elbow": _elbow,
}
"""Ways to choose on a front, by name; each takes the front, simplest first, and the resolution."""

"""Candidate rules, the Pareto front of complexity against held-out loss, and the choice on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from discover.checked import Fields
from discover.errors import ArtefactError, TaskError, did_you_mean
from discover.rule import Rule

__all__ = [
    "SELECTORS",
    "Candidate",
    "ParetoFront",
    "Reported",
    "Simplification",
    "Spent",
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


@dataclass(frozen=True)
class Reported:
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
    n_problems: int


@dataclass(frozen=True)
class Candidate:
    """A rule with what is known of it.

    Attributes
    ----------
    id : str
        Name within a front, such as ``c03``.
    rule : Rule
    train_loss, heldout_loss : float
        Mean meta-loss over the problems its constants were refined on, and over those it was chosen on.
    heldout_error : float
        Standard error of the held-out mean.
    proposed_by : tuple of str
        Engines that proposed its form; ``l1-path`` is the coefficient fit.
    refined_by : str
        What its constants were refined by; empty if by nothing.
    allowance : float or None
        Difference to the lowest held-out loss that chance explains, see :func:`chance`; None where the losses
        of single problems are not known.
    test : Reported or None
        Loss on problems that were used for nothing else: the one to quote.
    complexity : float
        What the rule costs to say; that of :attr:`discover.rule.Rule.complexity` unless told otherwise.
    """

    id: str
    rule: Rule
    train_loss: float
    heldout_loss: float
    heldout_error: float
    proposed_by: tuple[str, ...]
    refined_by: str = ""
    allowance: float | None = None
    test: Reported | None = None
    complexity: float = 0

    def __post_init__(self) -> None:
        given = self.complexity or self.rule.complexity
        object.__setattr__(self, "complexity", round(given) if given == round(given) else given)

    def to_json(self, on_front: bool) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "slots": self.rule.to_dict(),
            "complexity": self.complexity,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "provenance": {"proposed_by": list(self.proposed_by), "refined_by": self.refined_by},
            "on_front": on_front,
            **({} if self.allowance is None else {"allowance": self.allowance}),
            **({} if self.test is None else {"test": asdict(self.test)}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If an expression is not a rule.
        """
        return cls._from_fields(Fields(data, "candidate"))

    @classmethod
    def _from_fields(cls, fields: Fields) -> Candidate:
        provenance = fields.part("provenance")
        return cls(
            fields.text("id"),
            Rule.parse(fields.named_texts("slots")),
            fields.number("train_loss"),
            fields.number("heldout_loss"),
            fields.number("heldout_error", 0.0),
            provenance.texts("proposed_by"),
            provenance.text("refined_by"),
            fields.number("allowance") if fields.has("allowance") else None,
            _reported(fields.part("test")) if fields.has("test") else None,
            fields.number("complexity", 0),
        )


def _reported(fields: Fields) -> Reported:
    mean, low, high = (fields.number(name) for name in ("mean", "low", "high"))
    return Reported(mean, low, high, fields.count("n_problems"))


@dataclass(frozen=True)
class Simplification:
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
    before: Rule
    after: Rule
    cost: float
    error: float
    accepted: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "what": self.what,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "cost": self.cost,
            "error": self.error,
            "accepted": self.accepted,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Simplification:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If an expression is not a rule.
        """
        return cls._from_fields(Fields(data, "step"))

    @classmethod
    def _from_fields(cls, fields: Fields) -> Simplification:
        before, after = (Rule.parse(fields.named_texts(name)) for name in ("before", "after"))
        losses = fields.number("cost"), fields.number("error")
        return cls(fields.text("what"), before, after, *losses, fields.flag("accepted"))


@dataclass(frozen=True)
class Spent:
    """What one way to search reached, and at what price.

    Attributes
    ----------
    way : str
        What drove the engines.
    n_simulated : int
        Problems that were simulated, with or without a gradient.
    heldout_loss : float
        Lowest held-out loss of its candidates.
    trace : tuple of (int, float)
        Simulated problems so far, and the lowest loss on the problems of the search, wherever it fell.
    """

    way: str
    n_simulated: int
    heldout_loss: float
    trace: tuple[tuple[int, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "way": self.way,
            "n_simulated": self.n_simulated,
            "heldout_loss": self.heldout_loss,
            "trace": [list(point) for point in self.trace],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spent:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        """
        return cls._from_fields(Fields(data, "spent"))

    @classmethod
    def _from_fields(cls, fields: Fields) -> Spent:
        points = fields.lists("trace")
        if any(len(point) != 2 for point in points):
            raise ArtefactError(f"{fields.where}: trace: every point has a number of problems and a loss.")
        trace = tuple((int(count), float(loss)) for count, loss in points)
        return cls(fields.text("way"), fields.count("n_simulated"), fields.number("heldout_loss"), trace)


@dataclass(frozen=True)
class ParetoFront:
    """Candidates of a search, and which of them is taken.

    Parameters
    ----------
    task : str
    engines : tuple of str
        Engines that ran.
    candidates : tuple of Candidate
        All of them; those that another beats in one of complexity and held-out loss without losing in the
        other are not on the front.
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

    Raises
    ------
    TaskError
        If there is no candidate or no such selector.

    Examples
    --------
    >>> oja = Candidate("c1", Rule.parse("x*y - w*y**2"), 0.10, 0.11, 0.01, ("terms",))
    >>> more = Candidate("c2", Rule.parse("x*y - w*y**2 + 0.01*w"), 0.10, 0.105, 0.01, ("operon",))
    >>> ParetoFront("oja", ("terms", "operon"), (oja, more)).chosen.id
    'c1'
    """

    task: str
    engines: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    selector: str = "1se"
    resolution: float = 0.0
    simplifications: tuple[Simplification, ...] = ()
    spent: tuple[Spent, ...] = ()
    teacher_loss: float | None = None

    def __post_init__(self) -> None:
        if not self.candidates:
            raise TaskError("A front needs at least one candidate.")
        if self.selector not in SELECTORS:
            hint = did_you_mean(self.selector, SELECTORS)
            raise TaskError(
                f"There is no selector {self.selector!r}. Selectors: {', '.join(SELECTORS)}.{hint}"
            )

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The candidates that no other beats, simplest first."""
        ordered = sorted(self.candidates, key=lambda one: one.id)
        return tuple(pareto_front((one.complexity, one.heldout_loss, one) for one in ordered))

    def __iter__(self) -> Iterator[Candidate]:
        """Go through :attr:`front`, simplest first."""
        return iter(self.front)

    def __len__(self) -> int:
        return len(self.front)

    @property
    def chosen(self) -> Candidate:
        """The candidate that the selector takes."""
        return SELECTORS[self.selector](self.front, self.resolution)[0]

    @property
    def reason(self) -> str:
        """Why it was taken."""
        return SELECTORS[self.selector](self.front, self.resolution)[1]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        on_front = {candidate.id for candidate in self.front}
        return {
            "task": self.task,
            "engine": list(self.engines),
            "candidates": [candidate.to_json(candidate.id in on_front) for candidate in self.candidates],
            "chosen": self.chosen.id,
            "reason": self.reason,
            "selector": self.selector,
            "resolution": self.resolution,
            "simplifications": [step.to_json() for step in self.simplifications],
            "spent": [one.to_json() for one in self.spent],
            **({} if self.teacher_loss is None else {"teacher_loss": self.teacher_loss}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ParetoFront:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If an expression is not a rule.
        TaskError
            If there is no candidate or no such selector.
        """
        fields = Fields(data, "front")
        return cls(
            fields.text("task"),
            fields.texts("engine"),
            tuple(Candidate._from_fields(one) for one in fields.parts("candidates")),
            fields.text("selector", "1se"),
            fields.number("resolution", 0.0),
            tuple(Simplification._from_fields(one) for one in fields.parts("simplifications", ())),
            tuple(Spent._from_fields(one) for one in fields.parts("spent", ())),
            fields.number("teacher_loss") if fields.has("teacher_loss") else None,
        )

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
                "chosen": data["id"] == self.chosen.id,
                **flat,
            }
            rows.append(row)
        return rows


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
    """Simplest candidate whose loss differs from the best by no more than the error of the difference."""
    best = front[-1]

    def reach(candidate: Candidate) -> float:
        allowed = candidate.allowance
        return max(candidate.heldout_error if allowed is None else allowed, resolution)

    chosen = next(one for one in front if one is best or one.heldout_loss - best.heldout_loss <= reach(one))
    if chosen is best:
        return (
            best,
            f"lowest held-out loss, {best.heldout_loss:.4g}; nothing simpler is as good, pair by pair",
        )
    within = (
        f"the resolution ({resolution:.2g})"
        if reach(chosen) == resolution
        else f"what chance explains ({reach(chosen):.2g})"
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

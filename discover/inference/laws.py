"""From recordings to a front of laws: engines propose forms, recordings that were left out decide."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import ConfigError, RuleError
from discover.expression import Node, canonical, const, constants, evaluate, to_latex, with_constants
from discover.expression.latex import latex_name
from discover.inference.path import DataPath, fit_path
from discover.inference.recordings import MIN_ROWS, Recordings, checked_recordings
from discover.inference.scores import Score, allowances, scored
from discover.inference.settings import InferSettings
from discover.inference.tied import alike, shorter, tied
from discover.inference.verdict import Verdict, judged
from discover.pareto import Candidate, ParetoFront, Provenance
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.search._constants import fit_constants
from discover.search._polish import polished
from discover.search.engine import TAKES_EQUATIONS, Engine, Samples, started
from discover.shown import NOTEBOOK, Short
from discover.slots import Slot, recorded_slot

__all__ = ["TASK", "Inference", "infer"]

TASK = "recorded"
"""Stands in the artefacts where simulated runs name their task."""

MEAN = "mean"
L1_PATH = "l1-path"
LEAST_SQUARES = "least squares"
PICKED_FROM = 1000
"""About as many forms of a term do engines choose from."""

_STEPS = 60
_MAX_SIMPLER = 4
"""Turns in which parts of the best rules are taken away."""
_MAX_CONSTANTS = 10
"""From rules with more of them nothing is taken away: those are long sums, which the path has already."""

_MAX_FORMS = 80

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Inference(Short):
    """What was inferred.

    Attributes
    ----------
    path : DataPath
    front : ParetoFront
    scores : mapping from str to Score
        Candidate -> its errors on the recordings of the search.
    search, kept : tuple of int
        Recordings that were searched on, and those that were kept for the end.
    slot : Slot
    verdict : Verdict
        Whether the recordings support the chosen rule.
    target : str
        What the rule gives, where it is one of several; empty otherwise.
    """

    path: DataPath
    front: ParetoFront
    scores: dict[str, Score]
    search: tuple[int, ...]
    kept: tuple[int, ...]
    slot: Slot
    verdict: Verdict
    target: str = ""

    @property
    def rule(self) -> Rule:
        """The chosen rule."""
        return self.front.chosen.rule

    def latex(self, digits: int = 4) -> str:
        """Return the chosen rule as LaTeX, without a learning rate: it gives the recorded change itself."""
        if not self.target:
            return self.rule.latex(digits, learning_rate=False)
        return f"{_latex_of(self.target)} = {to_latex(self.rule.expression(), digits=digits)}"

    def in_short(self) -> str:
        """Return whether the data support a rule, and the chosen one."""
        found = f"{'supported' if self.verdict.supported else 'no rule'}, {self.front.in_short()}"
        return f"{self.target}: {found}" if self.target else found

    def _repr_html_(self) -> str:
        said = f"{self.target}: {self.verdict.text}" if self.target else self.verdict.text
        html: str = import_module(NOTEBOOK).front_html(self.front, said)
        return html


def _latex_of(target: str) -> str:
    if re.fullmatch(r"[A-Za-z]\w*", target, re.ASCII):
        return latex_name(target)
    text = re.sub(r"([#$%&_{}])", r"\\\1", re.sub(r"[\\^~]", " ", target))
    return rf"\text{{{text}}}"


def infer(
    recordings: Recordings,
    settings: InferSettings | None = None,
    engines: Sequence[str] = ("auto",),
    progress: Progress = silent,
) -> Inference:
    """Infer a rule from recorded data.

    Some recordings are kept for the end. On the others the L1 path is walked and the engines propose forms;
    the constants of every form are fitted by least squares with one part of the recordings left out after the
    other, and what this predicts of them gives the loss of the front. The simplest form is taken that is as
    good as the best, recording by recording.

    Parameters
    ----------
    recordings : Recordings
    settings : InferSettings, optional
    engines : sequence of str
        Names of engines; none for polynomials alone.
    progress : callable, optional

    Raises
    ------
    ConfigError
        If what is given is no recordings, such as a data frame.
    EngineError
        If an engine is unknown, cannot run here, or fails.
    """
    recordings = checked_recordings(recordings)
    # One thread: sums in another order could turn a near tie.
    with threadpool_limits(1):
        return _infer(recordings, settings or InferSettings(), engines, progress)


def _infer(
    recordings: Recordings, settings: InferSettings, engines: Sequence[str], progress: Progress
) -> Inference:
    chosen = started(engines, progress) if engines else []
    searched, kept = recordings.held_apart(settings.heldout, settings.seed)
    inside = recordings.of(searched)
    if chosen and inside.samples.n_rows < MIN_ROWS:
        raise ConfigError(
            f"Engines search on at least {MIN_ROWS} rows; outside of the recordings that are kept for the "
            f"end there are {inside.samples.n_rows}."
        )
    slot = recorded_slot(inside.samples.variables)
    progress(0.0, "L1 path")
    path = fit_path(inside, slot, settings)
    forms = _Forms(inside.samples)
    forms.add(const(float(inside.samples.target.mean())), MEAN)
    for point in path.points:
        forms.add(path.node(point), L1_PATH, point.score)
    for number, engine in enumerate(chosen):
        begun, done = (0.1 + 0.6 * k / len(chosen) for k in (number, number + 1))
        inner = part(progress, begun, done, f"{engine.name}: ")
        for node in _proposals(engine, inside, settings, inner):
            forms.add(node, engine.name)
            for shared in tied(node, inside.samples.variables):
                forms.add(shared, engine.name)
    names = tuple(engine.name for engine in chosen)
    n_terms = len(path.exponents)
    scores: list[tuple[Node, tuple[str, ...], Score]] = []
    for turn in range(1 + _MAX_SIMPLER):
        entries = forms.entries()[len(scores) :]
        for number, (node, proposed_by, known) in enumerate(entries):
            said = f"form {number + 1} of {len(entries)}" + (", made simpler" if turn else "")
            progress(0.7 + 0.25 * (turn + number / len(entries)) / (1 + _MAX_SIMPLER), said)
            # A polynomial of the path has the constants of least squares already.
            fitted, score = (node, known) if known is not None else _refined(node, inside, settings)
            scores.append((_tidy(fitted, inside.samples.variables), proposed_by, score))
        front, by_name = _front(scores, slot, names, settings, n_terms, inside.n_independent)
        if not chosen or not _add_simpler(forms, front, inside.samples.variables):
            break
    progress(0.95, "what chance alone gives")
    verdict = judged(front, by_name[front.chosen.id], recordings, tuple(searched), settings)
    progress(1.0, "front of candidates")
    return Inference(path, front, by_name, tuple(searched), tuple(kept), slot, verdict)


def _add_simpler(forms: _Forms, front: ParetoFront, variables: tuple[str, ...]) -> bool:
    """Add forms with a part less than the chosen rule and the best one; say whether there are new ones."""
    n_before = len(forms.entries())
    for one in dict.fromkeys((front.chosen.id, front.front[-1].id)):
        candidate = front[one]
        node = candidate.rule.expression()
        if len(constants(node)) > _MAX_CONSTANTS:
            continue
        for form in (*shorter(node, variables), *alike(node, variables)):
            for name in candidate.provenance.proposed_by:
                forms.add(form, name)
    return len(forms.entries()) > n_before


class _Forms:
    """Forms of expressions, each with the constants that came first, and who proposed it."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._nodes: dict[str, Node] = {}
        self._names: dict[str, list[str]] = {}
        self._scores: dict[str, Score | None] = {}

    def add(self, node: Node, name: str, score: Score | None = None) -> None:
        try:
            node = canonical(node, self.samples.variables)
        except RuleError:
            return
        key = _skeleton(node)
        if key not in self._nodes:
            if not np.isfinite(evaluate(node, self.samples.columns)).all():
                return
            self._nodes[key] = node
            self._scores[key] = score
        names = self._names.setdefault(key, [])
        if name not in names:
            names.append(name)

    def entries(self) -> list[tuple[Node, tuple[str, ...], Score | None]]:
        return [(node, tuple(self._names[key]), self._scores[key]) for key, node in self._nodes.items()]


def _skeleton(node: Node) -> str:
    """Text of an expression with all constants but their signs taken out."""
    return str(with_constants(node, [math.copysign(1.25, value) for value in constants(node)]))


def _tidy(node: Node, variables: tuple[str, ...]) -> Node:
    """Round constants to twelve digits, so that a factor that is one but for rounding is not written down."""
    try:
        rounded = with_constants(node, [float(f"{value:.11e}") for value in constants(node)])
        return canonical(rounded, variables)
    except RuleError:
        return node


def _proposals(
    engine: Engine, recordings: Recordings, settings: InferSettings, progress: Progress
) -> list[Node]:
    samples = recordings.samples
    if samples.kernel is None or engine.name in TAKES_EQUATIONS:
        found = engine.propose(samples, settings.search, settings.seed, progress)
        return [proposal.expression for proposal in found]
    # Estimates of the derivative at every state give forms; their constants are then those of the equations.
    found = engine.propose(recordings.pointwise, settings.search, settings.seed, progress)
    return [node for proposal in found for node in polished(proposal.expression, samples)]


def _refined(node: Node, recordings: Recordings, settings: InferSettings) -> tuple[Node, Score]:
    """Fit the constants to all recordings, and with every part of them left out."""
    samples = recordings.samples
    fitted = fit_constants(node, samples, _STEPS).tree

    def predict(rows: NDArray[np.bool_]) -> FloatArray:
        tree = fitted if rows.all() else fit_constants(fitted, samples.where(rows), _STEPS).tree
        return samples.observed(evaluate(tree, samples.columns))

    return fitted, scored(recordings, settings.folds, predict)


def _front(
    scores: Sequence[tuple[Node, tuple[str, ...], Score]],
    slot: Slot,
    engines: tuple[str, ...],
    settings: InferSettings,
    n_terms: int,
    n_rows: int,
) -> tuple[ParetoFront, dict[str, Score]]:
    ordered = sorted(scores, key=lambda one: (one[0].complexity, one[2].loss, str(one[0])))
    n_front, ordered = _beaten_last(ordered)
    largest = 2 * settings.search.max_nodes  # beaten, and too long to be read: of no use to anybody
    rest = [one for one in ordered[n_front:] if one[0].complexity <= largest]
    ordered = [*ordered[:n_front], *rest][: max(_MAX_FORMS, n_front)]
    ordered.sort(key=lambda one: (one[0].complexity, one[2].loss, str(one[0])))
    sizes = [len(constants(one[0])) for one in ordered]
    n_picked_from = max(PICKED_FROM if engines else 0, n_terms)
    best, allowed = allowances([one[2] for one in ordered], sizes, n_picked_from, n_rows)
    candidates, by_name = [], {}
    for number, (node, names, score) in enumerate(ordered):
        name = f"c{number:02d}"
        by_name[name] = score
        candidates.append(
            Candidate(
                name,
                Rule({slot.name: node}),
                score.train_loss,
                score.loss,
                score.error,
                allowed[number],
                provenance=Provenance(names, LEAST_SQUARES if constants(node) else ""),
            )
        )
    resolution = max(settings.resolution * ordered[best][2].loss, settings.floor)
    front = ParetoFront.of(TASK, engines, candidates, "paired", resolution)
    return front, by_name


def _beaten_last(
    scores: Sequence[tuple[Node, tuple[str, ...], Score]],
) -> tuple[int, list[tuple[Node, tuple[str, ...], Score]]]:
    """Return those on the front first, then the others by their loss, and how many are on the front."""
    best = math.inf
    front, rest = [], []
    for one in scores:
        if one[2].loss < best:
            best = one[2].loss
            front.append(one)
        else:
            rest.append(one)
    return len(front), front + sorted(rest, key=lambda one: one[2].loss)

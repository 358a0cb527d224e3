"""Other terms in one slot at a time, tried in the network itself.

Where a run takes seconds, an evolution of expressions is out of the question, and of a rule that is a
polynomial an engine can only find that polynomial again. What is left is a search by block coordinates: from
the rule that the coefficient fit chose, each slot in turn gets one term more, or one term becomes another,
with everything else as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from math import ceil

import numpy as np

from discover.errors import RuleError
from discover.expression import Node, combine, const, evaluate, postorder
from discover.expression.simplify import flat_operands, scaled
from discover.pareto import pareto_front
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.search.closed_loop import products
from discover.search.engine import Samples
from discover.search.settings import SearchSettings
from discover.search.simpler import replaced
from discover.search.trial import Trial

__all__ = ["BLOCKS", "by_blocks", "variants"]

BLOCKS = "block coordinates"
"""Name under which its rules enter the union."""

GOES_ON = 1 / 3
"""Share of the variants that run in all networks; the others run in the first one alone."""

OF_A_VARIABLE = ("tanh", "sqrt", "exp", "log")
"""Functions that a variable may be replaced by its value of."""

MOST_SWEEPS = 3


def by_blocks(
    trial: Trial, rule: Rule, slots: Collection[str] | None = None, progress: Progress = silent
) -> list[Rule]:
    """Change a rule slot by slot, as long as the loss of the network falls by more than the resolution.

    All variants run on the first of the problems that constants are fitted on, and the better third of them
    also on the others. Where no loss can be lower by more than the resolution, only simpler ones run.

    Parameters
    ----------
    trial : Trial
        Its settings say which terms are tried: ``task_degree`` which products, ``operators`` which functions.
        The states that synapses visit tell how large a new term has to be to matter.
    rule : Rule
        From which to start.
    slots : collection of str, optional
        Those that may get terms; by default all.
    progress : callable, optional

    Returns
    -------
    list of Rule
        Of all that ran on every problem, what nothing simpler beats.
    """
    tried = {rule: float(trial.mean_losses([rule])[0])}
    lowest, _ = trial.task.possible.get("loss", (-np.inf, np.inf))
    states = {slot: one for slot, one in trial.states.items() if slots is None or slot in slots}
    current = rule
    for number in range(MOST_SWEEPS):
        new = [one for one in variants(current, states, trial.settings) if one not in tried]
        if tried[current] - lowest <= trial.settings.margin([tried[current]]):
            new = [one for one in new if one.complexity < current.complexity]
        inner = part(progress, number / MOST_SWEEPS, (number + 1) / MOST_SWEEPS, f"sweep {number + 1}, ")
        found = _halved(trial, new, inner)
        tried |= found
        best = min(found, key=lambda one: found[one], default=current)
        if tried[best] > tried[current] - trial.settings.margin([tried[current], tried[best]]):
            break
        current = best
    return pareto_front((one.complexity, loss, one) for one, loss in tried.items())


def variants(rule: Rule, states: Mapping[str, Samples], settings: SearchSettings) -> list[Rule]:
    """Return the rules in which one slot has one term more or another term, each once.

    A new term is as large on visited states as the update of its slot is, or as the largest update where the
    slot has none, and has either sign.

    Parameters
    ----------
    rule : Rule
    states : mapping from slot name to Samples
    settings : SearchSettings

    Returns
    -------
    list of Rule

    Examples
    --------
    >>> states = {"lateral": Samples(("y_pre", "y_post", "w"), np.ones((20, 3)), np.ones(20))}
    >>> rule = Rule.parse("lateral: -0.5*y_pre*y_post")
    >>> found = variants(rule, states, SearchSettings(task_degree=2, operators=("tanh",)))
    >>> [str(one) for one in found if "tanh" in str(one)]
    ['lateral: -0.5*y_post*tanh(y_pre)', 'lateral: -0.5*y_pre*tanh(y_post)']
    """
    sizes = {slot: _size(rule.expressions[slot], one) for slot, one in states.items() if slot in rule.slots}
    largest = max(sizes.values(), default=0.0)
    found: dict[Rule, None] = {}
    for slot, samples in states.items():
        before = rule.expressions.get(slot, const(0.0))
        size = sizes.get(slot, 0.0) or largest
        for node in _changed(before, samples, size, settings):
            try:
                one = Rule({**rule.expressions, slot: node}).canonical()
            except RuleError:
                continue
            if one.complexity <= settings.max_nodes:
                found.setdefault(one)
    found.pop(rule, None)
    return list(found)


def _changed(before: Node, samples: Samples, size: float, settings: SearchSettings) -> Iterator[Node]:
    """Yield what a slot may have in the place of its update."""
    signs, parts = flat_operands(before) if before.op in ("add", "sub") else (("+",), [before])
    terms = [
        combine("neg", (part,)) if sign == "-" else part
        for sign, part in zip(signs, parts, strict=True) if part != const(0.0)
    ]  # fmt: skip
    for product in products(samples.variables, settings.task_degree):
        scale = _size(product, samples)
        if not scale > 0.0:
            continue
        for sign in (1.0, -1.0):
            yield _sum([*terms, scaled(product, sign * size / scale)])
        for n, term in enumerate(terms):
            factor = _size(term, samples) / scale * _sign(term, samples)
            yield _sum([*terms[:n], scaled(product, factor), *terms[n + 1 :]])
    order = postorder(before)
    for place, leaf in enumerate(order):
        if leaf.op == "var":
            for name in OF_A_VARIABLE:
                if name in settings.operators:
                    yield replaced(order, place, combine(name, (leaf,)))


def _sum(terms: Sequence[Node]) -> Node:
    return reduce(lambda a, b: combine("add", (a, b)), terms)


def _size(node: Node, samples: Samples) -> float:
    """Root of the mean square on visited states."""
    return float(np.sqrt(np.mean(np.broadcast_to(evaluate(node, samples.columns), samples.n_states) ** 2)))


def _sign(node: Node, samples: Samples) -> float:
    return 1.0 if float(np.sum(evaluate(node, samples.columns))) >= 0.0 else -1.0


def _halved(trial: Trial, rules: Sequence[Rule], progress: Progress) -> dict[Rule, float]:
    """Return the mean losses over all problems, of those rules that do best on the first."""
    task, train = trial.task, trial.train
    first = trial.mean_losses(rules, task.subset(train, np.arange(1)), part(progress, 0.0, 0.6))
    best = np.argsort(first, kind="stable")[: ceil(GOES_ON * len(rules))]
    kept = [rules[n] for n in best.tolist()]
    others = task.subset(train, np.arange(1, train.n_problems))
    rest = trial.mean_losses(kept, others, part(progress, 0.6, 1.0))
    means = (first[best] + rest * others.n_problems) / train.n_problems
    return dict(zip(kept, means.tolist(), strict=True))

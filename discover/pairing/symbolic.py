"""Forms beyond products of traces: saturation, thresholds, the weight, and what engines propose.

A protocol is an equation: the sum of what a rule does at all of its spikes is the change that was measured.
Engines that can use equations (``terms``) get them, weighted by the standard errors. The others need an
update at every spike: they are given that of a smooth rule that explains the protocols, and their formulas
are then fitted to the protocols themselves. What is proposed is a form; its constants, and the time
constants, are fitted as those of any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
from scipy import sparse

from discover.errors import EngineError, RuleError
from discover.expression import Node, canonical, parse
from discover.pairing.events import TRACE_NAMES, Events, FloatArray
from discover.pairing.grid import MAX_INNER, Bench, Form, Ranked
from discover.pairing.terms import TERMS, Term
from discover.progress import Progress, silent
from discover.search.engine import MIN_ROWS, TAKES_EQUATIONS, Engine, Samples
from discover.search.settings import SearchSettings

__all__ = ["proposed", "split_sum", "variants"]

SHAPES = ("{v}/(0.5 + {v})", "tanh({v}/0.5)", "max({v} - 0.5, 0)", "sqrt({v})")
"""What may stand for a trace: two ways to saturate, a threshold, and a slower growth."""

BOUNDS = (2.0, 4.0)
N_LEADING = 3
"""So many of the best rules are bent, and lend their other half while engines look for one."""

MOST_TRACES = 3
"""Rules that read more of them are not tried with the weight: it would take long."""

RIDGE = tuple(np.geomspace(1e-3, 1e3, 13))

_PLAIN = {str(canonical(term.node, TRACE_NAMES)): term.text for term in TERMS}


class _Equations(Samples):
    """Protocols as equations; there may be few of them."""

    least_rows = 3


def variants(leading: Sequence[Ranked]) -> Iterator[Form]:
    """Yield the leading rules with one trace bent, or with the weight in one term or in all.

    Parameters
    ----------
    leading : sequence of Ranked
        Rules whose terms are products of traces.
    """
    for rule in leading:
        terms = rule.form.terms
        for number, term in enumerate(terms):
            for name in term.uses:
                for shape in SHAPES:
                    text = term.text.replace(name, f"({shape.format(v=name)})")
                    bent = Term(term.spike, str(parse(text, TRACE_NAMES)))
                    yield Form(_with(terms, number, bent), origin="variants")
            if len(rule.form.uses) <= MOST_TRACES:
                yield Form(_with(terms, number, replace(term, power=1.0)), origin="variants")
                yield Form(_with(terms, number, replace(term, room=1.0)), BOUNDS, origin="variants")
        if len(rule.form.uses) <= MOST_TRACES:
            yield Form(tuple(replace(term, power=1.0) for term in terms), origin="variants")


def _with(terms: tuple[Term, ...], number: int, term: Term) -> tuple[Term, ...]:
    return (*terms[:number], term, *terms[number + 1 :])


def proposed(
    bench: Bench,
    leading: Sequence[Ranked],
    engines: Sequence[Engine],
    settings: SearchSettings,
    most_terms: int,
    seed: int,
    progress: Progress = silent,
) -> dict[Form, list[str]]:
    """Return the forms that engines propose, with who proposed each.

    Parameters
    ----------
    bench : Bench
    leading : sequence of Ranked
        Of each of these rules one half is kept, in turn, while engines look for the other.
    engines : sequence of Engine
    settings : SearchSettings
    most_terms : int
        Longer forms are left out, and so are those with more than two constants within their terms.
    seed : int
    progress : callable, optional

    Raises
    ------
    EngineError
        If an engine did not do its work.
    """
    found: dict[frozenset[Term], tuple[Form, list[str]]] = {}
    jobs = [(rule, spike, engine) for rule in leading for spike in ("post", "pre") for engine in engines]
    for number, (rule, spike, engine) in enumerate(jobs):
        progress(number / len(jobs), f"{engine.name}: the jump at a {spike}synaptic spike")
        kept = tuple(term for term in rule.terms if term.spike != spike)
        for node in _proposals(bench, rule, spike, engine, settings, seed):
            terms = _terms(node, spike)
            form = Form((*kept, *terms), origin=engine.name)
            inner = sum(len(term.inner) for term in form.terms)
            if terms and len(form.terms) <= most_terms and inner <= MAX_INNER:
                names = found.setdefault(_skeleton(form), (form, []))[1]
                if engine.name not in names:
                    names.append(engine.name)
    return dict(found.values())


def _skeleton(form: Form) -> frozenset[Term]:
    """Return the terms with one in the place of every constant within them."""
    return frozenset(one.scaled([1.0 / value for value in one.inner]) for one in form.terms)


def _proposals(
    bench: Bench, rule: Ranked, spike: str, engine: Engine, settings: SearchSettings, seed: int
) -> list[Node]:
    """Return an engine's expressions for the jump at one kind of spike, the other being a rule's."""
    events = Events(bench.protocols, [(tau,) for _, tau in rule.traces.items()], bench.tie)
    others = [number for number, term in enumerate(rule.terms) if term.spike != spike]
    explained = np.zeros(len(bench.changes))
    if others:
        sums = events.sums([(rule.terms[one].spike, rule.terms[one].node) for one in others], [(0,) * 4])[0]
        explained = sums @ rule.coefficients[others]
    target = (bench.changes - explained) / bench.errors
    rows = events.is_pre == (spike == "pre")
    seen = np.array([events.traces[name][0, rows] for name in TRACE_NAMES]).T
    states, place = np.unique(seen.round(9), axis=0, return_inverse=True)
    protocol = np.repeat(np.arange(len(bench.protocols)), np.diff(events.starts))[rows]
    weights = 1.0 / bench.errors[protocol]
    shape = (len(bench.protocols), len(states))
    kernel = sparse.csr_matrix((weights, (protocol, place.ravel())), shape=shape)
    if len(states) < 2 or not np.any(target):
        return []
    if engine.name in TAKES_EQUATIONS:
        samples: Samples = _Equations(TRACE_NAMES, states, target, kernel)
    elif len(states) >= MIN_ROWS:
        samples = Samples(TRACE_NAMES, states, _smooth(states, kernel, target))
    else:
        return []
    try:
        return [one.expression for one in engine.propose(samples, settings, seed)]
    except EngineError:
        if np.ptp(states, axis=0).any():
            raise
        return []


def _smooth(states: FloatArray, kernel: sparse.csr_matrix, target: FloatArray) -> FloatArray:
    """Return the update of a smooth rule at the states: quadratic in the traces, by ridge regression.

    The penalty is the one that predicts left-out equations best.
    """
    spread = np.maximum(states.std(axis=0), 1e-12)
    scaled = np.column_stack([np.ones(len(states)), states / spread])
    pairs = combinations_with_replacement(range(scaled.shape[1]), 2)
    features = np.stack([scaled[:, i] * scaled[:, k] for i, k in pairs], axis=1)
    rows = np.asarray(kernel @ features)
    gram = rows @ rows.T
    best, answer = np.inf, np.zeros(len(target))
    for penalty in RIDGE:
        inverse = np.linalg.inv(gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)))
        dual = inverse @ target
        error = float(np.sum((dual / np.diag(inverse)) ** 2))
        if error < best:
            best, answer = error, dual
    update: FloatArray = features @ (rows.T @ answer)
    return update


def _terms(node: Node, spike: str) -> tuple[Term, ...]:
    """Return the terms of a sum without their coefficients; none where it is no sum of terms."""
    try:
        parts = split_sum(canonical(node, TRACE_NAMES))
        terms = [Term(spike, _PLAIN.get(str(part), str(part))) for part in parts]
    except RuleError:
        return ()
    return tuple(dict.fromkeys(terms))


def split_sum(node: Node) -> list[Node]:
    """Return what is added up in an expression, each part without its coefficient.

    Examples
    --------
    >>> [str(part) for part in split_sum(parse("2*x_pre - x_post/3 + 0.5", ("x_pre", "x_post")))]
    ['x_pre', 'x_post', '1']
    """
    parts, stack = [], [node]
    while stack:
        part = stack.pop()
        if part.op in ("add", "sub"):
            stack += [part.args[1], part.args[0]]
        elif part.op == "neg":
            stack.append(part.args[0])
        elif (bare := _bare(part)).op in ("add", "sub"):
            stack.append(bare)  # it was a multiple of a sum
        else:
            parts.append(bare)
    return parts


def _bare(node: Node) -> Node:
    """Return a product without its numbers."""
    if node.op == "const":
        return Node("const", value=1.0)
    if node.op == "neg":
        return _bare(node.args[0])
    if node.op == "mul":
        left, right = (_bare(part) for part in node.args)
        if left.op == "const":
            return right
        return left if right.op == "const" else Node("mul", (left, right))
    if node.op == "div" and node.args[1].op == "const":
        return _bare(node.args[0])
    if node.op == "div":
        return Node("div", (_bare(node.args[0]), node.args[1]))
    return node

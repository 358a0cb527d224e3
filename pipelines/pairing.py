"""The stages of the task ``pairing``: the same files as those of other tasks, made from a table of protocols.

Nothing is simulated but two spike trains, so that each stage fits anew what it needs in place of reading all
of it from an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from typing import Any

from discover.errors import ArtefactError
from discover.forms import Baseline, FoldResult, FoldVerdict, MeasuredRule, Validated
from discover.intervals import Metric
from discover.pairing import TERMS, PairingFit, Ranked, Term, fit_rules
from discover.pairing.beside import compared, decisions, known_fits
from discover.pairing.candidates import candidates_for
from discover.pairing.evidence import HeldOut, Split, held_out, judge_left_out, split, without_rule
from discover.pairing.forms import (
    Draw,
    KnownFit,
    LeftOutParts,
    PairingCandidate,
    PairingComparison,
    PairingFront,
    PairingPath,
    PairingPoint,
    PairingValidation,
    Predictions,
    RankedRule,
    Sets,
    Size,
    Total,
    Tried,
)
from discover.pairing.grid import Bench, Form
from discover.pairing.known import SUPPRESSION, known_forms
from discover.pairing.path import l1_path
from discover.pairing.stored import read_split, split_to_arrays
from discover.pairing.terms import SLOT_OF
from discover.pareto import Provenance, Supported
from discover.progress import part
from discover.rule import Rule
from discover.search.engine import started
from discover.slots import get_slot
from discover.tasks.pairing import protocols_of
from pipelines import artefacts
from pipelines.stages import PYSR_FOLDER, Context, Outcome

__all__ = ["compare", "fit", "report", "search", "simulate", "validate"]

PAIR = "stdp-additive"
N_SHOWN = 20
N_FURTHER = 12
LEADING = 5


def simulate(context: Context) -> Outcome:
    """Read the protocols: ``trajectories.npz``."""
    settings = context.config.problems
    arrays = split_to_arrays(split(protocols_of(settings), settings, context.config.seed))
    path = context.folder / "trajectories.npz"
    return Outcome(lambda: artefacts.write_arrays(path, "protocols", arrays))


def fit(context: Context) -> Outcome:
    """Try all sets of a few terms, and walk the L1 path: ``path.json``."""
    parts, settings = read_split(context.folder), context.config.problems
    bench = _bench(parts, context)
    found = fit_rules(parts.fitted, settings, seed=context.seed, progress=context.progress)
    steps = l1_path(bench, TERMS, found.chosen)
    n = len(parts.fitted)
    points = [_point(one.rule, one.penalty, "path", n) for one in steps]
    chosen = next((k for k, one in enumerate(steps) if one.rule.form.key == found.chosen.form.key), None)
    if chosen is None:
        points.append(_point(found.chosen, points[-1].penalty if points else 0.0, "subsets", n))
        chosen = len(points) - 1
    content = PairingPath(
        task="pairing",
        points=tuple(points),
        chosen=chosen,
        reason="the best of the simplest sets of terms that predict protocols which were left out as well as "
        f"the best set, among all sets of up to {settings.most_terms}",
        restarts=(),
        term_stability=_by_slot(found.shares),
        pairing=Sets(
            n_terms=len(TERMS),
            sizes=tuple(
                Size(size, comb(len(TERMS), size), sum(len(one.terms) == size for one in found.ranked))
                for size in range(1, settings.most_terms + 1)
            ),
            ranked=tuple(
                RankedRule.of(one, rank=rank, n_terms=len(one.terms))
                for rank, one in enumerate(found.ranked, 1)
                if rank <= N_SHOWN or len(one.terms) == 2
            ),
            n_permutations=found.n_permutations,
            n_by_chance=found.n_by_chance,
            chance=found.chance,
            n_draws=found.n_draws,
            draws=tuple(
                Draw(tuple(sorted(str(term) for term in form)), n) for form, n in found.forms_of_draws[:10]
            ),
            supported=found.is_supported,
            text=_verdict_text(found),
        ),
    )
    return Outcome(lambda: artefacts.write_json(context.folder / "path.json", content))


def search(context: Context) -> Outcome:
    """Bend the best rules and let engines propose others: ``front.json`` and ``front.csv``."""
    config, parts = context.config, read_split(context.folder)
    settings, search = config.problems, config.search
    if not search.pysr.output_folder:
        folder = str(context.folder / PYSR_FOLDER)
        search = replace(search, pysr=replace(search.pysr, output_folder=folder))
    sets = context.read("path.json", PairingPath).pairing
    bench = _bench(parts, context)
    engines = started(config.engines, context.progress)
    once = replace(settings, n_permutations=0, n_draws=0)
    found = fit_rules(parts.fitted, once, seed=context.seed, progress=part(context.progress, 0.0, 0.1))
    made = candidates_for(
        bench, found, settings, engines, search, context.seed, part(context.progress, 0.1, 1.0)
    )
    n = len(parts.fitted)
    rows = sorted(made.every, key=lambda one: (_cost(one.ranked), one.ranked.left_out_chi2, str(one.ranked)))
    names = {id(one): f"c{number:02d}" for number, one in enumerate(rows)}
    best, entries = float("inf"), []
    for one in rows:
        ranked = one.ranked
        on_front = ranked.left_out_chi2 < best
        best = min(best, ranked.left_out_chi2)
        squares = ((bench.changes - ranked.predicted) / bench.errors) ** 2
        entries.append(
            PairingCandidate(
                id=names[id(one)],
                rule=ranked.rule,
                complexity=_cost(ranked),
                train_loss=ranked.chi2 / n,
                heldout_loss=ranked.left_out_chi2 / n,
                heldout_error=float(squares.std(ddof=1) / n**0.5),
                provenance=Provenance(tuple(one.proposed_by), "least squares"),
                on_front=on_front,
                form=ranked.form,
                pairing=Predictions.of(
                    ranked,
                    fitted=ranked.fitted,
                    predicted=ranked.predicted,
                    same=tuple(str(other) for other in one.same),
                    at_edge=_at_edge(ranked, settings.values),
                ),
            )
        )
    chosen = names[id(made.chosen)]
    front = PairingFront(
        task="pairing",
        engines=tuple(engine.name for engine in engines),
        candidates=tuple(entries),
        chosen_id=chosen,
        selector="paired",
        reason=_reason(made.chosen.ranked, n),
        pairing=Tried(n_tried=made.n_tried, verdict=Supported(chosen, sets.supported, sets.text)),
    )
    columns = ("id", "complexity", "train_loss", "heldout_loss", "on_front")
    table = [
        {**{name: getattr(entry, name) for name in columns}, "rule": str(entry.rule)} for entry in entries
    ]

    def write() -> None:
        artefacts.write_json(context.folder / "front.json", front)
        artefacts.write_csv(context.folder / "front.csv", table)

    return Outcome(write, engine=front.engines)


def validate(context: Context) -> Outcome:
    """Leave out protocols by themselves, by frequency, by lag and by group: ``validation.json``."""
    parts, forms = read_split(context.folder), _forms(context)
    shown = _forms(context, on_front=True)
    bench = _bench(parts, context)
    known = known_forms(bench)
    tables = {**{name: bench.table(form) for name, form in forms.items()}, **known}
    candidates, totals, held = {}, {}, {}
    for number, (name, table) in enumerate(tables.items()):
        context.progress(number / len(tables), f"rule {number + 1} of {len(tables)}")
        rows = []
        if name in shown or name in known:
            folds, ways = judge_left_out(bench, table)
            totals[name] = {way: Total(chi2, r2) for way, (chi2, r2) in ways.items()}
            rows = [_fold(f"{one.way}: {one.name}", one.name, one.n, one.chi2, one.verdict) for one in folds]
        if parts.predicted and name != SUPPRESSION.origin:
            judged = bench.judged(table)
            if judged is not None:
                held[name], further = _held(judged, parts, context.config.problems)
                rows += further
        if name in shown or name in known:
            passed = all(row.passed for row in rows if row.verdict != "undecided")
            candidates[name] = Validated(folds=tuple(rows), passed=passed)
    content = PairingValidation(
        task="pairing", reference=PAIR, candidates=candidates, pairing=LeftOutParts(totals, held)
    )
    return Outcome(lambda: artefacts.write_json(context.folder / "validation.json", content))


def compare(context: Context) -> Outcome:
    """Set candidates beside known rules, and say what would tell them apart: ``comparison.json``."""
    parts, settings = read_split(context.folder), context.config.problems
    bench = _bench(parts, context)
    front = context.read("front.json", PairingFront)
    forms = _forms(context)
    ranked = {name: one for name, form in forms.items() if (one := bench.judged(form)) is not None}
    chosen = front.chosen_id
    if chosen not in ranked:
        raise ArtefactError(
            f"{context.folder / 'front.json'} was edited: its rules do not fit its protocols."
        )
    context.progress(0.3, "known rules")
    known = known_fits(bench)
    context.progress(0.6, "what would tell the leading rules apart")
    content = PairingComparison(
        task="pairing",
        candidates={name: compared(ranked[name], bench) for name in ranked},
        baseline=_baseline(front, ranked[chosen], bench, known),
        pairing=decisions(known, ranked, chosen, bench, LEADING, N_FURTHER, settings.tie),
    )
    return Outcome(lambda: artefacts.write_json(context.folder / "comparison.json", content))


def report(context: Context) -> Outcome:
    """Draw the figures and write the report: ``report.html`` and ``figures/``."""
    from discover.report.pairing import write_pairing_report

    return Outcome(lambda: write_pairing_report(context.folder))


# --------------------------------------------------------------------------------------------------- contents


def _bench(parts: Split, context: Context) -> Bench:

    settings = context.config.problems
    return Bench(parts.fitted, settings.values, settings.tie)


def _front(context: Context) -> PairingFront:

    return context.read("front.json", PairingFront)


def _forms(context: Context, on_front: bool = False) -> dict[str, Form]:
    """Return the forms of the candidates, or of those on the front and the chosen one."""
    front = context.read("front.json", PairingFront)
    return {
        one.id: one.form
        for one in front.candidates
        if not on_front or one.on_front or one.id == front.chosen_id
    }


def _cost(ranked: Ranked) -> int | float:
    """Complexity without time constants, which all rules have alike."""
    return Rule(
        {slot: node for slot, node in ranked.rule.expressions.items() if not get_slot(slot).is_constant}
    ).complexity


def _point(one: Ranked, penalty: float, origin: str, n: int) -> PairingPoint:

    values = dict(zip(one.terms, one.coefficients.tolist(), strict=True))
    return PairingPoint(penalty, _by_slot(values), one.chi2 / n, one.left_out_chi2 / n, origin=origin)


def _by_slot(values: Mapping[Term, float]) -> dict[str, dict[str, float]]:

    found: dict[str, dict[str, float]] = {}
    for term, value in values.items():
        found.setdefault(SLOT_OF[term.spike], {})[term.text] = value
    return found


def _verdict_text(found: PairingFit) -> str:
    n = len(found.protocols)
    best = found.ranked[0]
    power = (
        f"The best of {len(found.ranked)} sets of terms predicts protocols that were left out with a chi² of "
        f"{best.left_out_chi2:.3g} for {n} and explains {best.left_out_r2:.2f} of their variance"
    )
    if found.chance is None:
        chance = "; the changes were not permuted to see what chance finds"
    else:
        chance = (
            f"; with the changes permuted among the protocols {found.n_by_chance} of {found.n_permutations} "
            "times one predicts as well"
        )
        if found.is_open:
            chance += f" ({found.n_permutations} permutations are too few to say more)"
    answer = "The data support a rule." if found.is_supported else "The data support no rule."
    return f"{answer} {power}{chance}."


def _reason(chosen: Ranked, n: int) -> str:
    if chosen.left_out_chi2 <= n:
        return (
            "the best of the simplest rules that predict protocols which were left out within their standard "
            f"errors: chi² {chosen.left_out_chi2:.3g} for {n} protocols"
        )
    return (
        "the best of the simplest rules whose squared errors on protocols that were left out are within a "
        f"standard error of the lowest: chi² {chosen.left_out_chi2:.3g} for {n} protocols"
    )


def _at_edge(ranked: Ranked, values: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Return the traces whose time constants are the shortest or longest that were tried."""
    tried = dict(zip(dict(ranked.traces.items()), values, strict=True))
    return tuple(
        name
        for name, tau in ranked.traces.items()
        if name in ranked.form.uses and len(tried[name]) > 1 and tau in (tried[name][0], tried[name][-1])
    )


def _fold(name: str, title: str, n: int, chi2: float, verdict: FoldVerdict, reason: str = "") -> FoldResult:

    if verdict == "failed":
        plural = "s" if n > 1 else ""
        failed = f"a chi² of {chi2:.3g} for {n} protocol{plural} is more than errors of measurement explain"
        reason = f"{failed}; {reason}" if reason else failed
    return FoldResult(
        name=name,
        title=title,
        metrics={"loss": Metric(chi2 / n if n else None, None, None)},
        passed=verdict == "passed",
        verdict=verdict,
        reason=reason,
        n_problems=n,
    )


def _held(rule: Ranked, parts: Split, settings: Any) -> tuple[HeldOut, list[FoldResult]]:
    """Return predictions of protocols that rules were not fitted to, in both orders, and folds by group."""
    found = held_out(rule, parts.predicted, settings.hold_out, settings.tie)
    folds = [
        _fold(f"held out: {one.name}", one.name, one.n, one.chi2, one.verdict, one.reason)
        for one in found.groups
    ]
    return found, folds


def _baseline(front: PairingFront, chosen: Ranked, bench: Bench, known: Sequence[KnownFit]) -> Baseline:
    """Return the chosen rule beside the pair rule and no rule at all, and whether data support it."""
    pair = next(one for one in known if one.name == PAIR)
    rows = {
        "no rule, the mean change": (None, *without_rule(bench)),
        "rule of pairs": (pair.rule, pair.left_out_chi2, pair.left_out_r2),
        "chosen rule": (chosen.rule, chosen.left_out_chi2, chosen.left_out_r2),
    }
    return Baseline(
        rows=tuple(
            MeasuredRule(
                name,
                rule,
                {"left_out_chi2": Metric(chi2, None, None), "left_out_r2": Metric(r2, None, None)},
            )
            for name, (rule, chi2, r2) in rows.items()
        ),
        on="on protocols left out one by one",
        beaten_by=(front.chosen_id,) if front.pairing.verdict.supported else (),
        text="Chi² is the sum of squared errors over squared standard errors, of "
        f"{len(bench.changes)} protocols.",
    )

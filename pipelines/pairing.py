"""The stages of the task ``pairing``: the same files as those of other tasks, made from a table of protocols.

Nothing is simulated but two spike trains, so that each stage fits anew what it needs in place of reading all
of it from an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.errors import ArtefactError
from discover.fit.result import FitResult
from discover.pareto import ParetoFront
from pipelines import artefacts

if TYPE_CHECKING:
    from discover.pairing import PairingFit, Ranked, Term
    from discover.pairing.evidence import Split
    from discover.pairing.grid import Bench, Form
    from pipelines.stages import Context, Outcome

__all__ = ["compare", "fit", "report", "search", "simulate", "validate"]

PAIR = "stdp-additive"
N_SHOWN = 20
N_FURTHER = 12
LEADING = 5


def simulate(context: Context) -> Outcome:
    """Read the protocols: ``trajectories.npz``."""
    from discover.pairing.evidence import split
    from discover.pairing.stored import split_to_arrays
    from discover.tasks.pairing import protocols_of
    from pipelines.stages import Outcome

    settings = context.config.problems
    arrays = split_to_arrays(split(protocols_of(settings), settings, context.config.seed))
    path = context.folder / "trajectories.npz"
    return Outcome(lambda: artefacts.write_arrays(path, "protocols", arrays))


def fit(context: Context) -> Outcome:
    """Try all sets of a few terms, and walk the L1 path: ``path.json``."""
    from discover.pairing import TERMS, fit_rules
    from discover.pairing.path import l1_path
    from discover.pairing.stored import ranked_to_json
    from pipelines.stages import Outcome

    parts, settings = _protocols(context.folder), context.config.problems
    bench = _bench(parts, context)
    found = fit_rules(parts.fitted, settings, seed=context.seed, progress=context.progress)
    steps = l1_path(bench, TERMS, found.chosen)
    n = len(parts.fitted)
    points = [_point(one.rule, one.penalty, "path", n) for one in steps]
    chosen = next((k for k, one in enumerate(steps) if one.rule.form.key == found.chosen.form.key), None)
    if chosen is None:
        points.append(_point(found.chosen, points[-1]["penalty"] if points else 0.0, "subsets", n))
        chosen = len(points) - 1
    content = {
        "task": "pairing",
        "points": points,
        "chosen": chosen,
        "reason": "the best of the simplest sets of terms that predict protocols which were left out as well "
        "as the best set, among all sets of up to " + str(settings.most_terms),
        "restarts": [],
        "term_stability": _by_slot(found.shares),
        "pairing": {
            "n_terms": len(TERMS),
            "sizes": [
                {
                    "n_terms": size,
                    "n_sets": comb(len(TERMS), size),
                    "n_told_apart": sum(len(one.terms) == size for one in found.ranked),
                }
                for size in range(1, settings.most_terms + 1)
            ],
            "ranked": [
                {"rank": rank, "n_terms": len(one.terms), **ranked_to_json(one)}
                for rank, one in enumerate(found.ranked, 1)
                if rank <= N_SHOWN or len(one.terms) == 2
            ],
            "n_permutations": found.n_permutations,
            "n_by_chance": found.n_by_chance,
            "chance": found.chance,
            "n_draws": found.n_draws,
            "draws": [
                {"terms": sorted(str(term) for term in form), "n": n} for form, n in found.forms_of_draws[:10]
            ],
            "supported": found.is_supported,
            "text": _verdict_text(found),
        },
    }
    path = context.folder / "path.json"
    return Outcome(lambda: artefacts.write_json(path, FitResult, content))


def search(context: Context) -> Outcome:
    """Bend the best rules and let engines propose others: ``front.json`` and ``front.csv``."""
    from dataclasses import replace

    from discover.pairing import fit_rules
    from discover.pairing.candidates import candidates_for
    from discover.pairing.stored import form_to_json, ranked_to_json
    from discover.progress import part
    from discover.search.engine import started
    from pipelines.stages import PYSR_FOLDER, Outcome

    config, parts = context.config, _protocols(context.folder)
    settings, search = config.problems, config.search
    if not search.pysr.output_folder:
        folder = str(context.folder / PYSR_FOLDER)
        search = replace(search, pysr=replace(search.pysr, output_folder=folder))
    path = context.read("path.json", FitResult)
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
            {
                "id": names[id(one)],
                "slots": ranked.rule.to_dict(),
                "complexity": _cost(ranked),
                "train_loss": ranked.chi2 / n,
                "heldout_loss": ranked.left_out_chi2 / n,
                "heldout_error": float(squares.std(ddof=1) / n**0.5),
                "provenance": {"proposed_by": one.proposed_by, "refined_by": "least squares"},
                "on_front": on_front,
                "form": form_to_json(ranked.form),
                "pairing": {
                    **ranked_to_json(ranked),
                    "fitted": ranked.fitted,
                    "predicted": ranked.predicted,
                    "same": [str(other) for other in one.same],
                    "at_edge": _at_edge(ranked, settings.values),
                },
            }
        )
    chosen = names[id(made.chosen)]
    engine_names = [engine.name for engine in engines]
    content = {
        "task": "pairing",
        "engine": engine_names,
        "candidates": entries,
        "chosen": chosen,
        "selector": "paired",
        "reason": _reason(made.chosen.ranked, n),
        "pairing": {
            "n_tried": made.n_tried,
            "verdict": {
                "candidate": chosen,
                "supported": path["pairing"]["supported"],
                "text": path["pairing"]["text"],
            },
        },
    }
    columns = ("id", "complexity", "train_loss", "heldout_loss", "on_front")
    table = [
        {**{name: entry[name] for name in columns}, "rule": str(one.ranked.rule)}
        for entry, one in zip(entries, rows, strict=True)
    ]

    def write() -> None:
        artefacts.write_json(context.folder / "front.json", ParetoFront, content)
        artefacts.write_csv(context.folder / "front.csv", table)

    return Outcome(write, engine=engine_names)


def validate(context: Context) -> Outcome:
    """Leave out protocols by themselves, by frequency, by lag and by group: ``validation.json``."""
    from discover.pairing.evidence import judge_left_out
    from discover.pairing.known import SUPPRESSION, known_forms
    from pipelines.stages import Outcome

    parts, forms = _protocols(context.folder), _forms(context)
    shown = _forms(context, on_front=True)
    bench = _bench(parts, context)
    known = known_forms(bench)
    tables = {**{name: bench.table(form) for name, form in forms.items()}, **known}
    candidates, totals, held = {}, {}, {}
    for number, (name, table) in enumerate(tables.items()):
        context.progress(number / len(tables), f"rule {number + 1} of {len(tables)}")
        rows = []
        if name in shown or name in known:
            folds, totals[name] = judge_left_out(bench, table)
            rows = [_fold(f"{one.way}: {one.name}", one.name, one.n, one.chi2, one.verdict) for one in folds]
        if parts.predicted and name != SUPPRESSION.origin:
            judged = bench.judged(table)
            if judged is not None:
                held[name], further = _held(judged, parts, context.config.problems)
                rows += further
        if name in shown or name in known:
            decided = [row for row in rows if row["verdict"] != "undecided"]
            candidates[name] = {"folds": rows, "passed": all(row["passed"] for row in decided)}
    content = {
        "task": "pairing",
        "reference": PAIR,
        "candidates": candidates,
        "pairing": {
            "totals": {
                name: {way: {"chi2": chi2, "r2": r2} for way, (chi2, r2) in one.items()}
                for name, one in totals.items()
            },
            "held": held,
        },
    }
    path = context.folder / "validation.json"
    return Outcome(lambda: artefacts.write_json(path, artefacts.Validation, content))


def compare(context: Context) -> Outcome:
    """Set candidates beside known rules, and say what would tell them apart: ``comparison.json``."""
    from discover.pairing.beside import compared, decision_content, known_content
    from pipelines.stages import Outcome

    parts, settings = _protocols(context.folder), context.config.problems
    bench = _bench(parts, context)
    front = context.read("front.json", ParetoFront)
    forms = _forms(context)
    ranked = {name: one for name, form in forms.items() if (one := bench.judged(form)) is not None}
    chosen = front["chosen"]
    if chosen not in ranked:
        raise ArtefactError(
            f"{context.folder / 'front.json'} was edited: its rules do not fit its protocols."
        )
    context.progress(0.3, "known rules")
    known = known_content(bench)
    context.progress(0.6, "what would tell the leading rules apart")
    content = {
        "task": "pairing",
        "candidates": {name: compared(ranked[name], bench) for name in ranked},
        "baseline": _baseline(front, ranked[chosen], bench, known),
        "pairing": {
            "known": known,
            **decision_content(ranked, chosen, bench, LEADING, N_FURTHER, settings.tie),
        },
    }
    written = context.folder / "comparison.json"
    return Outcome(lambda: artefacts.write_json(written, artefacts.Comparison, content))


def report(context: Context) -> Outcome:
    """Draw the figures and write the report: ``report.html`` and ``figures/``."""
    from discover.report.pairing import write_pairing_report
    from pipelines.stages import Outcome

    return Outcome(lambda: write_pairing_report(context.folder))


# --------------------------------------------------------------------------------------------------- contents


def _protocols(folder: Path) -> Split:
    from discover.pairing.stored import split_from_arrays

    path = folder / "trajectories.npz"
    remedy = f"Make it anew: `discover simulate {folder} --fresh`."
    try:
        return split_from_arrays(artefacts.read_arrays(path, "protocols", remedy=remedy))
    except ArtefactError as error:
        raise ArtefactError(f"{path} is truncated or was edited: {error}. {remedy}") from None


def _bench(parts: Split, context: Context) -> Bench:
    from discover.pairing.grid import Bench

    settings = context.config.problems
    return Bench(parts.fitted, settings.values, settings.tie)


def _forms(context: Context, on_front: bool = False) -> dict[str, Form]:
    """Return the forms of the candidates, or of those on the front and the chosen one."""
    from discover.pairing.stored import form_from_json

    front = context.read("front.json", ParetoFront)
    try:
        return {
            one["id"]: form_from_json(one.get("form"))
            for one in front["candidates"]
            if not on_front or one["on_front"] or one["id"] == front["chosen"]
        }
    except ArtefactError as error:
        raise ArtefactError(f"{context.folder / 'front.json'} was edited: {error}.") from None


def _cost(ranked: Ranked) -> int | float:
    """Complexity without time constants, which all rules have alike."""
    from discover.rule import Rule
    from discover.slots import get_slot

    return Rule(
        {slot: node for slot, node in ranked.rule.expressions.items() if not get_slot(slot).is_constant}
    ).complexity


def _point(one: Ranked, penalty: float, origin: str, n: int) -> dict[str, Any]:
    values = dict(zip(one.terms, one.coefficients.tolist(), strict=True))
    return {
        "penalty": penalty,
        "coefficients": _by_slot(values),
        "n_terms": len(one.terms),
        "train_loss": one.chi2 / n,
        "heldout_loss": one.left_out_chi2 / n,
        "origin": origin,
    }


def _by_slot(values: Mapping[Term, float]) -> dict[str, dict[str, float]]:
    from discover.pairing.terms import SLOT_OF

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


def _at_edge(ranked: Ranked, values: Sequence[Sequence[float]]) -> list[str]:
    """Return the traces whose time constants are the shortest or longest that were tried."""
    tried = dict(zip(dict(ranked.traces.items()), values, strict=True))
    return [
        name
        for name, tau in ranked.traces.items()
        if name in ranked.form.uses and len(tried[name]) > 1 and tau in (tried[name][0], tried[name][-1])
    ]


def _fold(name: str, title: str, n: int, chi2: float, verdict: str, reason: str = "") -> dict[str, Any]:
    metric = {"mean": chi2 / n if n else None, "low": None, "high": None}
    if verdict == "failed":
        plural = "s" if n > 1 else ""
        failed = f"a chi² of {chi2:.3g} for {n} protocol{plural} is more than errors of measurement explain"
        reason = f"{failed}; {reason}" if reason else failed
    return {
        "name": name,
        "title": title,
        "metrics": {"loss": metric},
        "passed": verdict == "passed",
        "verdict": verdict,
        "reason": reason,
        "n_problems": n,
    }


def _held(rule: Ranked, parts: Split, settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return predictions of protocols that rules were not fitted to, in both orders, and folds by group."""
    from discover.pairing.evidence import held_out

    found = held_out(rule, parts.predicted, settings.hold_out, settings.tie)
    folds = [
        _fold(f"held out: {one.name}", one.name, one.n, one.chi2, one.verdict, one.reason)
        for one in found.groups
    ]
    content = {
        "changes": found.changes,
        "other_order": found.other_order,
        "undecided": found.undecided.tolist(),
        "groups": [
            {
                "name": one.name,
                "n": one.n,
                "n_open": one.n_open,
                "chi2": one.chi2,
                "r2": one.r2,
                "reason": one.reason,
            }
            for one in found.groups
        ],
    }
    return content, folds


def _baseline(
    front: Mapping[str, Any], chosen: Ranked, bench: Bench, known: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the chosen rule beside the pair rule and no rule at all, and whether data support it."""
    from discover.pairing.evidence import without_rule

    def metrics(chi2: float, r2: float) -> dict[str, Any]:
        values = {"left_out_chi2": chi2, "left_out_r2": r2}
        return {name: {"mean": value, "low": None, "high": None} for name, value in values.items()}

    verdict = front["pairing"]["verdict"]
    pair = next(one for one in known if one["name"] == PAIR)
    rows = [
        {"name": "no rule, the mean change", "slots": {}, "metrics": metrics(*without_rule(bench))},
        {
            "name": "rule of pairs",
            "slots": pair["slots"],
            "metrics": metrics(pair["left_out_chi2"], pair["left_out_r2"]),
        },
        {
            "name": "chosen rule",
            "slots": chosen.rule.to_dict(),
            "metrics": metrics(chosen.left_out_chi2, chosen.left_out_r2),
        },
    ]
    return {
        "rows": rows,
        "on": "on protocols left out one by one",
        "beaten_by": [front["chosen"]] if verdict["supported"] else [],
        "text": "Chi² is the sum of squared errors over squared standard errors, of "
        f"{len(bench.changes)} protocols.",
    }

"""Forms beyond products of traces: fits on a grid, the weight, known rules, engines, what would decide."""

from __future__ import annotations

from dataclasses import replace

import naive_pairing
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discover.errors import ArtefactError, ConfigError, RuleError
from discover.pairing import Form, PairingSettings, Protocol, Term, Traces, fit_rules, shipped_protocols
from discover.pairing.candidates import candidates_for
from discover.pairing.evidence import (
    SAME_INSTANT,
    deciding_protocols,
    held_out,
    judge_left_out,
    leading_rules,
    possible_protocols,
    split,
)
from discover.pairing.grid import Bench
from discover.pairing.known import KNOWN_FORMS, SUPPRESSION_MS, known_forms, suppressed
from discover.pairing.path import l1_path
from discover.pairing.protocols import burst_times
from discover.pairing.recovery import LAWS, protocol_sets, recover_laws
from discover.pairing.rules import weights_by
from discover.pairing.stored import split_from_arrays, split_to_arrays
from discover.pairing.symbolic import proposed, split_sum, variants
from discover.pairing.terms import TERMS
from discover.rule import Rule
from discover.search.engine import Proposal, Samples, get_engine
from discover.search.settings import SearchSettings
from sims.pairing import fit_on_grid, follow_weights

ONCE = PairingSettings(n_permutations=0, n_draws=0)
times = st.lists(st.floats(0, 300).map(lambda t: round(t, 1)), min_size=1, max_size=10, unique=True)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(shipped_protocols(), ONCE.values)


def protocol(pre: list[float], post: list[float], change: float = 0.1, **more: object) -> Protocol:
    return Protocol("by hand", np.array(pre), np.array(post), change, 0.1, **more)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- fits


@given(seed=st.integers(0, 10_000), n_terms=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_fits_on_a_grid_are_those_of_the_naive_twin(seed: int, n_terms: int) -> None:
    rng = np.random.default_rng(seed)
    rows, targets = rng.normal(size=(4, 8, n_terms)), rng.normal(size=8)
    folds = np.array([0, 1, 2, 3, 3, 4, 4, 4])
    found = fit_on_grid(rows, targets, folds)
    place, coefficients, left = naive_pairing.best_fit(rows, targets, [True] * 8)
    assert found.best == place
    np.testing.assert_allclose(found.coefficients[place], coefficients, rtol=1e-6, atol=1e-9)
    assert found.sums[place] == pytest.approx(left, rel=1e-6)
    for fold in range(5):
        place, coefficients, _ = naive_pairing.best_fit(rows, targets, (folds != fold).tolist())
        assert found.places[fold] == place
        np.testing.assert_allclose(
            found.predicted[folds == fold], rows[place][folds == fold] @ coefficients, rtol=1e-6, atol=1e-8
        )


def test_terms_that_rows_do_not_tell_apart_are_not_fitted_together() -> None:
    rows = np.ones((1, 5, 2)) * np.arange(1.0, 6.0)[None, :, None]
    assert not fit_on_grid(rows, np.arange(5.0), np.arange(5)).is_sound


def test_a_term_of_one_fold_alone_is_not_fitted_without_it() -> None:
    """What is left of it when its rows are taken away again is rounding, and no term."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        rows = rng.normal(size=(2, 6, 2))
        rows[:, 1:, 1] = 0.0
        found = fit_on_grid(rows, rng.normal(size=6), np.arange(6))
        assert found.is_sound
        assert found.places[0] == -1
        assert (found.places[1:] >= 0).all()
    alone = [*shipped_protocols(), protocol([0.0], [-10.0, 10.0, 20.0])]
    triplets = Bench(alone, ONCE.values)
    only_there = Form((Term("pre", "x_post"), Term("post", "x_pre*slow_post")))
    assert triplets.judged(only_there) is not None
    few = Bench([protocol([0.0], [k + 5.0]) for k in range(5)] + alone[-1:], ONCE.values)
    assert few.judged(only_there) is None


@given(pre=times, post=times, power=st.sampled_from([0.0, 0.4, 1.0]), room=st.sampled_from([0.0, 0.5, 1.0]),
       pre_first=st.booleans())  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_weights_that_terms_see_are_those_of_the_naive_twin(
    pre: list[float], post: list[float], power: float, room: float, pre_first: bool
) -> None:
    made = protocol(pre, post)
    tie = "pre first" if pre_first else "post first"
    form = Form((Term("pre", "x_post", power=power), Term("post", "x_pre", room=room)), (2.0,))
    table = Bench([made], [(17.0,), (100.0,), (33.0,), (100.0,)], tie).table(form)
    changes, slopes = table.follow(np.array([[-0.2, 0.3]]))
    expected = naive_pairing.final_weight(
        pre, post, (17.0, 33.0), (-0.2, power), (0.3, 0.0, room), 2.0, pre_first
    )
    assert changes[0, 0] == pytest.approx(expected - 1.0, rel=1e-9, abs=1e-12)
    if 0.01 < expected < 1.9:
        step = 1e-6
        for number in range(2):
            moved = np.array([[-0.2, 0.3]])
            moved[0, number] += step
            difference = (table.follow(moved)[0][0, 0] - changes[0, 0]) / step
            assert slopes[0, 0, number] == pytest.approx(difference, rel=1e-2, abs=1e-3)


def test_a_weight_stays_within_its_bounds() -> None:
    values = np.full((1, 50, 1), 1.0)
    starts = np.array([0, 50])
    zero, bound = np.zeros((1, 1)), np.array([2.0])
    assert follow_weights(values, starts, zero, zero, bound, np.array([[1.0]]))[0][0, 0] == 1.0
    assert follow_weights(values, starts, zero, zero, bound, np.array([[-1.0]]))[0][0, 0] == -1.0


@given(pre=times, post=times)
@settings(max_examples=30, deadline=None)
def test_the_suppression_model_is_that_of_the_naive_twin(pre: list[float], post: list[float]) -> None:
    pre, post = sorted(pre), sorted(post)
    table = suppressed((protocol(pre, post),), (20.0,), (30.0,))
    for place, recovery in enumerate((a, b) for a in SUPPRESSION_MS for b in SUPPRESSION_MS):
        expected = naive_pairing.suppression(pre, post, (20.0, 30.0), recovery)
        np.testing.assert_allclose(table.sums[place, 0], expected, rtol=1e-9, atol=1e-12)


def test_constants_of_rules_that_see_the_weight_are_found_again() -> None:
    protocols = shipped_protocols()
    taus = [(20.0,), (100.0,), (14.0,), (100.0,)]
    form = KNOWN_FORMS["stdp-multiplicative"]
    made = Bench(protocols, taus).table(form).changes(np.array([[-0.01, 0.015]]))[0]
    drawn = [replace(one, change=float(value)) for one, value in zip(protocols, made, strict=True)]
    found = Bench(drawn, taus).judged(form)
    assert found is not None
    np.testing.assert_allclose(found.coefficients, [-0.01, 0.015], rtol=1e-5)
    np.testing.assert_allclose(found.predicted, made, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([w[-1] - 1 for w in weights_by(found.rule, protocols)], made, rtol=1e-6)


def test_what_a_rule_predicts_is_what_its_text_makes_of_the_spikes(bench: Bench) -> None:
    """Fitted forms, their rules as text, and the event by event calculation agree."""
    for form in (
        KNOWN_FORMS["stdp-triplet"],
        KNOWN_FORMS["stdp-guetig"],
        Form((Term("pre", "x_post/(0.5 + x_post)"), Term("post", "max(x_pre*slow_post - 0.2, 0)"))),
    ):
        one = bench.judged(form)
        assert one is not None
        again = Rule.parse(one.rule.to_dict())
        ends = [weights[-1] - 1.0 for weights in weights_by(again, bench.protocols)]
        np.testing.assert_allclose(ends, one.fitted, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(one.changes(bench.protocols), one.fitted, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------------------ known rules


def test_of_the_known_rules_the_triplet_rule_alone_predicts_the_published_changes(bench: Bench) -> None:
    found = {name: bench.judged(table) for name, table in known_forms(bench).items()}
    chi2 = {name: one.left_out_chi2 for name, one in found.items() if one is not None}
    assert set(chi2) == {*KNOWN_FORMS, "stdp-suppression"}
    assert (
        chi2["stdp-triplet"] < 10 < 70 < min(value for name, value in chi2.items() if name != "stdp-triplet")
    )
    constants = {name: one.n_constants for name, one in found.items() if one is not None}
    assert constants["stdp-additive"] == 4
    assert constants["stdp-guetig"] == constants["stdp-suppression"] == 6


# ---------------------------------------------------------------------------------------------------- engines


class _Recorded:
    """An engine that cannot use equations: it takes samples at every spike and gives what it was told."""

    name = "operon"

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.seen = texts, []  # type: ignore[var-annotated]

    def propose(self, samples: Samples, *_: object) -> list[Proposal]:
        from discover.expression import parse

        self.seen.append(samples)
        return [Proposal(parse(text, samples.variables), 0.0, self.name) for text in self.texts]


def test_engines_get_what_they_can_use_and_their_forms_are_fitted_anew(bench: Bench) -> None:
    leading = fit_rules(bench.protocols, ONCE).ranked[:1]
    engine = _Recorded(["2.5*x_pre*slow_post - 7", "tanh(3*x_post)", "x_pre + x_post + slow_pre + slow_post"])
    found = proposed(bench, leading, [engine], SearchSettings(), 3, 0)  # type: ignore[list-item]
    assert all(samples.kernel is None and samples.n_rows >= 20 for samples in engine.seen)
    forms = {frozenset(map(str, form.terms)) for form in found}
    assert frozenset({"x_post at a presynaptic spike", "x_pre*slow_post at a postsynaptic spike",
                      "1 at a postsynaptic spike"}) in forms  # fmt: skip
    assert not any(len(form.terms) > 3 for form in found)
    assert all(names == ["operon"] for names in found.values())


def test_the_terms_engine_sees_protocols_as_equations(bench: Bench) -> None:
    leading = fit_rules(bench.protocols, ONCE).ranked[:1]
    found = proposed(bench, leading, [get_engine("terms")], SearchSettings(max_nodes=9), 3, 0)
    keys = {form.key for form in found}
    assert frozenset({Term("pre", "x_post"), Term("post", "x_pre*slow_post")}) in keys


def test_bent_forms_have_saturation_thresholds_and_the_weight(bench: Bench) -> None:
    leading = fit_rules(bench.protocols, ONCE).ranked[:1]
    names = {term.name for form in variants(leading) for term in form.terms}
    assert {"x_post/(0.5 + x_post)", "max(x_post - 0.5, 0)", "x_post*w", "x_post*(1 - w/b)"} <= names


def test_the_simplest_form_within_the_errors_is_chosen(bench: Bench) -> None:
    found = fit_rules(bench.protocols, ONCE)
    made = candidates_for(bench, found, ONCE, [get_engine("terms")], SearchSettings(max_nodes=9), 0)
    assert made.chosen.ranked.form.key == {Term("pre", "x_post"), Term("post", "x_pre*slow_post")}
    better = [one for one in made.every if one.ranked.left_out_chi2 < made.chosen.ranked.left_out_chi2]
    assert better  # bent ones; all of these are longer
    assert all(one.ranked.form.size > made.chosen.ranked.form.size for one in better)
    assert "terms" in made.chosen.proposed_by


def test_sums_are_split_into_terms_without_numbers() -> None:
    from discover.expression import parse

    names = ("x_pre", "x_post")
    parts = split_sum(parse("3*(x_pre - 2)/4 - tanh(2*x_post)*5 + x_pre/(1 + x_post)", names))
    assert [str(part) for part in parts] == ["x_pre", "1", "tanh(2*x_post)", "x_pre/(1 + x_post)"]


def test_terms_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="at a pre or a post spike"):
        Term("both", "x_pre")
    with pytest.raises(RuleError, match="x_pre"):
        Term("pre", "y_post")


# ------------------------------------------------------------------------------------- left out, and deciding


def test_a_frequency_and_a_lag_are_left_out_together(bench: Bench) -> None:
    parts, totals = judge_left_out(bench, KNOWN_FORMS["stdp-triplet"])
    assert set(totals) == {"protocol", "frequency", "lag"}
    assert [one.name for one in parts if one.way == "lag"] == ["+10 ms", "-10 ms"]
    # One frequency left out by hand.
    kept = [one for one in bench.protocols if one.frequency_hz != 40]
    out = [one for one in bench.protocols if one.frequency_hz == 40]
    fitted = Bench(kept, ONCE.values).judged(KNOWN_FORMS["stdp-triplet"])
    assert fitted is not None
    residuals = (fitted.changes(out) - [one.change for one in out]) / [one.error for one in out]
    chi2 = next(one.chi2 for one in parts if (one.way, one.name) == ("frequency", "40 Hz"))
    assert chi2 == pytest.approx(float(np.sum(residuals**2)), rel=1e-6)


def test_groups_are_held_out_and_ties_shown_in_both_orders() -> None:
    parts = split(shipped_protocols(further=True), replace(ONCE, hold_out=("lag 25 ms",)))
    assert (len(parts.fitted), len(parts.predicted)) == (10, 7)
    rule = fit_rules(parts.fitted, ONCE).chosen
    found = held_out(rule, parts.predicted, ("lag 25 ms",))
    assert found.undecided == (True,) * 5 + (False,) * 2
    assert found.changes[1] > 0 > found.other_order[1]  # potentiation or depression, as the order has it
    groups = {one.name: one for one in found.groups}
    assert "no trace rule decides" in groups[SAME_INSTANT].reason
    assert (groups[SAME_INSTANT].n, groups[SAME_INSTANT].n_open) == (0, 5)
    assert groups[SAME_INSTANT].verdict == "undecided"
    assert (groups["lag 25 ms"].n, groups["lag 25 ms"].n_open) == (2, 0)
    assert groups["lag 25 ms"].verdict == "failed"
    # One protocol that no rule decides does not spoil the numbers of a group.
    mixed = tuple(replace(one, group="cortex") for one in parts.predicted)
    (together,) = held_out(rule, mixed, ("cortex",)).groups
    assert (together.n, together.n_open) == (2, 5)
    assert together.chi2 == pytest.approx(groups["lag 25 ms"].chi2)
    assert together.r2 == pytest.approx(groups["lag 25 ms"].r2)
    with pytest.raises(ConfigError, match="no protocol is of the group 'lag 5 ms'"):
        split(shipped_protocols(further=True), replace(ONCE, hold_out=("lag 5 ms",)))
    tied = split(shipped_protocols(further=True), replace(ONCE, hold_out=("lag 25 ms",), tied="fit"))
    assert len(tied.fitted) == 15


def test_permuted_changes_are_the_same_changes_elsewhere() -> None:
    one, other = (split(shipped_protocols(), replace(ONCE, permuted=True), seed).fitted for seed in (1, 2))
    assert sorted(p.change for p in one) == sorted(p.change for p in shipped_protocols())
    assert [p.change for p in one] != [p.change for p in other]
    assert [p.name for p in one] == [p.name for p in shipped_protocols()]


def test_further_protocols_can_be_made() -> None:
    """Bursts end before the next ones, and are as often and as far apart as those of the table."""
    long = [burst_times(100.0, 100, 4, 10_000.0)]
    table = [Protocol("long", long[0], long[0] + 5.0, 0.1, 0.1, 100.0, 5.0)]
    for protocols, n in ((shipped_protocols(), 75), (table, 400)):
        for one in possible_protocols(protocols):
            assert (np.diff(one.pre_ms) > 0).all()
            if one.frequency_hz is not None:
                assert len(one.pre_ms) == n
                assert one.name.startswith(f"{n} spikes, ")
    assert min(one.frequency_hz for one in possible_protocols(table) if (one.frequency_hz or 0) >= 1) == 10.0


def test_the_deciding_protocol_is_where_the_leading_rules_differ_most(bench: Bench) -> None:
    found = fit_rules(bench.protocols, ONCE)
    rules = leading_rules(found.ranked, found.chosen, bench.changes, bench.errors, 3)
    assert rules[0] is found.chosen
    assert len(rules) > 1
    further = deciding_protocols(rules, possible_protocols(bench.protocols))
    first = further[0]
    a, b = first.pair
    values = [max(float(rule.changes([first.protocol])[0]), -1.0) for rule in (rules[a], rules[b])]
    assert first.distance == pytest.approx(abs(values[0] - values[1]) / first.protocol.error)
    assert first.distance == max(one.distance for one in further)
    assert not any(one.protocol.is_tied for one in further if one.protocol.lag_ms is not None)


def test_the_l1_path_comes_to_the_triplet_rule(bench: Bench) -> None:
    steps = l1_path(bench, TERMS, fit_rules(bench.protocols, ONCE).chosen)
    assert [len(one.rule.terms) for one in steps[:2]] == [1, 2]
    assert steps[1].rule.form.key == {Term("pre", "x_post"), Term("post", "x_pre*slow_post")}
    assert [one.penalty for one in steps] == sorted((one.penalty for one in steps), reverse=True)


# -------------------------------------------------------------------------------------------------- artefacts


def test_protocols_and_forms_survive_their_artefacts() -> None:
    parts = split(shipped_protocols(further=True), replace(ONCE, hold_out=("lag 25 ms",)))
    again = split_from_arrays(split_to_arrays(parts))
    for one, same in zip(parts.all, again.all, strict=True):
        np.testing.assert_array_equal(one.pre_ms, same.pre_ms)
        assert (one.name, one.change, one.lag_ms, one.group, one.n_pairs) == (
            same.name, same.change, same.lag_ms, same.group, same.n_pairs
        )  # fmt: skip
    form = KNOWN_FORMS["stdp-guetig"]
    assert Form.from_json(form.to_json()) == form


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("error"),
        lambda arrays: arrays.update(change=arrays["change"][:3]),
        lambda arrays: arrays.update(pre_ends=arrays["pre_ends"][::-1]),
        lambda arrays: arrays.update(error=-arrays["error"]),
        lambda arrays: arrays.update(pre_ms=arrays["pre_ms"] * np.nan),
    ],
)
def test_damaged_protocols_are_refused(damage) -> None:  # type: ignore[no-untyped-def]
    arrays = split_to_arrays(split(shipped_protocols(), ONCE))
    damage(arrays)
    with pytest.raises(ArtefactError):
        split_from_arrays(arrays)


@pytest.mark.parametrize("text", ["__import__('os')", "x_pre*y", "x_pre**", "1" * 2000])
def test_forms_of_artefacts_are_parsed_and_never_run(text: str) -> None:
    with pytest.raises(ArtefactError):
        Form.from_json({"terms": [{"spike": "pre", "text": text}]})
    assert Traces().fast_pre == 16.8


@pytest.mark.slow
def test_more_protocols_tell_more_laws_apart() -> None:
    """Changes that one law made: pair and triplet are told apart by the published ten already."""
    rows = recover_laws(2, seed=5)
    assert len(rows) == len(LAWS) * len(protocol_sets())
    counts = {(row["law"], row["n_protocols"]): row for row in rows}
    assert counts["triplet", 10]["not pair"] == 2
    assert counts["saturating depression", 30]["not pair"] == 2
    assert all(0 <= row["told apart"] <= row["draws"] for row in rows)
    assert all(row["apart_low"] <= row["told apart"] / row["draws"] <= row["apart_high"] for row in rows)

"""Rules from recorded data are found, recordings are never split, and bad tables are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_infer import integral, simulate_weight, weak_target
from scipy import stats
from strategies import trees

from discover.errors import ConfigError, DiscoverError, RuleError
from discover.expression import constants, evaluate, parse, variables_of, with_constants
from discover.inference import (
    InferSettings,
    constant_intervals,
    from_rows,
    infer,
    read_table,
    weak_form,
)
from discover.inference.beside import compare_recorded
from discover.inference.path import basis, fit_path
from discover.inference.recordings import Recordings
from discover.inference.scores import Score, choose
from discover.inference.tables import Table
from discover.inference.tied import alike, shorter, tied
from discover.inference.trials import try_recordings
from discover.inference.units import Unit, constant_units, parse_unit
from discover.rule import Rule
from discover.search.engine import Samples, get_engine
from discover.search.settings import SearchSettings, TermsSettings
from discover.slots import FEEDFORWARD, get_slot, recorded_slot

NAMES = ("x", "y", "w")
LAWS = {
    "oja": ("x*y - w*y**2", "x*y - {a}*w*y**2", (1.0,), False),
    "saturating": ("x*tanh(y) - 0.5*w*y**2", "x*tanh(y) - {a}*w*y**2", (0.5,), False),
    "divisive": ("x*y/(0.5 + y) - 0.3*w*y", "x*y/({a} + y) - {b}*w*y", (0.5, 0.3), True),
    "exponential": ("x*exp(-abs(y)/0.8) - 0.1*w", "x*exp(-abs(y)/{a}) - {b}*w", (0.8, 0.1), False),
}


def recorded(law: str, noise: float, seed: int = 0, n: int = 2000, positive: bool = False) -> Recordings:
    """Ten recordings whose states have different sizes; noise relative to the rms of the update."""
    rng = np.random.default_rng(seed)
    sizes = np.repeat(rng.uniform(0.7, 1.3, 10), n // 10)
    states = rng.uniform(0, 2, (n, 3)) if positive else rng.normal(size=(n, 3))
    states = states * sizes[:, None]
    update = evaluate(parse(law, NAMES), dict(zip(NAMES, states.T, strict=True)))
    update = update + noise * np.sqrt(np.mean(update**2)) * rng.normal(size=n)
    return from_rows(NAMES, states, update, np.repeat([f"r{k}" for k in range(10)], n // 10))


def skeleton(rule: Rule) -> str:
    """The rule with its constants taken out; a factor of one, or nearly, is none."""
    node = rule.expression()
    return str(node).translate(str.maketrans("", "", "0123456789.")) if constants(node) else str(node)


def same_structure(rule: Rule, form: str, values: tuple[float, ...], relative: float) -> None:
    """Check that a rule is the form with constants near the values, or with a factor near one put in."""
    names = dict(zip("ab", values, strict=False))
    true = parse(form.format(**names), NAMES)
    ours = [value for value in constants(rule.expression()) if abs(value - 1) > relative]
    assert skeleton(Rule({"feedforward": _without_ones(rule, relative)})) == skeleton(
        Rule({"feedforward": _without_ones(Rule({"feedforward": true}), 0.0)})
    )
    np.testing.assert_allclose(
        ours, [value for value in constants(true) if abs(value - 1) > relative], rtol=relative
    )


def _without_ones(rule: Rule, relative: float):
    from discover.expression import canonical, with_constants

    node = rule.expression()
    values = [1.0 if abs(value - 1) <= relative else value for value in constants(node)]
    return canonical(with_constants(node, values), NAMES)


# ------------------------------------------------------------------------------------------------- recovery


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("name", list(LAWS))
@pytest.mark.slow
def test_laws_are_found_in_structure_with_constants_within_a_few_percent(name: str, noise: float) -> None:
    law, form, values, positive = LAWS[name]
    found = infer(recorded(law, noise, positive=positive), engines=("terms",))
    same_structure(found.rule, form, values, relative=1e-6 if noise == 0 else 0.05)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_the_path_alone_finds_oja_whatever_the_noise(noise: float) -> None:
    found = infer(recorded("x*y - w*y**2", noise), engines=())
    coefficients = found.rule.coefficients()["feedforward"]
    assert set(coefficients) == {"x*y", "w*y**2"}
    np.testing.assert_allclose([coefficients["x*y"], coefficients["w*y**2"]], [1, -1], rtol=0.05)
    assert found.path.stability == {"w*y**2": 1.0, "x*y": 1.0}


def test_a_noise_floor_leads_to_no_extra_terms() -> None:
    for seed in range(3):
        found = infer(recorded("x*y - 0.4*w", noise=1.0, seed=seed, n=1000), engines=())
        assert set(found.path.chosen_point.coefficients) == {"x*y", "w"}


def test_pure_noise_is_no_rule() -> None:
    rng = np.random.default_rng(5)
    rows = from_rows(NAMES, rng.normal(size=(600, 3)), rng.normal(size=600), np.repeat(list("abcdef"), 100))
    found = infer(rows, engines=())
    assert found.rule.complexity == 1


@pytest.mark.slow
def test_operon_and_terms_are_united() -> None:
    pytest.importorskip("pyoperon", reason="pyoperon has no wheel for this platform")
    found = infer(recorded("x*tanh(y) - 0.5*w*y**2", 0.05, n=800), engines=("terms", "operon"))
    same_structure(found.rule, "x*tanh(y) - {a}*w*y**2", (0.5,), relative=0.05)
    assert {"terms", "operon"} <= {
        name for one in found.front.candidates for name in one.provenance.proposed_by
    }


def test_the_same_seed_gives_the_same_front() -> None:
    data = recorded("x*tanh(y) - 0.5*w", 0.05, n=300)
    settings = InferSettings(search=SearchSettings(operators=("tanh",), max_nodes=14))
    first, second = (json.dumps(infer(data, settings, ("terms",)).front.to_json()) for _ in range(2))
    assert first == second


def test_variables_of_other_names_have_a_slot_of_their_own() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(400, 2))
    rows = from_rows(("ca", "pre"), states, 2 * states[:, 0] ** 2 - states[:, 1], None)
    found = infer(rows, engines=())
    assert found.rule.slots == ("recorded(ca, pre)",)
    assert found.rule == Rule.parse({"recorded(ca, pre)": "2*ca**2 - pre"})
    assert Rule.parse(found.rule.to_dict()) == found.rule


# --------------------------------------------------------------------------------------------------- units

IN_HZ_AND_PA = np.array([10.0, 8.0, 60.0])
"""One unit of x and y in Hz, and of w in pA."""


def soft_bound(law: str, seed: int, units: np.ndarray, change: float) -> Recordings:
    """Weights between 0 and their bound, in ten recordings."""
    rng = np.random.default_rng(seed)
    states = rng.uniform(0, 2, (1000, 3)) * np.repeat(rng.uniform(0.7, 1.3, 10), 100)[:, None]
    states[:, 2] = rng.uniform(0, 1, 1000)
    update = evaluate(parse(law, NAMES), dict(zip(NAMES, states.T, strict=True)))
    update = update + 0.05 * np.sqrt(np.mean(update**2)) * rng.normal(size=1000)
    return from_rows(NAMES, states * units, update * change, np.repeat([f"r{k}" for k in range(10)], 100))


@pytest.mark.slow
def test_a_law_is_the_same_in_any_unit() -> None:
    law = "x*tanh(y) - 0.5*w*y**2"
    plain, other = (
        infer(soft_bound(law, 0, units, change), InferSettings(permutations=0), engines=("terms",))
        for units, change in ((np.ones(3), 1.0), (IN_HZ_AND_PA, 0.003))
    )
    same_structure(plain.rule, "x*tanh(y) - {a}*w*y**2", (0.5,), relative=0.05)
    k, c, b = constants(other.rule.expression())
    assert skeleton(other.rule) == skeleton(Rule.parse("0.0003*x*tanh(y/8) - 0.0000003*w*y**2"))
    np.testing.assert_allclose([k, c, b], [0.003 / 10, 8, 0.5 * 0.003 / 60 / 64], rtol=0.05)
    x, y, w = np.random.default_rng(1).uniform(0, 1, (3, 50))
    units = dict(zip(NAMES, IN_HZ_AND_PA[:, None] * (x, y, w), strict=True))
    np.testing.assert_allclose(other.rule(**units), 0.003 * plain.rule(x=x, y=y, w=w), rtol=0.05, atol=3e-5)


def test_functions_of_simulated_networks_give_way_to_ones_in_any_unit() -> None:
    assert "tanh(v/c)" in InferSettings().search.terms.factors
    assert "1 - v" not in InferSettings(search=SearchSettings(operators=("tanh",))).search.terms.factors
    own = SearchSettings(terms=TermsSettings(factors=("v", "tanh(v)")))
    assert InferSettings(search=own).search.terms.factors == ("v", "tanh(v)")


states_of_forms = dict(zip(NAMES, np.random.default_rng(4).uniform(0.2, 1, (3, 40)), strict=True))


@given(trees(unary=("neg", "tanh", "exp", "abs"), binary=("add", "sub", "mul", "div")))
def test_sharing_a_function_whose_constants_agree_changes_nothing(node: Any) -> None:
    node = with_constants(node, [1.25] * len(constants(node)))
    before = evaluate(node, states_of_forms)
    if not np.isfinite(before).all():
        return
    for form in tied(node, NAMES):
        after = evaluate(form, states_of_forms)
        scale = np.abs(before).max() + 1
        if np.abs(after).max() < 1e6:
            np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6 * scale)


@given(trees())
def test_simpler_forms_are_shorter_and_of_the_same_variables(node: Any) -> None:
    for form in shorter(node, NAMES):
        assert form.complexity < node.complexity
        assert set(variables_of(form)) <= set(variables_of(node))
    for form in alike(node, NAMES):
        assert set(variables_of(form)) <= set(variables_of(node))


# ---------------------------------------------------------------------------------------------- recordings


def test_no_recording_is_in_both_parts_of_a_split() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(list("abcdefg"), 200)
    rows = from_rows(("x",), rng.normal(size=(200, 1)), rng.normal(size=200), labels)
    for n_folds in (2, 3, 7, 50):
        seen = np.zeros(200, dtype=int)
        for fit, held in rows.splits(n_folds):
            assert not set(rows.groups[fit]) & set(rows.groups[held])
            assert (fit ^ held).all()
            seen += held
        assert (seen == 1).all()
    searched, kept = rows.held_apart(0.3, seed=0)
    assert sorted(searched + kept) == list(range(7))
    assert len(kept) == 2


def test_recordings_kept_for_the_end_change_nothing_of_the_front() -> None:
    data = recorded("x*y - w*y**2", 0.1, n=500)
    found = infer(data, engines=())
    target = data.samples.target.copy()
    target[np.isin(data.groups, found.kept)] *= -7
    other = from_rows(NAMES, data.samples.inputs, target, [data.names[one] for one in data.groups])
    again = infer(other, engines=())
    assert again.front.to_json() == found.front.to_json()
    folds = try_recordings(again, other).validation.candidates[again.front.chosen.id].folds
    assert [fold.passed for fold in folds if fold.kept] == [False, False]


def test_predictions_of_a_recording_do_not_depend_on_its_own_target() -> None:
    data = recorded("x*y - w*y**2", 0.1, n=500)
    settings = InferSettings(heldout=0.0)
    before = fit_path(data, FEEDFORWARD, settings)
    own = data.groups == 3
    target = np.where(own, 1.5 * data.samples.target, data.samples.target)
    after = fit_path(
        from_rows(NAMES, data.samples.inputs, target, [data.names[one] for one in data.groups]),
        FEEDFORWARD,
        settings,
    )
    predictions = [
        {tuple(point.coefficients): point.score.predictions[own] for point in path.points}
        for path in (before, after)
    ]
    shared = predictions[0].keys() & predictions[1].keys()
    assert any(set(terms) == {"x*y", "w*y**2"} for terms in shared)
    for terms in shared:
        np.testing.assert_allclose(predictions[0][terms], predictions[1][terms], rtol=1e-9, atol=1e-9)


def test_without_recordings_contiguous_blocks_stand_for_them() -> None:
    rows = from_rows(("x",), np.arange(40.0)[:, None], np.arange(40.0), None, n_blocks=4)
    assert not rows.stated
    assert rows.names == ("block 1", "block 2", "block 3", "block 4")
    assert (np.diff(rows.groups) >= 0).all()


def weighted_rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(240, 3))
    spread = rng.uniform(0.2, 1.0, 240)
    update = states[:, 0] * states[:, 1] - 0.5 * states[:, 2] + spread * rng.normal(size=240)
    return states, update, spread**-2, [f"r{k // 30}" for k in range(240)]


def test_weights_of_rows_are_those_of_least_squares() -> None:
    states, update, weights, labels = weighted_rows()
    data = from_rows(NAMES, states, update, labels, weights=7 * weights)
    found = infer(data, InferSettings(heldout=0.0), engines=())
    coefficients = found.rule.coefficients()["feedforward"]
    assert set(coefficients) == {"x*y", "w"}
    design = np.column_stack([states[:, 0] * states[:, 1], states[:, 2]])
    by_hand = np.linalg.solve(design.T @ (weights[:, None] * design), design.T @ (weights * update))
    np.testing.assert_allclose([coefficients["x*y"], coefficients["w"]], by_hand, rtol=1e-8)
    assert found.verdict.supported
    assert "240 weighted rows in 8 recordings" in repr(data)


def test_a_row_of_weight_zero_is_not_there() -> None:
    states, update, weights, labels = weighted_rows()
    there = np.arange(240) % 4 > 0
    update[~there] = 1e9
    settings = InferSettings(heldout=0.0, permutations=19)
    names = [label for label, kept in zip(labels, there, strict=True) if kept]
    without = from_rows(NAMES, states[there], update[there], names, weights=weights[there])
    zeros = from_rows(NAMES, states, update, labels, weights=np.where(there, weights, 0.0))
    fronts = [infer(one, settings, ()).front.to_json() for one in (without, zeros)]
    assert fronts[0] == fronts[1]


def test_equal_weights_are_none() -> None:
    states, update, _, labels = weighted_rows()
    data = from_rows(NAMES, states, update, labels, weights=np.full(240, 3.0))
    assert not data.is_weighted
    np.testing.assert_array_equal(data.samples.target, update)


@pytest.mark.parametrize("weights", [[1.0] * 239, [-1.0] + [1.0] * 239, [np.nan] + [1.0] * 239, [0.0] * 240])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    states, update, _, labels = weighted_rows()
    with pytest.raises(ConfigError, match="Weights are 240 finite numbers"):
        from_rows(NAMES, states, update, labels, weights=weights)


# ------------------------------------------------------------------------------------ intervals of constants


def offset_recordings(seed: int, n_recordings: int = 8) -> Recordings:
    """Recordings that differ in their gain, so that rows of one tell less than as many independent ones."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"r{k}" for k in range(n_recordings)], 30)
    gain = np.repeat(1 + 0.2 * rng.normal(size=n_recordings), 30)
    states = rng.normal(size=(labels.size, 3))
    x, y, w = states.T
    return from_rows(NAMES, states, gain * x * y - 0.5 * w + 0.2 * rng.normal(size=labels.size), labels)


@pytest.mark.slow
def test_intervals_of_constants_cover_although_rows_of_a_recording_are_alike() -> None:
    rule = Rule.parse("0.9*x*y - 0.4*w")
    hits = np.zeros(2)
    for seed in range(60):
        found = constant_intervals(rule, offset_recordings(seed), n_resamples=60)
        hits += [one.low <= true <= one.high for one, true in zip(found, (1.0, -0.5), strict=True)]
    assert (hits >= 0.87 * 60).all()


def test_intervals_are_those_of_resampled_recordings() -> None:
    data = offset_recordings(0)
    found = constant_intervals(Rule.parse("0.9*x*y - 0.4*w"), data, n_resamples=50, seed=3)
    x, y, w = data.samples.inputs.T
    design = np.column_stack([x * y, w])
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(50):
        rows = np.concatenate([np.flatnonzero(data.groups == k) for k in rng.integers(8, size=8)])
        drawn.append(np.linalg.lstsq(design[rows], data.samples.target[rows], rcond=None)[0])
    reach = stats.t.ppf(0.975, 7) * np.sqrt(8 / 7) * np.std(drawn, axis=0, ddof=1)
    values = np.linalg.lstsq(design, data.samples.target, rcond=None)[0]
    np.testing.assert_allclose([one.value for one in found], values, rtol=1e-6)
    np.testing.assert_allclose([(one.high - one.low) / 2 for one in found], reach, rtol=1e-5)


def test_intervals_say_which_constant_they_are_of_and_keep_signs() -> None:
    data = offset_recordings(0)
    found = constant_intervals(Rule.parse("x*tanh(0.5*y) - 0.4*w"), data, n_resamples=20)
    assert found[1].place == "c*w"
    assert found[1].low < found[1].value < found[1].high < 0
    assert found[0].place == "x*tanh(c*y)"
    alone = constant_intervals(Rule.parse("-0.3*w"), data, n_resamples=20)
    assert [one.place for one in alone] == ["c*w"]
    assert alone[0].high < 0
    of_c = Rule.parse({"recorded(c, w)": "2*c - 0.5*w"})
    named = from_rows(("c", "w"), data.samples.inputs[:, :2], data.samples.target, None)
    assert [one.place for one in constant_intervals(of_c, named, n_resamples=20)] == ["c_*c", "c_*w"]


def test_intervals_need_recordings() -> None:
    rule = Rule.parse("x*y")
    with pytest.raises(ConfigError, match="three of them or more; there are 2"):
        constant_intervals(rule, offset_recordings(0, n_recordings=2))
    with pytest.raises(ConfigError, match="20 resamples or more"):
        constant_intervals(rule, offset_recordings(0), n_resamples=5)
    assert constant_intervals(rule, offset_recordings(0), n_resamples=20) == ()


def test_one_recording_cannot_be_held_out() -> None:
    with pytest.raises(ConfigError, match="one recording"):
        from_rows(("x",), np.ones((30, 1)), np.ones(30), ["only"] * 30)


def test_the_choice_is_by_paired_differences_and_a_relative_resolution() -> None:
    size = np.array([1.0, 2.0, 4.0, 8.0])  # recordings differ much more than rules do
    scores = [Score(0.0, by, np.zeros(4)) for by in (size * 1.3, size * 1.004, size)]
    assert choose(scores, [1, 2, 5], resolution=0.01, floor=1e-10)[0] == 1
    assert choose(scores, [1, 2, 5], resolution=0.0, floor=1e-10)[0] == 2


def test_many_constants_do_not_excuse_a_rule_that_one_constant_beats() -> None:
    rng = np.random.default_rng(0)
    of_mean = 1 + 0.1 * rng.normal(size=8)
    scores = [Score(0.0, of_mean - less, np.zeros(8)) for less in (0.0, 0.12, 0.125)]
    # Twenty constants may gain more than 0.125 by chance, but one may not gain 0.12.
    assert choose(scores, [1, 2, 22], 0.01, 1e-10, n_picked_from=27, n_rows=600)[0] == 1


# --------------------------------------------------------------------------------------------- the weak form


def weak_data(law: str, noise: float, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in "xywt"}
    labels: list[str] = []
    rng = np.random.default_rng(seed)
    for recording in range(10):
        made = simulate_weight(law, n=200, dt=0.1, rng=rng)
        made["w"] = made["w"] + noise * rng.normal(size=200)
        for name, values in made.items():
            columns[name].append(values)
        labels += [f"r{recording}"] * 200
    return {name: np.concatenate(parts) for name, parts in columns.items()}, labels


@pytest.mark.slow
def test_a_law_is_found_from_noisy_weights_without_their_change() -> None:
    columns, labels = weak_data("0.05*x*tanh(y) - 0.005*w", noise=0.002)
    found = infer(weak_form(columns, NAMES, columns["w"], columns["t"], labels), engines=("terms",))
    same_structure(found.rule, "{a}*x*tanh(y) - {b}*w", (0.05, 0.005), relative=0.05)


@pytest.mark.slow
def test_engines_without_equations_get_rates_and_their_constants_are_those_of_the_equations() -> None:
    pytest.importorskip("pyoperon", reason="pyoperon has no wheel for this platform")
    columns, labels = weak_data("0.05*x*y - 0.005*w", noise=0.002, seed=1)
    found = infer(weak_form(columns, NAMES, columns["w"], columns["t"], labels), engines=("operon",))
    coefficients = found.rule.coefficients()["feedforward"]
    assert set(coefficients) == {"x*y", "w"}
    np.testing.assert_allclose([coefficients["x*y"], coefficients["w"]], [0.05, -0.005], rtol=0.05)


def test_equations_are_the_integrals_that_they_stand_for() -> None:
    times = np.cumsum(np.random.default_rng(2).uniform(0.05, 0.15, 240))
    made = {"x": np.sin(times), "w": np.cos(2 * times)}
    labels = np.repeat(["a", "b"], 120)
    rows = weak_form(made, ("x", "w"), made["w"], times, labels, window=2.0)
    values = rows.samples.observed(rows.samples.columns["x"])
    kernel = rows.samples.kernel
    assert rows.samples.n_rows >= 20
    for number in range(rows.samples.n_rows):
        inside = kernel.indices[kernel.indptr[number] : kernel.indptr[number + 1]]
        assert len(set(labels[inside])) == 1  # equations of a recording use rows of it alone
        assert values[number] == pytest.approx(integral(times[inside], made["x"][inside]), rel=1e-9)
        assert rows.samples.target[number] == pytest.approx(
            weak_target(times[inside], made["w"][inside]), rel=1e-9, abs=1e-9
        )


def test_a_constant_weight_has_no_rate_and_a_line_has_its_slope() -> None:
    times = np.arange(200) * 0.1
    for weight, rate in ((np.full(200, 3.0), 0.0), (3 - 0.7 * times, -0.7)):
        rows = weak_form({"x": times}, ("x",), weight, times, None, n_blocks=2, window=1.5)
        np.testing.assert_allclose(rows.samples.target, rate, rtol=1e-4, atol=1e-12)


def test_no_test_function_reaches_from_a_synapse_into_another() -> None:
    times = np.tile(np.arange(50) * 0.1, 4)
    weights = np.repeat([0.0, 5.0, -3.0, 8.0], 50)
    recordings, synapses = np.repeat(["a", "b"], 100), np.tile(np.repeat(["s", "t"], 50), 2)
    rows = weak_form({"x": times}, ("x",), weights, times, recordings, synapses, window=1.0)
    np.testing.assert_allclose(rows.samples.target, 0.0, atol=1e-12)
    with pytest.raises(ConfigError, match="Times must grow"):
        weak_form({"x": times}, ("x",), weights, times, recordings)


def test_the_window_widens_with_noise() -> None:
    widths = []
    for noise in (0.0, 0.002, 0.02):
        columns, labels = weak_data("0.05*x*y - 0.005*w", noise)
        widths.append(weak_form(columns, NAMES, columns["w"], columns["t"], labels).window)
    assert widths[0] < widths[1] < widths[2]


def test_a_kernel_sums_what_the_engines_see() -> None:
    rng = np.random.default_rng(3)
    states = rng.normal(size=(300, 2))
    from scipy import sparse

    kernel = sparse.csr_array(np.kron(np.eye(60), np.full((1, 5), 0.2)))
    update = np.tanh(states[:, 0]) * states[:, 1]
    samples = Samples(("x", "y"), states, kernel @ update, kernel)
    best = get_engine("terms").propose(samples, SearchSettings(), seed=0)[-1]
    assert str(best.expression) == "y*tanh(x)"
    assert samples.subset(25, 0).n_states == 125
    with pytest.raises(DiscoverError, match="operon"):
        get_engine("operon").propose(samples, SearchSettings(), seed=0)
    with pytest.raises(DiscoverError, match="kernel"):
        Samples(("x", "y"), states, kernel @ update, kernel[:30])


# -------------------------------------------------------------------------------- comparison, units and slots


def test_known_rules_are_compared_by_form_and_function_and_not_by_behaviour() -> None:
    data = recorded("x*y - w*y**2", 0.0, n=200)
    rules = {
        "oja": Rule.parse("0.3*x*y - 0.301*w*y**2"),
        "tanh": Rule.parse("2*x*tanh(y) - 2*w*y*tanh(y)"),
        "mirror": Rule.parse("w*y**2 - x*y"),
    }
    comparison = compare_recorded(rules, data, FEEDFORWARD)
    found = comparison.candidates
    assert (found["oja"].nearest, found["oja"].verdict) == ("oja", "same up to scale")
    assert (found["tanh"].nearest, found["tanh"].verdict) == ("hyvarinen-oja", "same up to scale")
    assert found["mirror"].verdict != "same up to scale"
    assert {one.behavioural for entry in found.values() for one in entry.distances.values()} == {None}
    assert "not compared" in comparison.behavioural


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("2*x*y - 3*w", ["nS/(Hz**2*s)", "1/s"]),
        ("x*y - 3*w*y**2", ["1/(Hz**2*s)"]),
        ("x*exp(-abs(y)/0.8) - 0.1*w", ["Hz", "1/s"]),
        ("x*y/(0.5 + y)", ["Hz"]),
        ("0.5*x*tanh(y) - 0.1*w", [None, None]),
        ("0.5*x*tanh(0.2*y)", ["nS/(Hz*s)", "1/Hz"]),
        ("2", ["nS/s"]),
    ],
)
def test_constants_have_the_units_that_the_formula_asks_for(text: str, units: list[str | None]) -> None:
    of = {"x": parse_unit("Hz"), "y": parse_unit("Hz"), "w": parse_unit("nS")}
    found = constant_units(parse(text, NAMES), of, parse_unit("nS/s"))
    assert [None if unit is None else str(unit) for unit in found] == units


@given(st.text(max_size=50))
def test_a_unit_is_read_or_refused(text: str) -> None:
    try:
        unit = parse_unit(text)
    except ConfigError:
        return
    assert parse_unit(str(unit)) == unit


def test_units_multiply_and_divide() -> None:
    assert parse_unit("nS") / parse_unit("nS") == Unit()
    assert str(parse_unit("Hz") ** 2 * parse_unit("s")) == "Hz**2*s"


@pytest.mark.parametrize("name", ["exp", "lambda", "2x", "", "a b", "_x", "x" * 41, "recorded", "é"])
def test_names_that_are_no_variables_are_refused(name: str) -> None:
    with pytest.raises(RuleError):
        recorded_slot(("ca", name))
    with pytest.raises(RuleError):
        get_slot(f"recorded(ca, {name})")


def test_names_of_several_letters_are_upright_and_apart_in_latex() -> None:
    rule = Rule.parse({"recorded(pre_rate, ca, w)": "2*ca*pre_rate - 0.5*w*ca**2*exp(-ca)/w"})
    assert rule.latex() == (
        r"\Delta w = 2 \, \mathrm{ca} \, \mathrm{pre}_{\mathrm{rate}} - "
        r"\frac{0.5 w \, \mathrm{ca}^{2} \, \exp\left(-\mathrm{ca}\right)}{w}"
    )
    assert Rule.parse("2*x*y*exp(w)").latex() == (
        r"\Delta w_{ij} = \eta \left( 2 x y \exp\left(w\right) \right)"
    )


def test_inferred_rules_have_no_learning_rate() -> None:
    data = recorded("x*y - w*y**2", 0.0, n=200)
    found = infer(data, engines=())
    assert found.latex() == r"\Delta w_{ij} = x y - w y^{2}"
    assert r"\eta" in found.rule.latex()


def test_the_basis_stays_small() -> None:
    for n_variables in (1, 3, 10, 40):
        rows = basis(n_variables, 2, 120)
        assert 2 <= len(rows) <= 120
        assert len(set(rows)) == len(rows)


# --------------------------------------------------------------------------------------------------- tables


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_headings_give_units_and_names(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "x [Hz];w[nS]; r \n1;2;one\n\n3;4;two\n"))
    assert list(table.columns) == ["x", "w", "r"]
    assert {name: str(unit) for name, unit in table.units.items()} == {"x": "Hz", "w": "nS"}
    assert table.numbers("w").tolist() == [2.0, 4.0]
    assert table.labels("r").tolist() == ["one", "two"]


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "x,r\n1,\x1b[31mred\n"))
    assert table.labels("r").tolist() == ["\N{REPLACEMENT CHARACTER}[31mred"]


def test_recordings_that_are_numbers_have_one_name(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "r,s\n4.000000000000000000e+00,1\n4,1.5\n1e1,2\n"))
    assert table.labels("r").tolist() == ["4", "4", "10"]
    assert table.labels("s").tolist() == ["1", "1.5", "2"]


def test_an_archive_is_read_like_a_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3.0), r=np.array([1, 1, 2]))
    table = read_table(tmp_path / "a.npz")
    assert table.numbers("x").tolist() == [0.0, 1.0, 2.0]
    assert table.labels("r").tolist() == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("x,y\n", "no data"),
        ("x,x\n1,2\n", "several columns called x"),
        ("x,y\n1,2\n1\n", "line 3 has 1 cells"),
        ("x,y\n1,2,3\n", "line 2 has 3 cells"),
        ('x,y\n"1,2\n', "no CSV file"),
        ("x,y\n" + "1" * 500 + ",2\n", "more than 400 characters"),
        ("x [m/],y\n1,2\n", "A unit is written"),
        ("x\0,y\n1,2\n", "NUL"),
        ("x\x1b[2J,y\n1,2\n", "control characters"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_table(write(tmp_path / "bad.csv", text))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("one", "number is expected"),
        ("nan", "NaN or infinite"),
        ("inf", "NaN or infinite"),
        ("", "number is"),
    ],
)
def test_cells_that_are_no_numbers_are_named(tmp_path: Path, cells: str, said: str) -> None:
    table = read_table(write(tmp_path / "a.csv", f"x,y\n1,2\n{cells},2\n"))
    with pytest.raises(ConfigError, match=said) as caught:
        table.numbers("x")
    assert "row 2" in str(caught.value)
    with pytest.raises(ConfigError, match="Did you mean 'x'"):
        table.numbers("X")


def test_files_that_cannot_be_tables_are_refused(tmp_path: Path) -> None:
    for name, data in {
        "a.npz": b"PK\3\4 no archive",
        "b.npz": b"",
        "c.csv": b"\xff\xfe\x00x",
        "d.xlsx": b"x",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError):
            read_table(tmp_path / name)
    with pytest.raises(ConfigError, match="There is no file"):
        read_table(tmp_path / "none.csv")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ConfigError, match="plain NumPy arrays"):
        read_table(tmp_path / "objects.npz")
    np.savez(tmp_path / "matrix.npz", x=np.ones((2, 2)))
    with pytest.raises(ConfigError, match="one-dimensional"):
        read_table(tmp_path / "matrix.npz")


def test_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discover.inference.tables.MAX_BYTES", 5000)
    with pytest.raises(ConfigError, match="longer than 5,000 bytes"):
        read_table(write(tmp_path / "a.csv", "x\n" + "1\n" * 3000))
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(100_000))
    with pytest.raises(ConfigError, match="unpack"):
        read_table(tmp_path / "bomb.npz")


def test_parquet_is_read_or_the_missing_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        with pytest.raises(ConfigError, match=r"plasticity-discovery\[parquet\]"):
            read_table(path)
        return
    with pytest.raises(ConfigError, match="no Parquet file"):
        read_table(path)
    parquet.write_table(arrow.table({"x [Hz]": [1.0, 2.0], "r": ["a", "b"]}), path)
    table = read_table(path)
    assert table.numbers("x").tolist() == [1.0, 2.0]
    assert table.labels("r").tolist() == ["a", "b"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_one_error(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for ending in (".csv", ".npz"):
            path = Path(folder) / f"t{ending}"
            path.write_bytes(data)
            try:
                table = read_table(path)
            except ConfigError:
                continue
            assert isinstance(table, Table)
            assert all(len(column) == table.n_rows for column in table.columns.values())

"""Comparison with known rules: verdicts, their numbers, and the equivalences that they respect."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from discover._compared_rules import angle_degrees, flipped, projection, table
from discover.comparison import CompareSettings, compare, compare_candidates
from discover.errors import RuleError
from discover.forms import Compared, Comparison
from discover.report.page import verdict_text as verdict_in_report
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.oja import OjaSettings
from pipelines.cli import app
from pipelines.show import verdict_text

TASK = get_task("oja")
SMALL = CompareSettings(n_problems=8, n_states=1000, n_points=10)
TEXTS = {
    "oja": "y*(x - w*y)",
    "faster": "3*x*y - 3*w*y**2",
    "fitted": "0.97*x*y - 1.02*w*y**2",
    "skewed": "x*y - 0.8*w*y**2",
    "growing": "x*y - w*y**2 + 0.2*w",
    "idle": "x*y - w*y**2 + 0.05*w**2*x",
    "tiny": "x*y - w*y**2 + 1e-7*w",
    "hebb": "2*x*y",
    "anti-hebb": "-x*y",
    "cut": "x*y**2",
    "bcm-mirrored": "-x*y**2 - x*y",
    "soft": "tanh(y)*x - w*y*tanh(y)",
    "other-tanh": "x*tanh(y) - w*y**2",
    "kinked": "x*y - w*abs(y)",
    "zero": "0*x",
    "undefined": "log(x)",
}


@pytest.fixture(scope="module")
def compared() -> Mapping[str, Compared]:
    rules = {name: Rule.parse(text) for name, text in TEXTS.items()}
    result = compare_candidates(TASK, OjaSettings(n_inputs=10), rules, SMALL, seed=1)
    assert Comparison.from_json(result.to_json()) == result
    return result.candidates


def beside(compared: Compared, known: str) -> SimpleNamespace:
    """What is known of a rule beside a known one."""
    return SimpleNamespace(**vars(compared.distances[known]), **vars(compared.evidence[known]))


@pytest.mark.parametrize(
    ("name", "verdict", "nearest"),
    [
        ("oja", "same up to scale", "oja"),
        ("faster", "same up to scale", "oja"),
        ("fitted", "same up to scale", "oja"),
        ("skewed", "same terms", "oja"),
        ("growing", "extra terms", "oja"),
        ("idle", "same up to scale", "oja"),
        ("tiny", "same up to scale", "oja"),
        ("hebb", "same up to scale", "hebb"),
        ("anti-hebb", "same terms", "hebb"),
        ("cut", "missing terms", "bcm"),
        ("bcm-mirrored", "same up to scale", "bcm"),
        ("soft", "same up to scale", "hyvarinen-oja"),
        ("zero", "different", None),
        ("undefined", "different", None),
    ],
)
def test_verdicts(compared: Mapping[str, Compared], name: str, verdict: str, nearest: str | None) -> None:
    assert (compared[name].verdict, compared[name].nearest) == (verdict, nearest)


def test_a_rule_of_the_opposite_sign_is_said_to_be_one(compared: Mapping[str, Compared]) -> None:
    anti = compared["anti-hebb"]
    assert anti.is_opposite
    assert repr(anti) == "<Compared: same terms with the opposite sign, nearest hebb>"
    said = "it: same terms with the opposite sign, beside the nearest known rule, Hebb"
    assert verdict_text("it", anti).startswith(said)
    assert verdict_in_report(anti).endswith("with the opposite sign")
    assert not any(one.is_opposite for name, one in compared.items() if name != "anti-hebb")


def test_a_scaled_rule_has_no_distance(compared: Mapping[str, Compared]) -> None:
    match = beside(compared["faster"], "oja")
    assert match.scales == pytest.approx({"feedforward": 3.0})
    assert match.coefficient == pytest.approx(0.0, abs=1e-9)
    assert match.functional == pytest.approx(0.0, abs=1e-12)
    assert match.behavioural == pytest.approx(0.0, abs=1e-9)


def test_each_slot_has_its_own_learning_rate() -> None:
    pair = Rule.parse({"feedforward": "3*x*y - 3*w*y**2", "lateral": "-0.5*y_pre*y_post"})
    task = get_task("pca-network")
    settings = task.settings_type(n_inputs=4, n_samples=40, n_steps=100)
    found = compare_candidates(task, settings, {"pair": pair}, SMALL, seed=1).candidates["pair"]
    match = beside(found, "rubner-tavan")
    assert (found.verdict, found.nearest) == ("same up to scale", "rubner-tavan")
    assert match.scales == pytest.approx({"feedforward": 3.0, "lateral": 0.5})
    assert match.coefficient == pytest.approx(0.0, abs=1e-9)
    assert match.functional == pytest.approx(0.0, abs=1e-12)
    assert match.behavioural == pytest.approx(0.0, abs=1e-9)
    assert beside(found, "oja").verdict == "extra terms"
    assert beside(found, "oja").coefficient == 90.0
    sanger = beside(found, "sanger")
    assert (sanger.coefficient, sanger.functional) == (None, None)
    assert sanger.behavioural > 0


def test_ratios_and_terms_are_told(compared: Mapping[str, Compared]) -> None:
    match = beside(compared["growing"], "oja")
    assert match.ratios == pytest.approx({"w*y**2 : x*y": -1.0, "w : x*y": 0.2})
    assert match.extra_terms == {"w": 0.2}
    assert match.missing_terms == {}
    assert match.behavioural > 0.02
    assert match.coefficient == pytest.approx(np.degrees(np.arctan(0.2 / np.sqrt(2))))
    assert beside(compared["idle"], "oja").idle_terms == {"w**2*x": 0.05}
    assert beside(compared["tiny"], "oja").negligible_terms == {"w": 1e-7}
    assert beside(compared["hebb"], "oja").missing_terms == {"w*y**2": -1.0}
    assert beside(compared["cut"], "bcm").missing_terms == {"x*y": -1.0}


def test_mirrored_rules_are_recognised(compared: Mapping[str, Compared]) -> None:
    match = beside(compared["bcm-mirrored"], "bcm")
    assert match.flipped
    assert match.coefficient == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["other-tanh", "kinked"])
def test_other_expressions_are_judged_by_behaviour(compared: Mapping[str, Compared], name: str) -> None:
    one = compared[name]
    assert one.verdict in ("behaves alike", "different")
    assert one.nearest in ("oja", "hyvarinen-oja")
    match = beside(one, one.nearest)
    assert match.coefficient is None
    assert match.functional is not None
    assert 0 < match.functional < 0.5
    assert (one.verdict == "behaves alike") == (match.behavioural <= SMALL.alike)


def test_rules_that_blow_up_do_not_behave_alike(compared: Mapping[str, Compared]) -> None:
    assert beside(compared["hebb"], "bcm").verdict != "behaves alike"
    distances = [match for one in compared.values() for match in one.distances.values()]
    assert all(match.behavioural is not None and match.behavioural <= 2 for match in distances)


def test_oja_written_with_a_quotient_by_a_quotient_is_oja_up_to_scale() -> None:
    compared = compare("-y*(w/(2.392/y) - 0.4156*x)")
    assert (compared.verdict, compared.nearest) == ("same up to scale", "oja")


def test_text_is_compared() -> None:
    assert compare("x*y - w*y**2").nearest == "oja"
    with pytest.raises(RuleError):
        compare("x*y - q")


def test_flipped_rule_mirrors_the_weights() -> None:
    rule = Rule.parse("x*y**2 - 0.3*w*y + 0.2*tanh(w*y)*x")
    problems = TASK.draw(OjaSettings(n_inputs=3, n_steps=20), 2, np.random.SeedSequence(0))
    x, w = problems.inputs[0], problems.initial_weights[0]
    v = -w
    for sample in x[:20]:
        w = w + 0.05 * rule.numpy()["feedforward"](x=sample, y=sample @ w, w=w)
        v = v + 0.05 * flipped(rule).numpy()["feedforward"](x=sample, y=sample @ v, w=v)
    np.testing.assert_allclose(v, -w, atol=1e-12)


def test_flipping_terms_follows_their_powers() -> None:
    """A term x^i y^j w^k keeps its sign when j + k is odd, in agreement with (-1)^(j + k + 1)."""
    terms = {f"w**{k}*x**{i}*y**{j}": 1.0 for i in range(3) for j in range(3) for k in range(3)}
    rule = Rule.parse(" + ".join(terms))
    expected = [(-1.0) ** (j + k + 1) for i in range(3) for j in range(3) for k in range(3)]
    got = flipped(rule).polynomial().coefficients.reshape(-1)
    np.testing.assert_array_equal(got, expected)
    assert flipped(flipped(rule)) == rule


@given(st.floats(0.01, 100), st.floats(-3, 3))
@settings(max_examples=20)
def test_angles_and_projections_ignore_positive_scale(scale: float, leak: float) -> None:
    rule, oja = Rule.parse(f"x*y - w*y**2 + ({leak})*w"), Rule.parse("x*y - w*y**2")
    tables = [table(rule), table(rule.scaled(scale)), table(oja)]
    assert tables[0] is not None
    assert tables[1] is not None
    assert tables[2] is not None
    assert angle_degrees(tables[0], tables[2]) == pytest.approx(angle_degrees(tables[1], tables[2]), abs=1e-6)
    states = np.random.default_rng(0).normal(size=(3, 100))
    updates = [one.numpy()["feedforward"](x=states[0], y=states[1], w=states[2]) for one in (rule, oja)]
    factor, distance = projection(scale * updates[0], updates[1])
    plain_factor, plain_distance = projection(*updates)
    assert factor == pytest.approx(scale * (plain_factor or 0.0))
    assert distance == pytest.approx(plain_distance)


def test_an_update_of_the_other_sign_is_another_update() -> None:
    """Oja's rule turned round finds the minor direction, or blows up; no positive scale makes it Oja's."""
    match = beside(compare("w*y**2 - x*y"), "oja")
    assert match.functional == 1.0
    assert match.behavioural > 0.5
    assert match.verdict not in ("same up to scale", "behaves alike")
    turned = compare("w*y*tanh(y) - x*tanh(y)")
    assert beside(turned, "hyvarinen-oja").functional == 1.0
    assert turned.verdict == "different"


@pytest.mark.parametrize(
    ("text", "verdict"), [("x*tanh(y) - w*y*tanh(y)", "behaves alike"), ("tanh(x*y) - w*y**2", "different")]
)
def test_rules_behave_alike_where_losses_differ_by_less_than_a_twentieth(text: str, verdict: str) -> None:
    """Both learn, and are .04 and .11 away from Oja's rule along the inner loop."""
    match = beside(compare(text), "oja")
    assert match.verdict == verdict
    assert (match.behavioural <= 0.05) == (verdict == "behaves alike")
    assert match.behavioural < 0.2


@pytest.mark.parametrize("task", ["bcm", "ei-balance", "ei-coplastic"])
def test_a_rule_for_another_network_is_refused(task: str) -> None:
    with pytest.raises(RuleError, match=f"has a slot 'feedforward', which the task {task} lacks"):
        compare("feedforward: x*y - w*y**2", task)
    result = CliRunner().invoke(app, ["compare", "feedforward: x*y - w*y**2", "--task", task])
    assert result.exit_code == 2
    assert result.stderr.startswith("discover: ")
    assert "The rule x*y - w*y**2 has a slot 'feedforward'" in result.stderr

"""Formulas of the report: as text for plots, as MathML for the page; both mean what the rule means."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from strategies import trees

from discover.expression import evaluate, parse
from discover.report.formula import expression_text, rule_html, rule_text
from discover.rule import Rule
from discover.slots import FEEDFORWARD

DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("x*y - w*y**2", "x y − w y²"),
        ("-0.5*x - (-2)*y", "−0.5 x + 2 y"),
        ("x + (-2)*y*w - (x - y)", "x − 2 y w − (x − y)"),
        ("x*(-y)", "x (−y)"),
        ("x*(y - w)**3", "x (y − w)³"),
        ("x/(y*w)", "x / (y w)"),
        ("(x + 1)/y**-2", "(x + 1) / y⁻²"),
        ("1.25e-5*x", "1.25·10⁻⁵ x"),
        ("x**y - max(x, -1)", "x^(y) − max(x, −1)"),
        ("x - (y - w)", "x − (y − w)"),
        ("2**x*3", "2^(x)·3"),
        ("(-x)**2 + abs(w)", "(−x)² + |w|"),
    ],
)
def test_formulas_as_text(rule: str, text: str) -> None:
    node = parse(rule, FEEDFORWARD.variables)
    assert expression_text(node).replace("\N{NO-BREAK SPACE}", " ") == text


@given(trees())
def test_formulas_are_well_formed(node: Any) -> None:
    rule = Rule({"feedforward": node})
    for left_side in (True, False):
        ElementTree.fromstring(rule_html(rule, left_side=left_side))
    assert rule_text(rule)


@given(trees(unary=("neg", "tanh"), binary=("add", "sub", "mul", "div", "max")))
def test_formulas_as_text_mean_the_same(node: Any) -> None:
    text = expression_text(node, digits=17).replace("\N{NO-BREAK SPACE}", "*").replace("·", "*")
    text = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: f"**({power[0].translate(DIGITS)})", text)
    again = parse(text.replace("−", "-").replace("^", "**"), FEEDFORWARD.variables)
    states = dict(zip("xyw", np.random.default_rng(0).normal(size=(3, 8)), strict=True))
    np.testing.assert_allclose(evaluate(again, states), evaluate(node, states), rtol=1e-6, atol=1e-300)


def test_constants_of_a_synapse_have_their_unit_and_no_learning_rate():
    rule = Rule.parse({"on_pre": "x_post - 0.25", "on_post": "x_pre", "tau_pre": "33.5"})
    for left_side in (True, False):
        block = rule_html(rule, left_side=left_side).split('<span class="formula">')[3]
        assert "<mi>τ</mi><mtext>pre</mtext>" in block
        assert "33.5" in block
        assert block.endswith("</math> ms</span>")
        assert "η" not in block


def test_a_sliding_threshold_has_its_letter():
    rule = Rule.parse({"sliding": "x*y**2 - x*y*theta"})
    assert "<mi>θ</mi>" in rule_html(rule)
    assert rule_html(rule).startswith('<span class="formula"><math><mi>Δ</mi><msub><mi>w</mi>')
    assert rule_text(rule).endswith("θ")


def test_a_rule_of_recorded_data_has_no_learning_rate() -> None:
    text = rule_html(Rule.parse({"recorded(ca, pre)": "ca*pre - 2*ca"}))
    said = "".join(ElementTree.fromstring(text).itertext())
    assert re.sub(r"\s", "", said) == "Δw=capre−2ca"

"""Functions that rules of recorded data may have and networks do not run: sine, cosine, and one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_infer import NAMES, recorded, skeleton

from discover.errors import ConfigError, RuleError
from discover.export import exported
from discover.expression import (
    constants,
    define_function,
    evaluate,
    forget_function,
    from_sympy,
    parse,
    to_sympy,
)
from discover.inference import InferSettings, infer
from discover.rule import Rule
from pipelines.config import load_toml


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("-2.99998*y*sin(-0.0833*x)", "2.99998*y*sin(0.0833*x)"),
        ("w - 2*sin(-x)", "w + 2*sin(x)"),
        ("sin(-x)*sin(-y)", "sin(x)*sin(y)"),
        ("-sin(-x/3)", "sin(x/3)"),
        ("2*cos(-0.5*x)", "2*cos(0.5*x)"),
        ("sin(x - y)", "sin(x - y)"),
    ],
)
def test_waves_have_no_signs_inside(text: str, normal: str) -> None:
    rule = Rule.parse(text)
    assert str(rule.canonical()) == normal
    assert rule == Rule.parse(normal)
    values = {"x": 0.7, "y": -1.3, "w": 0.4}
    assert float(rule(**values)) == pytest.approx(float(rule.canonical()(**values)))


@pytest.mark.parametrize("law", ["x*sin(2*y) - 0.1*w", "y*cos(3*x) - 0.2*w"])
def test_waves_are_found_where_they_are_asked_for(law: str) -> None:
    recordings = recorded(law, 0.1, n=1000)
    settings = InferSettings(permutations=0, functions=("sin", "cos"))
    found = infer(recordings, settings, engines=("terms",)).rule
    assert skeleton(found) == skeleton(Rule.parse(law.replace("2*y", "y/2").replace("3*x", "x/3")))
    x, y, w = np.random.default_rng(1).normal(size=(3, 50))
    np.testing.assert_allclose(found(x=x, y=y, w=w), Rule.parse(law)(x=x, y=y, w=w), atol=0.1)
    with pytest.raises(RuleError, match="Networks have no function"):
        found.program()


def test_a_function_of_ones_own_is_one_like_others() -> None:
    with pytest.raises(ConfigError, match="define_function"):
        InferSettings(functions=("softplus",))
    define_function("softplus", lambda v: np.logaddexp(0, v), lambda v: 1 / (1 + np.exp(-v)))
    try:
        recordings = recorded("0.7*x*softplus(y/0.5) - 0.3*w", 0.05, n=1000)
        settings = InferSettings(permutations=0, functions=("softplus",))
        rule = infer(recordings, settings, engines=("terms",)).rule
        assert skeleton(rule) == skeleton(Rule.parse("0.7*x*softplus(y/2) - 0.3*w"))
        tree = rule.expression()
        np.testing.assert_allclose(constants(tree), [0.7, 0.5, 0.3], rtol=0.05)
        assert r"\operatorname{softplus}" in rule.latex()
        x, y, w = np.random.default_rng(1).normal(size=(3, 20))
        again = evaluate(from_sympy(to_sympy(tree)), {"x": x, "y": y, "w": w})
        np.testing.assert_allclose(again, rule(x=x, y=y, w=w))
        assert "softplus: a function of your own" in exported(rule, "python")
        with pytest.raises(RuleError, match="Networks have no function"):
            rule.program()
    finally:
        forget_function("softplus")
    with pytest.raises(RuleError, match="Unknown function"):
        parse("softplus(x)", NAMES)


@pytest.mark.parametrize(
    ("name", "derivative", "words"),
    [
        ("wrong", np.cos, "is not that of the function"),
        ("tanh", lambda v: 1 - np.tanh(v) ** 2, "a name of its own"),
        ("soft plus", lambda v: 1 - np.tanh(v) ** 2, "a name of its own"),
        ("square", lambda v: 1 - np.tanh(v) ** 2, "a name of its own"),
    ],
)
def test_a_function_that_cannot_be_one_is_refused(name: str, derivative: Any, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        define_function(name, np.tanh, derivative)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_pipelines_of_networks_refuse_what_networks_do_not_run(tmp_path: Path, name: str) -> None:
    toml = tmp_path / "waves.toml"
    toml.write_text(f'schema = 1\ntask = "oja"\n[search]\noperators = ["div", "{name}"]\n')
    with pytest.raises(ConfigError, match=f"search.operators: networks have no function {name}"):
        load_toml(toml)

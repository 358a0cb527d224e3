"""Rules as text: what is exported computes what the rule does."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import trees

from discover.errors import RuleError
from discover.export import FORMATS, brian2_update, exported
from discover.expression import parse
from discover.known_rules import KNOWN_RULES
from discover.rule import Rule
from discover.tasks.memory import circuit_rules
from sims.memory import MemoryCircuit
from sims.memory_protocol import MemoryProtocol, run_memory

SPIKING = Rule.parse({"on_pre": "x_post - 0.25", "on_post": "x_pre", "tau_pre": "30"})
RATE = Rule.parse({"feedforward": "x*tanh(y) - w*max(y, 0)**2", "lateral": "-0.5*y_pre*y_post/(1 + abs(v))"})


def values_of(text: str, rule: Rule, values: dict[str, float]) -> dict[str, float]:
    """Run an exported Python script in a process of its own."""
    calls = []
    for slot, function in rule.numpy().items():
        arguments = ", ".join(f"{name}={values[name]!r}" for name in function.variables)
        calls.append(f"print({slot!r}, float({slot}({arguments})))")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([text, *calls])], capture_output=True, text=True, check=True
    )
    return {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()}


@pytest.mark.parametrize("rule", [SPIKING, RATE], ids=["spiking", "rate"])
def test_python_computes_what_the_rule_does(rule):
    values = {
        name: float(value)
        for name, value in zip(
            ("x", "y", "w", "y_pre", "y_post", "v", "x_pre", "x_post"), np.linspace(0.3, 1.7, 8), strict=True
        )
    }
    found = values_of(exported(rule, "python", "a test"), rule, values)
    for slot, function in rule.numpy().items():
        expected = float(function(**{name: np.array(values[name]) for name in function.variables}))
        assert found[slot] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("form", ["python", "sympy"])
def test_importing_all_of_a_script_leaves_the_functions_of_python_alone(form, tmp_path):
    rule = Rule.parse("max(x, y) - abs(w)")
    (tmp_path / "rule_of_mine.py").write_text(exported(rule, form), encoding="utf-8")
    code = "from rule_of_mine import *; print(max([1, 2]), abs(-1), min([3, 4]), feedforward is not None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "2 1 3 True\n", done.stderr


def test_python_states_the_constants_of_a_synapse():
    assert "tau_pre = 30  # ms" in exported(SPIKING, "python")


def test_sympy_gives_the_same_expressions():
    import sympy

    space: dict[str, object] = {}
    exec(compile(exported(RATE, "sympy"), "exported", "exec"), space)  # our own text
    x, y, w = sympy.symbols("x y w", real=True)
    expected = x * sympy.tanh(y) - w * sympy.Max(y, 0) ** 2
    assert sympy.simplify(space["feedforward"] - expected) == 0


@given(trees())
@settings(max_examples=60, deadline=None)
def test_scripts_of_any_rule_are_python(tree):
    rule = Rule({"feedforward": tree})
    for form in ("python", "sympy"):
        compile(exported(rule, form), "exported", "exec")


def test_names_and_functions_that_brian2_does_not_know_are_replaced():
    node = Rule.parse({"on_pre": "min(x_post, w) - max(x_post, 2)", "on_post": "0"}).expressions["on_pre"]
    text = brian2_update(node)
    assert "max" not in text
    assert "x_post" not in text
    values = {"trace_out": np.array([0.3, 3.0]), "w": np.array([1.0, 1.0])}
    from discover.expression import evaluate

    found = evaluate(parse(text, ("trace_out", "w")), values)
    np.testing.assert_allclose(found, [0.3 - 2, 1 - 3])


def test_brian2_script_is_whole():
    text = exported(SPIKING, "brian2", "Rule c01 of results/ei-balance.")
    compile(text, "exported", "exec")
    assert text.startswith("# Rule c01 of results/ei-balance.\n")
    assert 'ON_PRE = "trace_out - 0.25"' in text
    assert "tau_pre, tau_post = 30.0 * ms, 20.0 * ms" in text


QUARTET = Rule.parse(
    {"EE.on_pre": "0.3 - x_post", "EE.tau_post": "80", "IE.on_pre": "x_post - 0.12", "IE.on_post": "x_pre"}
)


def test_brian2_script_of_four_projections_is_whole():
    text = exported(QUARTET, "brian2")
    compile(text, "exported", "exec")
    assert '"EE": ("0.3 - trace_out", "0", 20.0, 80.0),' in text
    assert '"IE": ("trace_out - 0.12", "trace_in", 20.0, 20.0),' in text
    assert '"EI": ("0", "0", 20.0, 20.0),' in text
    with pytest.raises(RuleError, match="spiking neurons"):
        exported(Rule.parse({"EE.on_pre": "x_post", "feedforward": "x*y"}), "brian2")


def test_a_comment_cannot_end_its_line():
    text = exported(SPIKING, "python", "harmless\nimport os")
    assert text.splitlines()[0] == "# harmless import os"


def test_what_cannot_be_exported_is_said():
    with pytest.raises(RuleError, match="spiking neurons"):
        exported(RATE, "brian2")
    with pytest.raises(RuleError, match="Did you mean 'latex'"):
        exported(RATE, "latx")
    assert set(FORMATS) == {"latex", "sympy", "python", "brian2"}


@pytest.mark.slow
@pytest.mark.usefixtures("brian2")
def test_brian2_runs_the_script_as_written(tmp_path):
    script = tmp_path / "rule.py"
    script.write_text(exported(SPIKING, "brian2"), encoding="utf-8")
    # Compiling takes longer than 0.3 s of biological time.
    (tmp_path / "brian_preferences").write_text("codegen.target = 'numpy'\n", encoding="utf-8")
    command = [sys.executable, str(script), "0.3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "output rate:" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("brian2")
def test_brian2_runs_the_network_of_four_projections_as_written(tmp_path):
    """A small copy, for a shorter time; its rate is that of this program's network."""
    rule = KNOWN_RULES["confavreux-quartet"].rule
    text = exported(rule, "brian2")
    shortened = text.replace("training, test = 30.0, 10.0, 1.0", "training, test = 1.0, 0.5, 0.2")
    assert shortened != text
    script = tmp_path / "quartet.py"
    script.write_text(shortened, encoding="utf-8")
    (tmp_path / "brian_preferences").write_text("codegen.target = 'numpy'\n", encoding="utf-8")
    command = [sys.executable, str(script), "1", "0.125"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [float(rate) for rate in re.findall(r"[EI] ([0-9.]+) Hz", done.stdout)]
    assert len(found) == 2, done.stdout
    circuit = MemoryCircuit(size=0.125, connections=0.7)
    protocol = MemoryProtocol(background_s=1.0, training_s=0.5, test_s=0.2, breaks_s=(1.0,))
    rules = circuit_rules(rule)
    ours = [run_memory(rules, circuit, protocol, seed=seed).tests[0].rate_hz for seed in range(3)]
    for name, rate in zip("EI", found, strict=True):
        assert rate == pytest.approx(np.mean([one[name] for one in ours]), rel=0.25)

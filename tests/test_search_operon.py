"""The pyoperon engine: what it finds, and that nothing it does harms the caller."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_study import ROOT, alive, children
from test_search_terms import VARIABLES, is_exact, sampled

from discover.child_process import child_environment
from discover.errors import EngineError, EngineUnavailable
from discover.expression import Complexity, canonical, constants, evaluate, parse, with_constants
from discover.search import operon
from discover.search._constants import fit_constants
from discover.search._polish import fold_wrappers, polished
from discover.search.engine import OperonSettings, Proposal, Samples, SearchSettings
from discover.search.operon import OperonEngine

needs_pyoperon = pytest.mark.skipif(
    importlib.util.find_spec("pyoperon") is None, reason="pyoperon has no wheel for this platform"
)


def propose(samples: Samples, seed: int = 0, **budget: object) -> list[Proposal]:
    settings = SearchSettings(operon=OperonSettings(**budget))  # type: ignore[arg-type]
    return OperonEngine().propose(samples, settings, seed)


@needs_pyoperon
@pytest.mark.parametrize(
    "forms",
    [
        ("x*y - w*y**2",),
        ("tanh(y)*(x - w*tanh(y))", "x*tanh(y) - w*tanh(y)**2", "x*tanh(y) - w*tanh(y)*tanh(y)"),
        ("x*tanh(y - w)",),
    ],
)
def test_rules_are_recovered(forms: tuple[str, ...]) -> None:
    proposals = propose(sampled(forms[0]))
    assert any(is_exact(proposal, *forms) for proposal in proposals)
    assert all(p.expression == canonical(p.expression, VARIABLES) for p in proposals)
    complexities = [Complexity().of_update(p.expression) for p in proposals]
    assert complexities == sorted(set(complexities))


@needs_pyoperon
def test_nested_rule_is_recovered_under_noise() -> None:
    samples = sampled("x*tanh(y - w)", noise=0.01)
    texts = [str(p.expression) for p in propose(samples, operator_sets=(("tanh",),))]
    assert "x*tanh(y - w)" in texts


@needs_pyoperon
def test_small_weights_and_small_updates_change_nothing() -> None:
    generator = np.random.default_rng(1)
    x, y, w = generator.normal(size=(3, 1000)) * [[1.0], [1.0], [0.03]]
    samples = Samples(VARIABLES, np.column_stack([x, y, w]), 1e-3 * (x * y - w * y**2))
    assert "0.001*x*y - 0.001*w*y**2" in [str(p.expression) for p in propose(samples)]


@needs_pyoperon
def test_same_proposals_for_one_and_two_threads_and_others_for_another_seed() -> None:
    samples = sampled("x*tanh(y) - 0.3*w*abs(y)", noise=0.05, n=400)
    runs = [propose(samples, 3, generations=5, threads=threads) for threads in (1, 2)]
    assert runs[0] == runs[1]
    assert propose(samples, 4, generations=5) != runs[0]


@needs_pyoperon
def test_progress_goes_from_nothing_to_one() -> None:
    seen: list[float] = []
    settings = SearchSettings(operon=OperonSettings(generations=10, operator_sets=((),)))
    OperonEngine().propose(sampled("x*y", noise=0.1, n=200), settings, 0, lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def child(code: str) -> OperonEngine:
    return OperonEngine((sys.executable, "-c", code))


@needs_pyoperon
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "segmentation fault"),
        ("import sys; sys.stdin.readline(); sys.exit('out of luck')", "out of luck"),
        ("print('no JSON')", "exit code 0"),
        ('print(\'{"answer": [[["Nonsense", 2]]]}\')', "cannot be read"),
        ("print('[1]')", "exit code 0"),
    ],
)
def test_a_child_that_fails_ends_in_one_clear_paragraph(code: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        child(code).propose(sampled("x*y", n=100), SearchSettings(), 0)
    assert "\n" not in str(caught.value)


@needs_pyoperon
@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "while True: print('{}', flush=True)"])
def test_a_child_that_hangs_is_ended_at_the_time_limit(code: str) -> None:
    settings = SearchSettings(operon=OperonSettings(time_limit_s=0.5))
    with pytest.raises(EngineError, match="within its time limit"):
        child(code).propose(sampled("x*y", n=100), settings, 0)


PARENT = """\
from test_search_terms import sampled
from discover.search.engine import OperonSettings, SearchSettings
from discover.search.operon import OperonEngine

budget = OperonSettings(generations=1_000_000, chunk=1_000_000, time_limit_s=600.0)
OperonEngine().propose(sampled("x*tanh(y - w)", noise=0.5), SearchSettings(operon=budget), 0)
"""


@needs_pyoperon
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child ends when it next reports")
def test_a_child_does_not_outlive_a_parent_that_is_killed() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=os.environ | {"PYTHONPATH": path}, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not any(searches(pid) for pid in children(parent.pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children(parent.pid) != []
    parent.kill()
    parent.wait()
    while alive(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive(parent.pid) == []


def searches(pid: int) -> bool:
    """Say whether a child has got past its imports: pyoperon runs threads of its own."""
    return b"pyoperon" in Path(f"/proc/{pid}/maps").read_bytes()


@needs_pyoperon
def test_a_child_whose_parent_is_gone_does_not_begin() -> None:
    samples = sampled("x*y", n=100)
    request = operon._request(samples, operon._scales(samples), SearchSettings(), 1) | {"parent": 1}
    done = subprocess.run(
        OperonEngine().command,
        input=json.dumps(request) + "\n",
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_without_a_wheel_the_platforms_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operon.importlib.util, "find_spec", lambda name: None)
    state = OperonEngine().availability()
    assert not state.usable
    assert "Linux on x86-64" in state.remedy
    assert "terms" in state.remedy
    with pytest.raises(EngineUnavailable, match="pyoperon is not installed"):
        OperonEngine().propose(sampled("x*y", n=100), SearchSettings(), 0)


def test_request_is_json_and_names_only_allowed_operators() -> None:
    samples = sampled("x*y", n=100)
    request = operon._request(samples, operon._scales(samples), SearchSettings(operators=("tanh",)), 1)
    assert json.loads(json.dumps(request))["operator_sets"] == [[], ["Tanh"]]


@pytest.mark.parametrize(
    "text",
    [
        "0.3*x*tanh(0.5*y - 1.2*w) + exp(-0.3*y)/(0.7 + y**2)",
        "abs(y - 0.4)*sqrt(1.5 + w) - max(0.3*x, y)*min(w, 0.2)",
        "(abs(x) + 0.1)**0.7*log(4.2 + w)",
        "sign(x)*0.4*w",
    ],
)
def test_constants_are_fitted_from_a_wrong_start(text: str) -> None:
    samples = sampled(text, n=300)
    tree = parse(text, VARIABLES)
    start = with_constants(tree, [1.03 * value for value in constants(tree)])
    assert fit_constants(start, samples, 200).error < 1e-20


@pytest.mark.parametrize(
    ("wrapped", "rule"),
    [
        ("2.5*(0.4*x*y - 0.4*w*y**2) + 1e-9", "x*y - w*y**2"),
        ("0.6*tanh(y)*(1.6666667*x - 1.6666667*w*tanh(y))", "tanh(y)*(x - w*tanh(y))"),
        ("-0.999999*x*tanh(w - 1.0000001*y) + 1e-8*w", "x*tanh(y - w)"),
        ("3*x*y + 7", "x*y"),
    ],
)
def test_wrappers_are_folded_and_negligible_parts_dropped(wrapped: str, rule: str) -> None:
    assert str(polished(parse(wrapped, VARIABLES), sampled(rule, n=300))[-1]) == rule


def test_folding_keeps_one_scale_each() -> None:
    samples = sampled("12*tanh(w)*(y - 0.5*x)", n=300)
    folded = fold_wrappers(parse("2*(3*x - 6*y)*tanh(-w)", VARIABLES), samples)
    assert np.allclose(evaluate(folded, samples.columns), samples.target)
    assert len(constants(folded)) <= 3


def test_undefined_expressions_are_left_out() -> None:
    assert polished(parse("log(x)", VARIABLES), sampled("x*y", n=300)) == []

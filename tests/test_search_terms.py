"""The product-term search, and what all engines share: samples, fronts, the registry."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from discover.errors import EngineError
from discover.expression import Complexity, Node, canonical, const, constants, evaluate, parse, with_constants
from discover.search._front import front
from discover.search._term_library import read_templates
from discover.search.engine import (
    ENGINES,
    Availability,
    Engine,
    Proposal,
    Samples,
    SearchSettings,
    TermsSettings,
    get_engine,
    resolve,
)
from discover.search.settings import DEFAULT_FACTORS
from discover.search.terms import TermsEngine

VARIABLES = ("x", "y", "w")

PUBLISHED_FORMS = {
    "oja": "x*y - w*y**2",
    "bcm": "x*y**2 - 0.5*x*y",
    "tanh oja": "x*tanh(y) - w*tanh(y)**2",
    "soft bound": "x*y*sqrt(1 - w) - 0.3*y*w",
    "saturating": "x*y/(1 + y**2) - 0.1*w",
    "divisive": "x*y/(0.5 + y) - w*y",
}


def sampled(rule: str, *, noise: float = 0.0, n: int = 2000, seed: int = 0, scale: float = 1.0) -> Samples:
    """States with rates above zero where a pole would lie below, else with both signs."""
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(n, 3))
    if "0.5 + y" in rule:
        states = generator.uniform(0.0, 2.0, size=(n, 3))
    states[:, 2] = generator.uniform(size=n)
    target = evaluate(parse(rule, VARIABLES), dict(zip(VARIABLES, states.T, strict=True)))
    noisy = target + noise * target.std() * generator.normal(size=n)
    return Samples(VARIABLES, states, scale * noisy)


def is_exact(proposal: Proposal, *forms: str) -> bool:
    """The tree of the rule, in one of the forms it can be written in, with all constants within 1 %."""
    numbers = [1.0 if abs(value - 1) < 0.01 else value for value in constants(proposal.expression)]
    tree = canonical(with_constants(proposal.expression, numbers), VARIABLES)
    return any(_same_tree(tree, canonical(parse(form, VARIABLES), VARIABLES)) for form in forms)


def _same_tree(tree: Node, truth: Node) -> bool:
    found, expected = constants(tree), constants(truth)
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=0.01, atol=0):
        return False
    return with_constants(tree, expected) == truth


def propose(samples: Samples, **terms: object) -> list[Proposal]:
    return TermsEngine().propose(samples, SearchSettings(terms=TermsSettings(**terms)), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("rule", PUBLISHED_FORMS.values(), ids=list(PUBLISHED_FORMS))
def test_published_forms_are_recovered(rule: str, noise: float) -> None:
    samples = sampled(rule, noise=noise)
    assert any(is_exact(proposal, rule) for proposal in propose(samples, max_terms=3))


def test_round_constants_come_out_round() -> None:
    texts = [str(p.expression) for p in propose(sampled("x*y/(1 + y**2) - 0.1*w", noise=0.01), max_terms=2)]
    assert "x*y/(1 + y**2) - 0.1*w" in texts


def test_front_is_sorted_canonical_and_without_duplicates() -> None:
    proposals = propose(sampled("x*y - w*y**2", noise=0.05), max_terms=3)
    complexities = [Complexity().of_update(p.expression) for p in proposals]
    assert complexities == sorted(set(complexities))
    assert all(a.nmse > b.nmse for a, b in itertools.pairwise(proposals))
    assert all(p.expression == canonical(p.expression, VARIABLES) for p in proposals)
    assert {p.engine for p in proposals} == {"terms"}


def test_small_weights_and_small_updates_change_nothing() -> None:
    """Weights of 1/sqrt(1000) and updates of 1e-3, as in wide networks with a small learning rate."""
    generator = np.random.default_rng(1)
    x, y, w = generator.normal(size=(3, 2000)) * [[1.0], [1.0], [0.03]]
    samples = Samples(VARIABLES, np.column_stack([x, y, w]), 1e-3 * (x * y - w * y**2))
    best = propose(samples)[-1]
    assert str(best.expression) == "0.001*x*y - 0.001*w*y**2"


def test_same_proposals_whatever_the_number_of_threads() -> None:
    code = (
        "import numpy as np; from discover.search.engine import *; from discover.search.terms import *\n"
        "s = np.random.default_rng(0).normal(size=(600, 3)); x, y, w = s.T\n"
        "t = x*np.tanh(y) - w*y**2 + 0.1*np.random.default_rng(1).normal(size=600)\n"
        "settings = SearchSettings(terms=TermsSettings(max_terms=2))\n"
        "for p in TermsEngine().propose(Samples(('x', 'y', 'w'), s, t), settings, 5): print(p)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    ]
    assert outputs[0] == outputs[1] != ""


def test_one_more_line_in_the_library_is_one_more_factor() -> None:
    rule = "x*exp(-y**2/0.8) - 0.2*w"
    samples = sampled(rule)
    assert not any(is_exact(p, rule) for p in propose(samples, max_terms=2))
    extended = propose(samples, max_terms=2, factors=(*DEFAULT_FACTORS, "exp(-v**2/c)"))
    assert any(is_exact(p, rule) for p in extended)


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    settings = SearchSettings(operators=())
    proposals = TermsEngine().propose(sampled("x*tanh(y) - w*y**2"), settings, seed=0)
    assert not any("(" in str(p.expression).replace("(1 - w)", "") for p in proposals)
    assert all(word not in str(p.expression) for p in proposals for word in ("tanh", "sqrt", "/"))


@pytest.mark.parametrize(
    ("factor", "message"),
    [("gamma(v)", "Unknown function"), ("c", "not a function of v"), ("__import__('os')", "cannot be read")],
)
def test_a_factor_that_cannot_be_used_is_named(factor: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_templates([factor], ())


def test_a_library_that_is_too_large_says_so() -> None:
    factors = tuple(f"exp(-abs(v)*{k}/c)*v**{k}" for k in range(1, 60))
    with pytest.raises(EngineError, match=r"Take factors out|lower max_factors"):
        propose(sampled("x*y", n=100), factors=(*DEFAULT_FACTORS, *factors))


@pytest.mark.parametrize("target", [0.0, 3.0])
def test_constant_update_gives_the_constant(target: float) -> None:
    states = np.random.default_rng(0).normal(size=(100, 3))
    assert [p.expression for p in propose(Samples(VARIABLES, states, np.full(100, target)))] == [
        const(target)
    ]


def test_inputs_that_never_vary_are_an_error() -> None:
    with pytest.raises(EngineError, match="varies"):
        propose(Samples(("w",), np.ones((100, 1)), np.arange(100.0)))


@pytest.mark.parametrize(
    ("inputs", "target", "message"),
    [
        (np.ones((30, 2)), np.ones(30), "shape"),
        (np.ones((30, 3)), np.ones(29), "shape"),
        (np.ones((5, 3)), np.ones(5), "at least 20"),
        (np.full((30, 3), np.nan), np.ones(30), "NaN"),
    ],
)
def test_samples_that_cannot_be_used(inputs: np.ndarray, target: np.ndarray, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        Samples(VARIABLES, inputs, target)


def test_front_leaves_out_what_is_undefined_too_large_or_beaten() -> None:
    samples = sampled("x*y")
    texts = ["x*y", "x*y + 0", "log(x)", "x*y + 0*w", "x + y + w", "1.5"]
    proposals = front([parse(text, VARIABLES) for text in texts], samples, "test", max_nodes=4)
    assert [str(p.expression) for p in proposals][-1] == "x*y"
    assert all(p.expression.complexity <= 4 for p in proposals)


def test_every_engine_keeps_the_protocol_and_says_whether_it_runs() -> None:
    for name in ENGINES:
        engine = get_engine(name)
        assert isinstance(engine, Engine)
        state = engine.availability()
        assert isinstance(state, Availability)
        assert state.engine == engine.name == name
        assert state.usable or (state.reason and state.remedy)


def test_resolving_names() -> None:
    assert resolve(["terms", "auto"])[0].name == "terms"
    assert {"terms"} <= {engine.name for engine in resolve("auto")}
    with pytest.raises(EngineError, match="Did you mean 'terms'"):
        resolve(["term"])
    with pytest.raises(EngineError, match="No engine"):
        resolve([])


def test_importing_the_registry_loads_no_engine() -> None:
    code = (
        "import sys, discover.search.engine;"
        "print([m for m in ('scipy', 'pyoperon', 'pysr', 'sympy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pyoperon" not in answer.stdout
    assert "pysr" not in answer.stdout
    assert "scipy" not in answer.stdout

"""What a notebook shows: short lines, tables, formulas, and progress without rubbish."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from toy_pipeline import Toy

from discover.comparison import compare
from discover.errors import NoCandidate, RuleError, TaskError
from discover.inference import from_rows, infer
from discover.notebook import html
from discover.pareto import Candidate, ParetoFront, Provenance, Reported
from discover.report.front_plot import front_plot
from discover.rule import Rule
from discover.shown import notebook_shell
from pipelines.events import open_reporter
from pipelines.study import Study, run

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(ROOT / "results" / "reference" / "oja")


def rows_of(text: str) -> list[list[str]]:
    """Cells of all tables, without their markup; fails where the HTML is not well formed."""
    style, _, rest = text.partition("</style>")
    assert style.startswith("<style>")
    tree = ElementTree.fromstring(rest)
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


# ------------------------------------------------------------------------------------------------- the front


def test_candidates_are_taken_from_the_front_by_their_names(study: Study) -> None:
    front = study.front
    for one in front.candidates:
        assert front[one.id] is one
    assert [one.id for one in front] == [one.id for one in front.front]
    with pytest.raises(NoCandidate, match="no candidate 'c0x'") as caught:
        _ = front["c0x"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, TaskError)
    assert str(caught.value).startswith("There is no candidate 'c0x'. Did you mean ")


def test_a_front_becomes_a_data_frame(study: Study) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = study.front.to_frame()
    assert list(frame.index) == [one.id for one in study.front.candidates]
    assert list(frame.columns[:5]) == ["rule", "complexity", "loss", "low", "high"]
    chosen = frame.loc[study.front.chosen_id]
    assert chosen.loss == study.front.chosen.loss
    assert Rule.parse(chosen.rule) == study.rule
    assert frame[frame.chosen].index.tolist() == [study.front.chosen_id]
    assert frame.index[frame.on_front].tolist() == [one.id for one in study.front.candidates if one.on_front]


def test_without_pandas_one_line_says_so(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^A data frame needs pandas: pip install pandas\.$"):
        study.front.to_frame()


def test_a_front_is_drawn_into_axes(study: Study) -> None:
    axes = study.front.plot()
    assert axes.get_xlabel().startswith("complexity")
    assert axes.get_ylabel() == study.front.loss_name
    offsets = np.concatenate(
        [np.asarray(one.get_offsets()) for one in axes.collections if len(one.get_offsets())]
    )
    drawn = {(float(x), float(y)) for x, y in offsets}
    assert (float(study.front.chosen.complexity), study.front.chosen.loss) in drawn
    assert axes.get_legend() is not None
    pyplot.close(axes.figure)  # type: ignore[arg-type]
    _, (left, right) = pyplot.subplots(1, 2)
    assert study.front.plot(right) is right
    assert not left.has_data()
    pyplot.close()


@pytest.mark.parametrize("tested", [False, True])
def test_the_staircase_of_a_front_goes_down_whatever_the_names_of_candidates(tested: bool) -> None:
    losses = {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2, 5: 0.1}
    candidates = [
        Candidate(
            f"c{number}",
            Rule.parse("x*y"),
            losses[complexity],
            losses[complexity],
            complexity=complexity,
            provenance=Provenance(("terms",)),
            # On the test problems the rule of complexity 3 does worse than that of complexity 2.
            test=Reported(0.45 if complexity == 3 else losses[complexity], 0.0, 1.0, 64) if tested else None,
        )
        for number, complexity in enumerate((1, 5, 3, 2, 4), start=1)
    ]
    front = ParetoFront.of("oja", ("terms",), candidates)
    axes = front.plot()
    drawn = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_drawstyle() == "steps-post"]
    pyplot.close(axes.figure)  # type: ignore[arg-type]
    trace = next(one for one in front_plot(front)["data"] if one.get("mode") == "lines")
    for corners in (*drawn, np.column_stack([trace["x"], trace["y"]])):
        assert corners[:, 0].tolist() == [1, 2, 3, 4, 5]
        assert (np.diff(corners[:, 1]) <= 0).all()
    assert len(drawn) == 1


def test_a_front_is_a_table_with_an_arrow_at_the_chosen_rule(study: Study) -> None:
    heading, *rows = rows_of(html(study.front))
    assert heading == ["", "id", "rule", "complexity", "loss", "95 % interval", "proposed by"]
    assert [row[1] for row in rows] == [one.id for one in study.front]
    assert [row[1] for row in rows if row[0]] == [study.front.chosen_id]
    assert f"{study.front.chosen.loss:.4g}" in {row[4] for row in rows}
    assert study.front._repr_html_() == html(study.front)
    (_, alone) = rows_of(html(study.front.chosen))
    assert alone[1] == study.front.chosen_id


def test_a_chosen_rule_that_is_beaten_stands_in_the_table() -> None:
    by = Provenance(("terms",))
    simple = Candidate("c1", Rule.parse("x*y"), 0.1, 0.10, provenance=by, on_front=True)
    beaten = Candidate("c2", Rule.parse("x*y - w"), 0.1, 0.11, provenance=by)
    front = ParetoFront("oja", ("terms",), (simple, beaten), "c2", "by hand")
    assert [row[1] for row in rows_of(html(front))] == ["id", "c1", "c2"]


@given(st.text(max_size=30))
def test_names_and_texts_cannot_break_out_of_the_html(name: str) -> None:
    one = Candidate(f"<b>{name}", Rule.parse("x*y"), 0.1, 0.1, provenance=Provenance((f"<i>{name}",)))
    text = html(ParetoFront.of("oja", (), [one]))
    assert "<b>" not in text
    assert "<i>" not in text


# ------------------------------------------------------------------------------- validation and comparison


def test_a_validation_is_a_table_of_rules_by_folds(study: Study) -> None:
    heading, *rows = rows_of(html(study.validation))
    assert [row[0] for row in rows] == list(study.validation.candidates)
    for row, one in zip(rows, study.validation.candidates.values(), strict=True):
        assert row[1] == f"{one.n_passed} of {len(one.folds)}"
        assert row[2:].count("✓") == one.n_passed
    assert heading[2:] == [fold.name for fold in study.validation.candidates[rows[0][0]].folds]
    chosen = study.validation.candidates[study.front.chosen_id]
    assert len(rows_of(html(chosen))) == 1 + len(chosen.folds)


def test_a_comparison_is_a_table_of_candidates(study: Study) -> None:
    text = html(study.comparison)
    rows = {row[0]: row for row in rows_of(text)}
    for name, one in study.comparison.candidates.items():
        assert rows[name][2] == one.verdict
    assert "the chosen rule compared with" in text
    one = study.comparison.candidates[study.front.chosen_id]
    _, first, *rest = rows_of(html(one))
    assert first[0] == "Oja (1982)"
    assert len(rest) == len(one.distances) - 1


def test_a_path_is_a_table_of_penalties(study: Study) -> None:
    heading, *rows = rows_of(study.path._repr_html_())
    assert heading == ["", "L1 penalty", "terms", "held-out loss", "training loss", "rule"]
    penalties = [float(row[1]) for row in rows]
    assert penalties == sorted(penalties)
    chosen = study.path.chosen_point
    assert [(row[2], row[3]) for row in rows if row[0]] == [
        (str(chosen.n_terms), f"{chosen.heldout_loss:.4g}")
    ]


def test_a_finished_run_is_the_table_of_its_front(toy: Toy) -> None:
    found = run("toy.toml", quiet=True)
    text = found._repr_html_()
    assert "<pre>" not in text
    assert text.startswith(html(found.front))
    assert f"<p>report: {found.report}</p>" in text
    assert "equals Oja (1982) up to scale." in text


def test_every_repr_is_one_short_line(study: Study) -> None:
    states = np.random.default_rng(0).normal(size=(80, 3))
    x, y, w = states.T
    recordings = from_rows(("x", "y", "w"), states, x * y - w * y**2, None)
    found = infer(recordings, engines=())
    shown: list[object] = [
        study, study.front, study.front.chosen, study.path, study.path.chosen_point, study.validation,
        study.validation.candidates[study.front.chosen_id], study.comparison,
        study.comparison.candidates[study.front.chosen_id], study.rule, compare("x*y"), recordings, found,
        found.path,
    ]  # fmt: skip
    for one in shown:
        assert len(repr(one)) < LONGEST, repr(one)
        assert "\n" not in repr(one)
    assert f"chosen {study.front.chosen_id}" in repr(study.front)
    assert repr(found.verdict).startswith("<Verdict: The data support a rule.")
    assert "80 rows in 10 blocks of rows" in repr(recordings)
    assert found.verdict.text in html_of(found)


def html_of(shown: Any) -> str:
    text: str = shown._repr_html_()
    assert rows_of(text)
    return text.replace("&#x27;", "'")


def test_there_is_no_html_of_other_things() -> None:
    with pytest.raises(TypeError, match="no HTML of a dict"):
        html({})


# --------------------------------------------------------------------------------------------------- rules


def test_a_rule_is_a_formula() -> None:
    rule = Rule.parse({"feedforward": "x*y - 0.5*w*y**2", "lateral": "-y_pre*y_post"})
    assert rule._repr_latex_() == f"$\\displaystyle {rule.latex()}$"
    style, _, rest = rule._repr_html_().partition("</style>")
    assert len(list(ElementTree.fromstring(rest).iter("math"))) >= 2
    assert ".plasticity .formula" in style


@given(st.floats(-3, 3), st.lists(st.floats(-3, 3), min_size=1, max_size=4))
def test_a_rule_is_called_on_arrays(y: float, x: list[float]) -> None:
    rule = Rule.parse("x*tanh(y) - 0.5*w*y**2")
    w = np.array([[0.5], [2.0]])
    expected = [[one * np.tanh(y) - 0.5 * row[0] * y**2 for one in x] for row in w]
    np.testing.assert_allclose(rule(x=x, y=y, w=w), expected, rtol=1e-12, atol=1e-300)


def test_the_slot_is_named_where_there_are_several() -> None:
    rule = Rule.parse({"on_pre": "x_post - 0.2", "on_post": "x_pre", "tau_pre": "30"})
    np.testing.assert_allclose(rule("on_pre", x_post=[0.5, 0.1]), [0.3, -0.1])
    assert rule("on_post", x_pre=2.0, w=[1.0, 1.0]).tolist() == [2.0, 2.0]
    with_constant = Rule.parse({"on_pre": "x_post", "tau_post": "30"})
    assert with_constant(x_post=3.0) == 3.0
    for call, said in (
        (lambda: rule(x_post=1.0), "Say which slot is meant: on_pre, on_post"),
        (lambda: rule("tau_pre"), "a constant of the synapse"),
        (lambda: rule("lateral"), "does not act in slot 'lateral'"),
        (lambda: rule("on_prez"), "Did you mean 'on_pre'"),
    ):
        with pytest.raises(RuleError, match=said):
            call()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": 1.0, "y": 2.0}, "No value for the variable 'w'; given: x, y"),
        ({"x": 1.0, "y": 2.0, "w": 1.0, "z": 3.0}, "Unknown variable 'z'. Variables: x, y, w"),
        ({"x": [1, 2], "y": [1, 2, 3], "w": 0}, r"do not broadcast .*: x \(2,\), y \(3,\), w \(\)"),
        ({"x": "one", "y": 2.0, "w": 1.0}, "'x' needs numbers, got str"),
        ({"x": [[1], [1, 2]], "y": 2.0, "w": 1.0}, "'x' needs numbers, got list"),
    ],
)
def test_wrong_arrays_are_refused(arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(RuleError, match=said):
        Rule.parse("x*y - w*y**2")(**arrays)


# ------------------------------------------------------------------------------------------------- progress


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for IPython in a notebook; returns what its one output showed, drawing by drawing."""
    drawn: list[str] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        assert raw
        assert display_id
        return SimpleNamespace(update=lambda data, raw: drawn.append(data["text/plain"]))

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    shown = ModuleType("IPython.display")
    shown.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return drawn


def test_in_a_notebook_one_output_says_how_far_a_run_is(
    notebook: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    reporter = open_reporter(None)
    with reporter.stage("fit") as progress:
        reporter.note("compiling kernels (once)")
        for step in range(1, 101):
            now[0] += 0.05
            progress(step / 100, f"step {step}")
    reporter.up_to_date("search")
    reporter.close()
    assert capsys.readouterr() == ("", "")
    assert notebook[0] == "fit: started"
    moving = r"compiling kernels \(once\)\nfit: +\d+% step \d+ \(about 2 s left\)"
    assert any(re.fullmatch(moving, text) for text in notebook)
    assert notebook[-1] == "compiling kernels (once)\nfit: done in 5.0 s\nsearch: up to date"
    assert len(notebook) < 30
    assert not any("\r" in text for text in notebook)


def test_a_stream_that_was_asked_for_is_used_in_a_notebook_too(
    notebook: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = open_reporter(None, sys.stdout)
    with reporter.stage("fit"):
        pass
    reporter.close()
    assert capsys.readouterr().out.startswith("fit: started\nfit: done in")
    assert notebook == []


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), SimpleNamespace(kernel=None)])
def test_ipython_in_a_terminal_is_no_notebook(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    get: Callable[[], object] = lambda: shell  # noqa: E731
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=get))
    assert notebook_shell() is None

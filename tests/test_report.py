"""The report: one file that opens offline, tells what was found, and lets no text of an artefact run."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_by_hand import artefacts, candidate, fold, folds, point, standing, write_run
from smoke_runs import SmokeRuns
from stand_in_task import StandInTask

import discover.report.curves
import discover.tasks
from discover.errors import ArtefactError
from discover.intervals import ENOUGH
from discover.report import write_report
from discover.report.figures import FIGURES, front_figure, path_figure
from discover.report.front_plot import front_plot
from discover.report.portrait import PORTRAIT, portrait_figure, window_of
from discover.report.reading import read_run
from discover.rule import Rule
from discover.slots import FEEDFORWARD, SLOTS

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }} $\\frac$"


class Page(HTMLParser):
    """The elements of a page, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data = ""
        self._open = ""
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else ""
        if tag == "script" and dict(attrs).get("id") == "front-data":
            self._open = "data"

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "data":
            self.data += data
        elif not self._open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    real = discover.tasks.get_task
    monkeypatch.setattr(
        discover.tasks, "get_task", lambda name: StandInTask() if name == "stand-in" else real(name)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report."""
    folder = write_run(tmp_path_factory.mktemp("report") / "run", artefacts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discover.tasks, "get_task", lambda name: StandInTask())
        assert write_report(folder) == folder / "report.html"
    return folder


def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def policy(found: Page) -> str:
    """Return the content security policy of a page."""
    return next(one["content"] or "" for one in found.all("meta") if "http-equiv" in one)


def test_long_names_do_not_leave_the_figure() -> None:
    from discover.report.curves import LearningCurve
    from discover.report.figures import curves_figure
    from discover.report.style import styled

    falling = np.array([1.0, 0.1])
    names = ("chosen rule", "Homeostatic scaling with anti-Hebbian decorrelation (1989)")
    with styled():
        curves = [LearningCurve(name, np.array([0, 9]), *[falling] * 3) for name in names]
        figure = curves_figure(curves, 0.5, "seconds")
        figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    (axes,) = figure.axes
    assert axes.get_xlabel() == "seconds"
    assert [line.get_xdata().tolist() for line in axes.get_lines()] == [[0.0, 4.5]] * 2


def test_beaten_candidates_do_not_stretch_the_axes(tmp_path: Path) -> None:
    from discover.report.axes import front_view

    content = artefacts()
    before = front_view(read_run(write_run(tmp_path / "before", content)).front)
    far = next(one for one in content["front"]["candidates"] if not one["on_front"])
    content["front"]["candidates"].append({**far, "id": "far", "complexity": 470, "heldout_loss": 0.5})
    after = front_view(read_run(write_run(tmp_path / "after", content)).front)
    assert (after.right, after.low, after.high) == (before.right, before.low, before.high)
    assert after.n_outside == before.n_outside + 1
    on_front = [one["complexity"] for one in content["front"]["candidates"] if one["on_front"]]
    assert max(on_front) < after.right < 470


def test_a_front_without_a_loss_has_no_ticks_below_zero(tmp_path: Path) -> None:
    content = artefacts()
    for one in content["front"]["candidates"]:
        one.update(train_loss=0.0, heldout_loss=0.0, heldout_error=0.0, allowance=0.0, test=None)
    front = read_run(write_run(tmp_path, content)).front
    figure = front_figure(front)
    (axes,) = figure.axes
    assert axes.get_ylim()[0] < 0  # room for the mark of the chosen rule
    assert len(axes.get_yticks()) > 0
    assert min(axes.get_yticks()) == 0
    assert front_plot(front)["layout"]["yaxis"]["tickvals"] == axes.get_yticks().tolist()


def test_rules_learn_at_the_multiples_that_suit_them(smoke_runs: SmokeRuns) -> None:
    run = read_run(smoke_runs.folder("oja-smoke"))
    rules = {"chosen rule": run.front.chosen.rule, "Oja (1982)": Rule.parse("x*y - w*y**2")}
    speeds = discover.report.curves.best_speeds(run, rules)
    (oja,) = [one for one in run.comparison.contests if "oja" in (one.name, *one.also)]
    assert speeds == {"chosen rule": oja.found_speeds, "Oja (1982)": oja.speeds}
    task, settings = discover.tasks.get_task("oja"), run.config.sections["problems"]
    (fast,) = discover.report.curves.learning_curves(
        task, settings, 0, {"a": rules["Oja (1982)"]}, {"a": {"feedforward": 2.0}}
    )
    (plain,) = discover.report.curves.learning_curves(
        task, settings, 0, {"a": rules["Oja (1982)"].scaled(2.0)}
    )
    assert fast.median.tolist() == plain.median.tolist()


def test_the_report_says_what_was_found(run: Path) -> None:
    text = page(run).text
    assert "It is the same as Oja (1982) up to scale. It passed all 4 folds of cross-validation." in text
    assert "w*y**2 : x*y = −0.989" in text
    assert "extra: w*y**2" in text
    for words in ("Decay of a number", "operon, terms", "0.9821", "c04", "inputs with heavy tails", "12.3"):
        assert words in text


def test_the_page_holds_everything_it_shows(run: Path) -> None:
    """No element refers to another file, and the page's policy forbids what a script might try."""
    found = page(run)
    addresses = [
        value
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "poster", "action") and value
    ]
    assert addresses
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in addresses)
    assert policy(found).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy(found)
    style = re.search(r"<style>(.*?)</style>", (run / "report.html").read_text(encoding="utf-8"), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_no_button_of_the_plot_sends_the_data_elsewhere(run: Path) -> None:
    script = (run / "report.html").read_text(encoding="utf-8").rpartition("<script>")[2]
    assert "showSendToCloud: false" in script
    assert 'plotlyServerURL: ""' in script


def test_figures_are_written_as_svg_and_png(run: Path) -> None:
    for name in (*FIGURES, PORTRAIT):
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        text = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert "<svg" in text
        assert "dc:date" not in text
    assert len(list((run / "figures").iterdir())) == 2 * (len(FIGURES) + 1)


def test_the_same_run_makes_the_same_bytes(run: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "run", artefacts())
    write_report(again)
    for file in [*(run / "figures").iterdir(), run / "report.html"]:
        assert (again / file.relative_to(run)).read_bytes() == file.read_bytes(), file.name


def test_the_plot_shows_every_candidate_and_points_at_the_chosen_one(run: Path) -> None:
    figure = json.loads(page(run).data)
    points = {
        number: (x, y)
        for trace in figure["data"]
        for number, x, y in zip(trace.get("customdata", []), trace["x"], trace["y"], strict=False)
    }
    losses = sorted(y for _, y in points.values())
    assert losses == [0.109, 0.112, 0.33, 0.41, 0.95]
    (arrow,) = figure["layout"]["annotations"]
    assert figure["layout"]["yaxis"]["type"] == "linear"
    assert arrow["y"] == pytest.approx(0.112)
    panels = [one for one in page(run).all("article") if one["class"] == "panel"]
    assert [one["data-candidate"] for one in panels] == [str(number) for number in sorted(points)]


def test_candidates_that_others_beat_are_folded_away(run: Path) -> None:
    front = json.loads((run / "front.json").read_text())
    beaten = [
        one["id"] for one in front["candidates"] if not one["on_front"] and one["id"] != front["chosen"]
    ]
    assert beaten
    text = page(run).text
    fold = text.index(f"The other {len(beaten)} candidate")
    for name in beaten:
        assert text.index(f"{name} ", text.index("Candidates on the front")) > fold


def test_the_plot_is_one_that_plotly_accepts(run: Path) -> None:
    from plotly import graph_objects

    graph_objects.Figure(json.loads(page(run).data))


def test_losses_far_apart_stand_on_a_logarithmic_axis(tmp_path: Path) -> None:
    content = artefacts()
    content["front"]["candidates"][0]["heldout_loss"] = 1e6
    write_report(write_run(tmp_path, content))
    layout = json.loads(page(tmp_path).data)["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert layout["yaxis"]["dtick"] == 1
    assert layout["annotations"][0]["y"] == pytest.approx(np.log10(0.112))


def test_no_text_of_an_artefact_becomes_markup(tmp_path: Path) -> None:
    content = artefacts()
    content["front"]["candidates"][2]["id"] = content["front"]["chosen"] = HOSTILE
    content["front"]["reason"] = content["path"]["reason"] = HOSTILE
    content["front"]["engine"] = [HOSTILE]
    content["front"]["candidates"][0]["provenance"] = {"proposed_by": [HOSTILE], "refined_by": HOSTILE}
    failed = fold(HOSTILE, HOSTILE, 0.4, passed=False, reason=HOSTILE)
    failed["metrics"][HOSTILE] = failed["metrics"]["loss"]
    tried = {"folds": [failed], "passed": False}
    content["validation"]["candidates"] |= {HOSTILE: tried, HOSTILE + "2": tried}
    entry = {"nearest": HOSTILE, "verdict": HOSTILE, "distances": {HOSTILE: {"coefficient": 1.0}}}
    content["comparison"]["candidates"] = {HOSTILE: entry}
    rule, measured = {"feedforward": "x*y"}, {HOSTILE: {"mean": 1.0, "low": 0.5, "high": 2.0}}
    content["front"]["simplifications"] = [
        {"what": HOSTILE, "before": rule, "after": rule, "cost": 0.1, "error": 0.2, "accepted": True}
    ]
    content["front"]["spent"] = [
        {"way": HOSTILE, "n_simulated": 5, "heldout_loss": 0.1, "trace": [[5, 0.1]]}
    ] * 2
    content["path"]["points"][0]["origin"] = HOSTILE
    content["comparison"]["ablations"] = [{"name": HOSTILE, "slots": rule, "metrics": measured}] * 2
    standings = {HOSTILE: standing("better")}
    content["comparison"]["contests"] = [{"name": HOSTILE, "speed": 1.0, "measures": standings}]
    content["comparison"]["baseline"] = {
        "rows": [{"name": HOSTILE, "slots": rule, "metrics": measured}],
        "differences": {HOSTILE: measured[HOSTILE]},
        "beaten_by": [HOSTILE],
        "text": HOSTILE,
    }
    content["config"] |= {"name": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}}
    content["manifest"] |= {
        "versions": {HOSTILE: HOSTILE},
        "platform": {HOSTILE: HOSTILE},
        "code": HOSTILE,
        "stages": {HOSTILE: content["manifest"]["stages"]["fit"]},
    }
    write_report(write_run(tmp_path, content))
    found = page(tmp_path)
    assert [one.get("id") for one in found.all("script")] == ["front-data", None, None]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert all((one["src"] or "").startswith("data:image/svg+xml;base64,") for one in found.all("img"))
    assert HOSTILE in " ".join(found.words)
    assert "<" not in re.sub(r"</?b>|<br>", "", "".join(json.loads(found.data)["data"][2]["text"]))


def test_a_front_of_one_candidate_that_nobody_validated_or_compared(tmp_path: Path) -> None:
    content = artefacts()
    only = candidate("c02", "x*y", 0.0)
    del only["heldout_error"]
    only["provenance"] = None
    content["front"]["candidates"] = [only]
    content["validation"]["candidates"] = content["comparison"]["candidates"] = {}
    content["path"]["points"] = [
        {
            key: value
            for key, value in point(0.0, xy=1.0).items()
            if key not in ("heldout_error", "restart", "origin")
        }
    ]
    content["path"] |= {"chosen": 0, "term_stability": {}}
    content["manifest"] = {}
    content["config"] = {"task": "stand-in"}
    write_report(write_run(tmp_path, content))
    text = page(tmp_path).text
    assert "It was not compared with known rules. It was not tried under other conditions." in text


def test_folds_that_the_chosen_rule_did_not_pass_are_said_first(tmp_path: Path) -> None:
    content = artefacts()
    content["validation"]["candidates"]["c02"] = folds(2.0)
    write_report(write_run(tmp_path, content))
    text = page(tmp_path).text
    assert "passed 3 of 4 folds of cross-validation. Failed: 200 inputs instead of 20." in text
    assert "loss 0.42 is above that of oja, 0.21" in text


def test_the_report_says_what_the_rule_beats_and_on_what(run: Path) -> None:
    text = page(run).text
    assert "The chosen rule beats Hebb on loss, undecided on cosine" in text  # "equal" of an earlier run
    assert "is beaten by Sanger" in text
    html = (run / "report.html").read_text()
    assert re.search(
        r'<th scope="row">the chosen rule</th><td class="n"></td><td class="n">0\.40?</td>', html
    )


def test_undecided_folds_speeds_and_fitted_constants_are_shown(tmp_path: Path) -> None:
    content = artefacts()
    validated = content["validation"]["candidates"]["c02"]
    validated["folds"][0] |= {
        "passed": False,
        "verdict": "undecided",
        "reason": "the loss is 0.04 above that of oja (0.01 to 0.07), which reaches across 0.05",
        "speeds": {"feedforward": 0.42},
        "n_problems": 256,
    }
    content["validation"] |= {"margin": 0.05}
    one = content["comparison"]["contests"][0]
    one |= {
        "also": ["covariance"],
        "speeds": {"feedforward": 2.5},
        "found_speeds": {"feedforward": 1.5},
        "refitted": {"feedforward": "0.25*x*y"},
        "as_published": one["measures"],
    }
    for measured in one["measures"].values():
        measured |= {
            "verdict": "equivalent",
            "margin": 0.003,
            "found": {"mean": 0.5, "low": 0.4, "high": 0.6},
        }
    write_report(write_run(tmp_path, content))
    text = page(tmp_path).text
    assert "at its best speed in each. Undecided: " in text
    assert "? undecided" in text
    assert "must lie below 0.05" in text
    assert "Hebb = Covariance rule" in text
    assert "is equivalent to Hebb = Covariance rule on every measure" in text
    assert "0.25 x y" in text.replace("\N{NO-BREAK SPACE}", " ")
    html = (tmp_path / "report.html").read_text()
    assert "× 0.42, 256 problems" in html
    assert re.search(
        r'<th scope="row">the chosen rule</th><td class="n">× 1\.5</td><td class="n">0\.5</td>', html
    )


def test_intervals_of_folds_are_shown_from_as_many_problems_as_the_report_says(tmp_path: Path) -> None:
    content = artefacts()
    shown = []
    for n_problems in (ENOUGH - 1, ENOUGH):
        tried = fold("inputs-half", "10 inputs", 0.13579) | {"n_problems": n_problems}
        content["validation"]["candidates"]["c02"]["folds"][0] = tried
        write_report(write_run(tmp_path / str(n_problems), content))
        assert f"a mean over {ENOUGH:,} problems or more" in page(tmp_path / str(n_problems)).text
        shown.append("0.1358 [0.1222, 0.1494]" in (tmp_path / str(n_problems) / "report.html").read_text())
    assert shown == [False, True]


def test_rules_that_are_not_local_are_told_from_those_that_need_more_of_their_own(run: Path) -> None:
    text = page(run).text
    assert "Not local: Sanger's generalized Hebbian algorithm needs the outputs and weights" in text
    assert "Covariance rule needs running means" in text
    assert "Not local: Covariance" not in text


def test_rules_of_several_slots(tmp_path: Path) -> None:
    content = artefacts()
    slots = {"feedforward": "x*y - w*y**2", "lateral": "-0.5*y_pre*y_post - v*sqrt(abs(y_post))"}
    content["front"]["candidates"][2]["slots"] = slots
    for one in content["path"]["points"]:
        one["coefficients"]["lateral"] = {"y_pre*y_post": -0.4}
    write_report(write_run(tmp_path, content))
    assert "feedforward: x\N{NO-BREAK SPACE}y" in (tmp_path / "report.html").read_text(encoding="utf-8")


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in artefacts().items() if key != name}


@pytest.mark.parametrize("name", ["config", "path", "front", "validation", "comparison", "manifest"])
def test_a_missing_artefact_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match=rf"There is no file .*{name}\.json"):
        write_report(write_run(tmp_path, _without(name)))
    assert not (tmp_path / "report.html").exists()


def test_a_truncated_artefact_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, artefacts())
    (tmp_path / "front.json").write_text('{"schema": ')
    with pytest.raises(ArtefactError, match=r"front\.json is truncated or was edited: it is not valid JSON"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("artefact", "keys", "value", "message"),
    [
        ("front", ("chosen",), "c99", "no candidate has the name 'c99'"),
        ("front", ("candidates", 0, "slots", "feedforward"), "<script>", "candidates.0.slots: unexpected"),
        ("front", ("candidates", 0, "heldout_loss"), float("inf"), "Infinity is not a JSON number"),
        ("front", ("candidates", 0, "heldout_loss"), "0.1", "candidates.0.heldout_loss"),
        ("front", ("schema",), "plasticity-discovery/front/2", "written by a newer release"),
        ("path", ("chosen",), 99, "there is no point 99"),
        ("path", ("points", 0, "coefficients", "feedforward"), {"q": 1.0}, "unknown variable 'q'"),
        ("validation", ("candidates", "c02", "folds"), None, "candidates.c02.folds"),
        ("config", ("problems", "n_inputs"), "two", "problems.n_inputs"),
    ],
)
def test_an_edited_artefact_is_refused(
    tmp_path: Path, artefact: str, keys: tuple[Any, ...], value: Any, message: str
) -> None:
    content = copy.deepcopy(artefacts())
    part = content[artefact]
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    with pytest.raises(ArtefactError, match=re.escape(message)):
        write_report(write_run(tmp_path, content))
    assert not (tmp_path / "report.html").exists()


def test_learning_curves_of_the_real_task() -> None:
    """Oja's rule takes the loss down, Hebb's does not; the band holds eight of ten problems."""
    task = discover.tasks.get_task("oja")
    settings = {"n_inputs": 3, "spectrum": [1.0, 0.3, 0.1], "n_steps": 300}
    rules = {"oja": Rule.parse("x*y - w*y**2"), "hebb": Rule.parse("x*y")}
    oja, hebb = discover.report.curves.learning_curves(task, settings, 0, rules)
    assert oja.median[-1] < 0.3 < hebb.median[-1]
    assert np.all(oja.low <= oja.median)
    assert np.all(oja.median <= oja.high)
    problems = task.draw(
        task.settings_type(n_inputs=3, spectrum=(1.0, 0.3, 0.1), n_steps=300),
        discover.report.curves.N_PROBLEMS,
        np.random.SeedSequence([discover.report.curves.SEED, 0]),
    )
    losses = task.learning_curve(rules["oja"], problems, discover.report.curves.N_POINTS)[1][-1]
    assert np.mean((losses >= oja.low[-1]) & (losses <= oja.high[-1])) == 0.8


def test_scripts_are_those_that_the_policy_names(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy(Page(text))


def test_the_matrix_has_every_compared_candidate_beside_every_known_rule(run: Path) -> None:
    content = json.loads((run / "comparison.json").read_text())["candidates"]
    text = (run / "report.html").read_text(encoding="utf-8")
    matrix = text[text.index('class="sticky matrix') :]
    matrix = matrix[: matrix.index("</table>")]
    head, *rows = re.findall(r"<tr.*?</tr>", matrix, re.DOTALL)
    known = list(dict.fromkeys(name for one in content.values() for name in one["distances"]))
    assert re.findall(r">([^<]+)</th>", head) == ["candidate", "rule", *known]
    others = sorted(set(content) - {"c02"})
    assert [re.findall(r'scope="row">([^<]+)<', row)[0] for row in rows] == ["c02", *others]
    assert [row.count("<td") for row in rows] == [len(known) + 1] * len(rows)
    assert ">0.008</b> <b>=</b></td>" in rows[0]


def test_where_everything_came_from(run: Path) -> None:
    text = page(run).text
    provenance = text[text.index("What was run", text.index("Beside the known rules")) :]
    seconds = sum(stage["seconds"] for stage in artefacts()["manifest"]["stages"].values())
    assert "seed 3" in provenance
    assert f"together {seconds:.1f}" in provenance


def test_the_report_says_when_stages_finished(tmp_path: Path) -> None:
    content = artefacts()
    content["manifest"]["stages"]["fit"]["finished"] = "2020-06-12T15:30:00+00:00"
    folder = write_run(tmp_path / "run", content)
    write_report(folder)
    assert "fit 2020-06-12 15:30:00 " in page(folder).text


def lines(axes: Any) -> list[tuple[list[float], list[float]]]:
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def test_a_term_of_a_single_point_of_the_path_can_be_seen(tmp_path: Path) -> None:
    content = artefacts()
    content["path"]["points"][0]["coefficients"]["feedforward"]["w**2"] = 0.7
    upper = path_figure(read_run(write_run(tmp_path, content)).path).axes[0]
    drawn = [line for line in upper.get_lines() if not line.get_label().startswith("_")]
    assert any(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).sum() == 1 for line in drawn)
    assert all(line.get_marker() == "o" and line.get_markersize() > 2 for line in drawn)


def test_the_portrait_shows_the_update_at_each_weight() -> None:
    """Oja's rule divided by a scale, at three weights, is what an obvious computation gives."""
    states = np.random.default_rng(0).normal(size=(400, 3))
    window = window_of(FEEDFORWARD, states)
    assert len(window.weights) == 3
    figure = portrait_figure({"chosen rule": Rule.parse("x*y - w*y**2")}, [window])
    maps = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in maps] == [
        f"w = {weight:.2g}".replace("-", "\N{MINUS SIGN}") for weight in window.weights
    ]
    across, along = (np.linspace(*ends, 61) for ends in window.ranges)
    expected = np.array([[[x * y - w * y**2 for x in across] for y in along] for w in window.weights])
    expected /= np.quantile(np.abs(expected), 0.95)
    for axes, values in zip(maps, expected, strict=True):
        np.testing.assert_allclose(axes.get_images()[0].get_array(), values, rtol=1e-12, atol=1e-12)


def test_the_portrait_of_slots_with_one_activity_has_lines() -> None:
    """Where the weight does nothing there is one line, where it does there is one for each weight."""
    rule = Rule.parse({"on_pre": "x_post*w - 0.2", "on_post": "x_pre"})
    states = np.random.default_rng(0).uniform(size=(400, 2))
    on_pre, on_post = window_of(SLOTS["on_pre"], states), window_of(SLOTS["on_post"], states)
    assert on_post.text.startswith("on_post: over x_pre at w = ")
    upper, lower = portrait_figure({"chosen rule": rule}, [on_pre, on_post]).axes
    *curves, _ = lines(upper)
    assert len(curves) == 3
    for (x, y), weight in zip(curves, on_pre.weights, strict=True):
        slope = (np.array(x) * weight - 0.2) / np.array(y)
        np.testing.assert_allclose(slope, slope[0])
    assert len(lines(lower)) == 2


def test_a_rule_that_is_nowhere_finite_has_a_portrait() -> None:
    states = np.random.default_rng(0).normal(size=(50, 3))
    figure = portrait_figure({"chosen rule": Rule.parse("x/(y - y)")}, [window_of(FEEDFORWARD, states)])
    maps = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    assert [np.ma.count(np.ma.masked_invalid(values)) for values in maps] == [0, 0, 0]

"""What the command line says about one candidate and about two runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from strategies import polynomials, trees
from test_cli import discover, refused
from toy_pipeline import TOML, Toy

from discover.expression import Node, parse
from pipelines.inspection import unicode_rule


@pytest.fixture
def finished(toy: Toy) -> Toy:
    assert discover("run", "toy.toml").exit_code == 0
    return toy


def edited(toy: Toy, name: str, change: Any) -> None:
    path = toy.run / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def arrows(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("-->")]


def test_a_front_is_sorted_as_asked(finished: Toy) -> None:
    plain = discover("front", "toy").stdout
    assert discover("front", "toy", "--sort", "complexity").stdout == plain
    by_loss = discover("front", "toy", "--sort", "loss").stdout
    assert [line.split()[0] for line in plain.splitlines()[1:3]] == ["hebb", "-->"]
    assert [line.split()[0] for line in by_loss.splitlines()[1:3]] == ["-->", "hebb"]
    refused(discover("front", "toy", "--sort", "lost"), "Did you mean 'loss'")


def test_another_selector_is_shown_and_changes_nothing(finished: Toy) -> None:
    before = finished.files()
    assert arrows(discover("front", "toy", "--select", "lowest").stdout) == ["oja"]
    shown = discover("front", "toy", "--select", "hebb").stdout
    assert arrows(shown) == ["hebb"]
    assert "chosen: hebb (as asked for)" in shown
    assert "the run itself chose oja (one standard error)" in shown
    assert finished.files() == before
    refused(discover("front", "toy", "--select", "heb"), "Did you mean 'hebb'")


def test_folds_can_select(finished: Toy) -> None:
    def better(content: dict[str, Any]) -> None:
        for fold in content["candidates"]["hebb"]["folds"]:
            fold["passed"] = True

    assert arrows(discover("front", "toy", "--select", "cv").stdout) == ["hebb"]  # as many, and simpler
    edited(finished, "validation.json", better)
    shown = discover("front", "toy", "--select", "cv").stdout
    assert arrows(shown) == ["hebb"]
    assert "passed most folds, 2" in shown


def test_one_candidate_with_all_that_is_known(finished: Toy) -> None:
    text = discover("show", "toy").stdout
    assert text.startswith("oja of results/toy, task toy: chosen")
    assert "Δw[feedforward] ∝ x·y - w·y²" in text
    assert r"x y - w y^{2}" in text
    assert "folds passed: 1 of 2" in text
    assert "outcome  fold    cosine\npassed   digits     0.9\n" in text
    assert "oja equals Oja (1982) up to scale." in text
    assert discover("show", "toy", "hebb").stdout.startswith("hebb of results/toy, task toy: on the front")
    assert "beaten by another" in discover("show", "toy", "worse").stdout
    refused(discover("show", "toy", "ojaa"), "Did you mean 'oja'")


def test_what_is_not_there_yet_is_said(finished: Toy) -> None:
    for name in ("path.json", "validation.json", "comparison.json"):
        (finished.run / name).unlink()
    text = discover("show", "toy").stdout
    assert "there is no path.json yet" in text
    assert "it was not tried under other conditions" in text
    assert "it was not compared with any" in text
    (finished.run / "front.json").unlink()
    refused(discover("show", "toy"), "results/toy/front.json", "discover search")


def test_two_runs_side_by_side(finished: Toy) -> None:
    same = discover("diff", "toy", "toy")
    assert same.exit_code == 0
    assert "settings: the same" in same.stdout
    assert "chosen rule: the same, x*y - w*y**2" in same.stdout
    finished.toml.with_name("other.toml").write_text(TOML.replace("seed = 3", "seed = 8"))
    assert discover("run", "other.toml").exit_code == 0
    other = finished.run.with_name("other")
    path = other / "front.json"
    content = json.loads(path.read_text())
    content["chosen"] = "hebb"
    path.write_text(json.dumps(content))
    result = discover("diff", "toy", "other")
    assert result.exit_code == 1
    assert "seed" in result.stdout
    assert "chosen rules, the first has further terms:\n  x*y - w*y**2\n  x*y" in result.stdout
    chosen = next(one for one in content["candidates"] if one["id"] == "hebb")
    chosen["slots"]["feedforward"] = "2.1*x*y - 2*w*y**2"
    path.write_text(json.dumps(content))
    assert "chosen rules, same up to scale:" in discover("diff", "toy", "other").stdout
    refused(discover("diff", "toy", "nothing"), "nothing")


def test_versions_alone_are_no_difference(finished: Toy) -> None:
    finished.toml.with_name("other.toml").write_text(TOML)
    assert discover("run", "other.toml").exit_code == 0
    path = finished.run.with_name("other") / "manifest.json"
    content = json.loads(path.read_text())
    content["versions"]["numpy"] = "0.1"
    path.write_text(json.dumps(content))
    result = discover("diff", "toy", "other")
    assert result.exit_code == 0
    assert "made by the same code, other versions:" in result.stdout
    assert result.stdout.splitlines()[-1].split()[::2] == ["numpy", "0.1"]


@given(trees() | polynomials())
def test_unicode_says_the_same(node: Node) -> None:
    """Read back, it is the same expression."""
    text = unicode_rule(str(node))
    assert "*" not in text
    plain = text.replace("·", "*")
    for power in ("⁻", "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"):
        plain = plain.replace(power, f"<{power}>")
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    plain = plain.replace("><", "").replace("<", "**(").replace(">", ")").translate(digits)
    plain = plain.replace("^", "**")
    assert str(parse(plain, ("x", "y", "w"))) == str(parse(str(node), ("x", "y", "w")))


def test_runs_without_a_manifest_are_not_said_to_be_made_by_the_same_code(finished: Toy) -> None:
    finished.toml.with_name("other.toml").write_text(TOML)
    assert discover("run", "other.toml").exit_code == 0
    assert "made by the same code" in discover("diff", "toy", "other").stdout
    for name in ("toy", "other"):
        (finished.run.with_name(name) / "manifest.json").unlink()
        text = discover("diff", "toy", "other").stdout
        assert "same code" not in text
        assert "not recorded, as there is no manifest" in text

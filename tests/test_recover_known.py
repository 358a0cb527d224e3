"""The study of how engines find known updates again."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import discover.recover_known
from discover.errors import EngineError
from discover.expression import parse
from discover.journal import Journal
from discover.recover_known import GENERATORS, OPERATOR_SETS, OPERATORS, _chosen, _judged, recover_known
from discover.search.engine import Proposal
from discover.search.settings import DEFAULT_FACTORS, SearchSettings, TermsSettings
from pipelines.cli import app
from pipelines.runs import locked

QUICK = SearchSettings(terms=TermsSettings(max_factors=2, max_terms=2, beam_width=10, n_refined=4))


def test_there_are_rules_of_all_kinds() -> None:
    outside = [one for one in GENERATORS.values() if not one.is_inside]
    assert len(outside) >= 4
    assert len(GENERATORS) - len(outside) >= 6
    assert "tanh(v)" in DEFAULT_FACTORS
    for one in GENERATORS.values():
        wide = one.draw(200, np.random.default_rng(0), wider=True)
        assert np.isfinite(wide.target).all()
        narrow = one.draw(200, np.random.default_rng(0))
        assert np.ptp(wide.inputs[:, 0]) > 1.3 * np.ptp(narrow.inputs[:, 0])


def test_operon_is_given_every_operation_that_the_study_allows() -> None:
    assert {op for chosen in OPERATOR_SETS for op in chosen} == set(OPERATORS)


@pytest.mark.slow
def test_product_terms_find_what_they_are_made_of() -> None:
    rows = recover_known(["terms"], [0.0], 1, names=["tanh-hebb", "bcm"])
    assert [(row["rule"], row["exact"], row["functional"]) for row in rows] == [
        ("tanh-hebb", "1/1", "1/1"),
        ("bcm", "1/1", "1/1"),
    ]


def test_the_same_form_and_the_same_function_are_told_apart() -> None:
    generator = GENERATORS["tanh-hebb"]
    wide = generator.draw(500, np.random.default_rng(1), wider=True)
    variables = ("x", "y", "w")
    assert _judged(generator, parse("0.98*x*tanh(y) - 0.21*w*y**2", variables), wide) == (True, False)
    assert _judged(generator, parse("x*tanh(y) - 0.2*w*y**2 + 0.001*x", variables), wide) == (False, True)
    assert _judged(generator, generator.node, wide) == (True, True)
    assert _judged(generator, parse("x*y", variables), wide) == (False, False)
    assert _judged(generator, None, wide) == (False, False)


def test_the_simplest_of_those_that_are_as_good_is_taken() -> None:
    generator = GENERATORS["tanh-hebb"]
    heldout = generator.draw(200, np.random.default_rng(2))
    texts = ("x*y", "x*tanh(y) - 0.2*w*y**2", "x*tanh(y) - 0.2*w*y**2 + 1e-9*x", "log(y)")
    front = [Proposal(parse(text, ("x", "y", "w")), 0.0, "terms") for text in texts]
    assert str(_chosen(front, heldout)) == texts[1]
    assert _chosen(front[3:], heldout) is None


def test_a_union_stands_beside_several_engines() -> None:
    rows = recover_known(["terms", "operon"], [0.1], 1, _tiny(), names=["soft-bounds"])
    assert [row["engine"] for row in rows] == ["terms", "operon", "union"]


class _CutOff(Exception):
    pass


def test_a_study_that_was_cut_off_goes_on_behind_the_runs_that_were_done(tmp_path, monkeypatch) -> None:
    studied = []
    outcomes = discover.recover_known._outcomes

    def counted(generator, noise, seed, *rest):
        if len(studied) == 3:
            raise _CutOff
        studied.append((generator.name, noise, seed))
        return outcomes(generator, noise, seed, *rest)

    monkeypatch.setattr(discover.recover_known, "_outcomes", counted)

    def study():
        with Journal(tmp_path / "journal", "p") as journal:
            return recover_known(["terms"], [0.0, 0.1], 2, QUICK, names=["soft-bounds"], journal=journal)

    with pytest.raises(_CutOff):
        study()
    assert len(studied) == 3
    studied.clear()
    rows = study()
    assert studied == [("soft-bounds", 0.1, 1)]
    studied.clear()
    monkeypatch.setattr(discover.recover_known, "_outcomes", outcomes)
    assert rows == recover_known(["terms"], [0.0, 0.1], 2, QUICK, names=["soft-bounds"])


def test_the_command_writes_its_table_and_keeps_nothing_else(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(discover.recover_known, "_all_operations", lambda: QUICK)
    command = ["recover-known", "--engine", "terms", "--noise", "0", "--seeds", "1", "--rules", "soft-bounds"]
    result = CliRunner().invoke(app, [*command, "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "recover-known"
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0] == "rule,inside,noise,engine,exact,functional"
    assert lines[1].startswith("soft-bounds,True,0.0,terms,")
    assert [path.name for path in folder.iterdir() if "journal" in path.name] == []
    with locked(tmp_path / "recover-oja"):  # another study may be at work beside it
        assert CliRunner().invoke(app, [*command, "--results", str(tmp_path)]).exit_code == 0
    with locked(folder):
        assert (
            "Another discover process"
            in CliRunner().invoke(app, [*command, "--results", str(tmp_path)]).output
        )


def _tiny() -> SearchSettings:
    from dataclasses import replace

    return replace(QUICK, operon=replace(QUICK.operon, generations=2, population_size=20, chunk=1))


@pytest.mark.parametrize(
    ("engines", "noises", "names"),
    [(["oporon"], [0.0], ["bcm"]), (["terms"], [float("nan")], ["bcm"]), (["terms"], [0.0], ["bmc"])],
)
def test_bad_questions_are_refused(engines: list[str], noises: list[float], names: list[str]) -> None:
    with pytest.raises(EngineError):
        recover_known(engines, noises, 1, names=names)


def test_the_command_refuses_what_is_no_number() -> None:
    result = CliRunner().invoke(app, ["recover-known", "--noise", "0,much"])
    assert result.exit_code == 2
    assert "--noise" in result.output

"""The pipeline of a spiking task in small, from start to end, with the study and the export behind it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from discover.rule import Rule
from pipelines.cli import app


@pytest.mark.slow
def test_every_stage_runs_and_the_report_shows_what_spiking_rules_have(tmp_path, monkeypatch, smoke_runs):
    monkeypatch.chdir(tmp_path)
    folder = smoke_runs.copy("ei-balance-smoke", tmp_path / "results")
    front = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    for candidate in front["candidates"]:
        rule = Rule.parse(candidate["slots"])
        assert rule.constant("tau_pre") > 0
    refined = {candidate["provenance"]["refined_by"] for candidate in front["candidates"]}
    assert {name for by in refined for name in by.split(", ")} <= {"", "cma-es", "made simpler"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What an experiment would see" in page
    assert "Rules of many restarts" not in page
    assert "The rule without a formula" in page
    assert "a spline of the other side" in page
    assert (folder / "figures" / "teacher.svg").stat().st_size > 1000
    path = json.loads((folder / "path.json").read_text(encoding="utf-8"))
    assert path["teacher"]["kind"] == "spiking"
    proposers = {name for one in front["candidates"] for name in one["provenance"]["proposed_by"]}
    assert any(name.endswith("on the teacher") for name in proposers)
    study = CliRunner().invoke(app, ["posterior", "ei-balance-smoke", "--restarts", "2"])
    assert study.exit_code == 0, study.output
    assert "converged restarts" in study.stdout
    assert not (folder / ".manifold.journal").exists()
    content = json.loads((folder / "manifold.json").read_text(encoding="utf-8"))
    assert len(content["searched"]) == 2
    assert "Rules of many restarts" in (folder / "report.html").read_text(encoding="utf-8")
    before = (folder / "manifold.json").read_bytes()
    older = CliRunner().invoke(app, ["manifold", "ei-balance-smoke", "--restarts", "2"])
    assert older.exit_code == 0, older.output
    assert "discover posterior ei-balance-smoke --restarts 2" in older.stderr
    assert (folder / "manifold.json").read_bytes() == before
    for name in ("experiment", "manifold"):
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 1000
    exported = CliRunner().invoke(app, ["export", "ei-balance-smoke", "--to", "brian2"])
    assert exported.exit_code == 0, exported.output
    compile(exported.stdout, "exported", "exec")
    compared = CliRunner().invoke(app, ["compare", "ei-balance-smoke"])
    assert compared.exit_code == 0, compared.output

"""The benchmark of ways from a teacher to a formula, on a fit that takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import naming
from discover.expression import parse
from discover.progress import Progress, silent
from discover.search import engine
from discover.search.engine import Proposal, Samples
from discover.search.settings import SearchSettings
from pipelines.cli import app

TOML = """\
schema = 1
task = "ica"
seed = 1

[problems]
n_inputs = 3
n_samples = 100
n_steps = 40
learning_rate = 0.2
batch = 50

[fit]
restarts = 1
n_train = 6
n_heldout = 6
n_tuning = 0
penalties = [0.0, 0.02]
steps = 4
path_steps = 3
refit_steps = 2
batch = 4

[fit.teacher]
restarts = 2
n_pieces = 5
n_train = 8
n_heldout = 8
penalties = [0.0, 0.01]
steps = 12
path_steps = 4
refit_steps = 3
batch = 4

[search]
engines = ["terms"]
max_nodes = 10

[search.terms]
max_factors = 2
max_terms = 2
beam_width = 4
n_refined = 2

[search.network]
n_states = 100
n_train = 8
n_heldout = 8
n_test = 8
n_tuning = 4
n_refined = 2
refine_steps = 2
simplify = 0
rounds = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose fit has a teacher, and that was not searched yet."""
    folder = tmp_path_factory.mktemp("naming")
    (folder / "tiny.toml").write_text(TOML, encoding="utf-8")
    for stage in ("simulate", "fit"):
        done = CliRunner().invoke(
            app, [stage, str(folder / "tiny.toml"), "--results", str(folder / "results")]
        )
        assert done.exit_code == 0, done.output
    return folder / "results" / "tiny"


class Noting:
    """An engine that notes what it is asked for, and proposes little."""

    name = "terms"  # An engine that takes errors by what they cost the network.

    def __init__(self, asked: list[Samples]) -> None:
        self.asked = asked

    def availability(self) -> engine.Availability:
        return engine.Availability(self.name, True)

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        self.asked.append(samples)
        texts = ("x*y", "x*y**3") if "x" in samples.variables else ("y", "y**3")
        return [Proposal(parse(text, samples.variables), 0.1, self.name) for text in texts]


def test_every_way_closes_what_it_says(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves, updates = {}, {}
    for way in naming.WAYS:
        asked: list[Samples] = []
        monkeypatch.setattr(engine, "ENGINES", {"terms": lambda asked=asked: Noting(asked)})
        row = naming.named(run, way)
        assert row["best"] <= row["chosen"]
        curves[way] = sum(one.variables == ("y",) for one in asked)
        updates[way] = [one.kernel is not None for one in asked if one.variables == ("x", "y", "w")]
    n = curves["all ways"]
    assert n > 0
    assert curves == {
        "all ways": n,
        "no curve by itself": 0,
        "errors by visitation": n,
        "no further round": n,
        "whole update alone": 0,
    }
    assert {way: by_cost[0] for way, by_cost in updates.items()} == {
        "all ways": True,
        "no curve by itself": True,
        "errors by visitation": False,
        "no further round": True,
        "whole update alone": False,
    }


def test_a_table_has_a_row_for_every_run_and_way(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    naming.main([str(run), "--ways", "all ways", "whole update alone"])
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| tiny", "all ways"],
        ["| tiny", "whole update alone"],
    ]
    for row in rows:
        assert row.count(" | ") == head.count(" | ") == line.count("|") - 2

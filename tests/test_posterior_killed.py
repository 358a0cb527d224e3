"""A learning posterior is killed at several places; the command goes on and ends with the same bytes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sbi", reason="the extra posterior is not installed")


SCRIPT = """
import sys
from pathlib import Path
from discover.posterior import Budget
from pipelines.posterior_run import Asked, posterior_of_run
from pipelines.runs import find_run

budget = Budget(
    n_prior=512, n_round=256, n_accepted=100, most_rules=3000, n_problems=1, n_more=2, n_members=1,
    n_weighed=60, n_samples=60, n_fresh=30, n_fresh_problems=1,
)
found = find_run("oja-smoke", Path(sys.argv[1]))
found.folder.mkdir(parents=True, exist_ok=True)
asked = Asked(terms="x*y, w*y**2")
posterior_of_run(found, asked, budget, lambda *told: None, lambda text: print(text, flush=True))
"""


def begun(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_posterior_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "oja-smoke", tmp_path / "killed" / "oja-smoke"
    assert begun(tmp_path / "whole").wait() == 0
    table, journal = killed / "posterior" / "simulations.csv", killed / ".posterior.journal"
    notes = ""
    for path, lines in ((table, 65), (table, 600), (journal, 2), (journal, 6)):
        process = begun(tmp_path / "killed")
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
            time.sleep(0.002)
        process.kill()
        notes += process.communicate()[0]
    process = begun(tmp_path / "killed")
    notes += process.communicate()[0]
    assert process.returncode == 0
    assert "rules are in the table already" in notes
    assert "networks and further simulations that are there already" in notes
    assert not journal.exists()
    for name in ("posterior/simulations.csv", "posterior/samples.csv", "posterior.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name

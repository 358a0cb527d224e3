"""Real runs that are killed or interrupted: nothing is lost, and nothing stays behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import kill_study
import pytest
from kill_study import Study, contents, differing, place_of, start

PIPELINE = "oja-smoke"
ENDING = """\
import signal, sys, time
from pipelines.interruption import ending_promptly

signal.signal(signal.SIGINT, signal.default_int_handler)
with ending_promptly(lambda: print("last words", file=sys.stderr)):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(60)  # stands for a kernel that is not to be stopped
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("kills"), random.Random(4), cold_every=0)


@pytest.fixture(scope="module")
def whole(study: Study) -> tuple[float, dict[str, bytes]]:
    """Length and results of a run that nobody touches."""
    return study.reference(PIPELINE)


@pytest.mark.slow
def test_random_kills_lose_nothing(study: Study, whole: tuple[float, dict[str, bytes]]) -> None:
    while study.kills < 4:
        study.one_run(PIPELINE, 4 - study.kills, *whole)
    assert study.faults == []
    assert study.identical == 4
    assert study.summary([PIPELINE]).startswith(
        "4 random kills over all stages of oja: 4 identical results, 0"
    )


@pytest.mark.slow
def test_signals_end_a_run_that_then_goes_on(
    study: Study, whole: tuple[float, dict[str, bytes]], tmp_path: Path
) -> None:
    run = tmp_path / PIPELINE
    for stage, number in (("fit", signal.SIGINT), ("search", signal.SIGTERM), ("search", signal.SIGINT)):
        journal = run / f".{stage}.journal"
        known = journal.read_bytes().count(b"\n") if journal.exists() else 0
        process = start(PIPELINE, tmp_path, study.cache)
        while process.poll() is None and not (
            journal.exists() and journal.read_bytes().count(b"\n") > known + 5
        ):
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number, errors
        assert "Traceback" not in errors
        assert (
            errors.count("discover: interrupted. Finished stages and the simulations of this one are kept")
            == 1
        )
        assert f"go on with: discover run {kill_study.ROOT / 'pipelines' / PIPELINE}.toml --results" in errors
        study.bury(process.pid)
        assert journal.read_bytes().count(b"\n") > known + 5
    process = start(PIPELINE, tmp_path, study.cache)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert study.check(run, whole[1]) == []
    assert study.survivors == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_does_not_end_by_itself(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING],
        cwd=kill_study.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 128 + number
    assert errors == "last words\n"


@pytest.mark.parametrize(
    ("new", "place"),
    [
        ([], "starting"),
        ([{"event": "up to date", "stage": "fit"}], "starting"),
        ([{"event": "start", "stage": "fit"}], "fit"),
        ([{"event": "end", "stage": "fit"}, {"event": "up to date", "stage": "search"}], "between stages"),
        ([{"event": "end", "stage": "fit"}, {"event": "progress", "stage": "search"}], "search"),
    ],
)
def test_the_study_tells_where_a_kill_hit(new: list[dict[str, str]], place: str) -> None:
    assert place_of(new) == place


def test_kernels_are_removed(tmp_path: Path) -> None:
    assert not kill_study.remove_kernels(tmp_path, random.Random(0))
    left = set()
    for seed in range(10):
        for number in range(8):
            (tmp_path / f"kernel-{number}.nbc").touch()
        (tmp_path / "other").touch()
        assert kill_study.remove_kernels(tmp_path, random.Random(seed))
        left.add(len(list(tmp_path.glob("*.nbc"))))
    assert left == {0, 4}
    assert (tmp_path / "other").exists()


def test_the_study_notices_what_differs_and_what_is_left(tmp_path: Path) -> None:
    wanted = dict.fromkeys(kill_study.COMPARED, b"same")
    for name, data in wanted.items():
        (tmp_path / name).write_bytes(data)
    study = Study(tmp_path, random.Random(0))
    assert study.check(tmp_path, wanted) == []
    assert differing(contents(tmp_path), wanted) == []
    (tmp_path / "front.csv").write_bytes(b"other")
    (tmp_path / "path.json").unlink()
    (tmp_path / ".fit.journal").touch()
    assert len(study.check(tmp_path, wanted)) == 3


def test_the_study_notices_a_process_that_outlives_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_study, "SECONDS_TO_DIE", 0.0)
    orphan = subprocess.Popen(["sleep", "60"], start_new_session=True)
    study = Study(tmp_path, random.Random(0))
    study.bury(orphan.pid)
    assert study.survivors == 1
    assert orphan.wait() == -signal.SIGKILL

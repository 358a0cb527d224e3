"""The journal of simulations: what was cut off goes on where it was, with the same result to the last bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smoke_runs import SmokeRuns

from discover.fit import FitSettings, fit
from discover.journal import Journal, JournaledTask
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.oja import OjaSettings
from sims.rules import SplineRule

QUICK = FitSettings(
    restarts=2, n_train=8, n_heldout=8, penalties=(0.0, 0.02), steps=6, path_steps=4, refit_steps=3, batch=4
)


def entries(path: Path, purpose: str, names: str, start: float = 0.0) -> list[float]:
    """Ask for one result a letter; those that are not kept are numbered from `start`."""
    given = []
    with Journal(path, purpose) as journal:
        for number, name in enumerate(names):
            arrays = journal.recall(name, b"?", lambda n=number: {"value": np.array([start + n])})
            given.append(float(arrays["value"][0]))
    return given


def test_results_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert entries(path, "p", "abc") == [0, 1, 2]
    assert entries(path, "p", "abcd", 100) == [0, 1, 2, 103]
    assert entries(path, "p", "abcd", 200) == [0, 1, 2, 103]


def test_results_come_back_in_any_order_and_as_often_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    entries(path, "p", "abc")
    assert entries(path, "p", "cxabca", 100) == [2, 101, 0, 1, 2, 0]
    assert entries(path, "p", "xab", 200) == [101, 0, 1]


@dataclass(frozen=True)
class Drawn:
    inputs: np.ndarray
    settings: Any


def test_whatever_differs_in_a_question_has_an_answer_of_its_own(tmp_path: Path) -> None:
    zeros, rule = np.zeros((2, 3)), Rule.parse("x*y")
    questions: list[Any] = [
        zeros, zeros.reshape(3, 2), zeros.astype(np.float32), -zeros, [0.0] * 6, (), "", b"", None, 0, 0.0,
        False, ("a", "b"), ("ab", ""), ("a", ("b",)), {"a": 1}, {"a": 1.0}, rule, rule.scaled(2.0),
        Drawn(zeros, 1),
        Drawn(zeros, 2), Drawn(zeros + 1e-300, 1), SplineRule(-1.0, 1.0, np.ones((3, 3, 8))),
        SplineRule(-1.0, 1.0, np.ones((3, 3, 8)), np.eye(3)), np.random.SeedSequence(1),
        np.random.SeedSequence(1).spawn(1)[0], OjaSettings(), OjaSettings(n_inputs=4),
    ]  # fmt: skip
    for numbers in (range(len(questions)), range(100, 200)):
        with Journal(tmp_path / "journal", "p") as journal:
            answers = [
                journal.recall("a", one, lambda n=n: {"value": np.array([n])})["value"].item()
                for n, one in zip(numbers, questions, strict=False)
            ]
        assert answers == list(range(len(questions)))


def test_a_question_whose_content_cannot_be_told_is_asked_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "p") as journal:
        for question in (lambda: 0, np.random.default_rng(1), (1, [object()])):
            for answer in (1.0, 2.0):
                arrays = journal.recall("a", question, lambda answer=answer: {"value": np.array([answer])})
                assert arrays["value"] == answer


def test_a_journal_for_another_purpose_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    entries(path, "p", "abc")
    assert entries(path, "q", "abc", 100) == [100, 101, 102]
    assert entries(path, "p", "abc", 200) == [200, 201, 202]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_damaged_is_asked_again(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    entries(path, "p", "abcde")
    content = bytearray(path.read_bytes())
    header_end = content.index(b"\n")
    place = data.draw(st.integers(0, len(content) - 1))
    is_cut = data.draw(st.booleans())
    if is_cut:
        content = content[:place]
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = entries(path, "p", "abcde", 100)
    lost = [value >= 100 for value in found]
    assert any(lost)
    assert found == [100 + n if is_lost else n for n, is_lost in enumerate(lost)]
    if not is_cut and place > header_end:
        assert sum(lost) <= 2, "a line without its end takes the next one along, and no other is lost"
    assert entries(path, "p", "abcde", 200) == found


def test_arrays_keep_their_shapes_types_and_last_bits(tmp_path: Path) -> None:
    arrays = {
        "floats": np.array([[np.nan, -0.0, 1 / 3], [np.inf, 5e-324, -1e308]]),
        "whole": np.arange(6).reshape(1, 2, 3),
        "flags": np.array([True, False]),
        "empty": np.empty((0, 4)),
    }
    for _ in range(2):
        with Journal(tmp_path / "journal", "p") as journal:
            found = journal.recall("a", b"", lambda: arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes()
            assert found[name].shape == array.shape
        assert list(found) == list(arrays)


def test_a_full_disk_does_not_stop_the_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Journal(tmp_path / "journal", "p") as journal:
        monkeypatch.setattr(Journal, "_append", fail)
        for value in (1, 2):
            assert journal.recall("a", b"", lambda value=value: {"v": np.array([value])})["v"] == value


def test_a_disk_that_is_full_after_the_header_keeps_nothing_and_says_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write, left = tmp_path / "journal", Journal._write, [1, 0]

    def written(journal: Journal, line: bytes) -> None:
        if not left.pop(0):
            raise OSError(28, "No space left on device")
        write(journal, line)

    with Journal(path, "p") as journal, monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", written)
        for value in (1, 2):
            assert journal.recall("a", b"", lambda value=value: {"v": np.array([value])})["v"] == value
    assert entries(path, "p", "ab") == [0, 1]


class Cut(Exception):
    """Stands for the moment at which a run is killed."""


class Mortal:
    """A task that dies after a number of simulations."""

    def __init__(self, task: Any, lifetime: int) -> None:
        self.task, self.left = task, lifetime

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.task, name)
        if name not in ("losses", "gradient", "visit"):
            return found

        def call(*arguments: Any) -> Any:
            if self.left == 0:
                raise Cut
            self.left -= 1
            return found(*arguments)

        return call


def test_batches_of_problems_are_told_apart_and_found_again(tmp_path: Path) -> None:
    task, rule = get_task("oja"), Rule.parse("x*y - w*y**2")
    problems = task.draw(OjaSettings(n_inputs=3, n_samples=20, n_steps=40), 4, np.random.SeedSequence(1))
    whole = task.losses(rule, problems)
    for lifetime in (4, 0):
        with Journal(tmp_path / "journal", "p") as journal:
            kept = JournaledTask(Mortal(task, lifetime), journal)
            for indices in ([0, 1], [1, 0], [0, 1, 2, 3], [2]):
                some = kept.subset(problems, np.array(indices))
                np.testing.assert_array_equal(kept.losses(rule, some), whole[indices])


@pytest.mark.parametrize("name", ["oja", "pca-network"])
def test_a_fit_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path: Path, name: str) -> None:
    task = get_task(name)
    sizes = {"n_inputs": 3, "n_samples": 20, "n_steps": 40, "batch": 10}
    problems = task.settings_type(**sizes)
    whole = fit(task, problems, QUICK, seed=5).to_json()
    rng = np.random.default_rng(7)
    pieces = 0
    while True:
        with Journal(tmp_path / "journal", name) as journal:
            mortal = Mortal(task, int(rng.integers(1, 60)))
            try:
                found = fit(JournaledTask(mortal, journal), problems, QUICK, seed=5).to_json()
            except Cut:
                pieces += 1
                continue
        break
    assert pieces > 3
    assert found == whole


RUN = "import sys; from pipelines.cli import main; sys.argv[0] = 'discover'; main()"


def run_smoke(results: Path, pipeline: str, killed_at: tuple[str, int] | None = None) -> None:
    """Run a smoke pipeline, or kill it as soon as a stage has kept a number of simulations."""
    command = [sys.executable, "-c", RUN, "run", f"pipelines/{pipeline}.toml", "--results", str(results)]
    process = subprocess.Popen(
        [*command, "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if killed_at is not None:
        stage, n_kept = killed_at
        journal = results / pipeline / f".{stage}.journal"
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > n_kept:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
    output, _ = process.communicate()
    assert process.returncode == (-signal.SIGKILL if killed_at else 0), output.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipeline", "moments"),
    [
        (
            "oja-smoke",
            (("simulate", 2), ("fit", 5), ("fit", 60), ("search", 10), ("validate", 6), ("compare", 4)),
        ),
        ("ei-balance-smoke", (("simulate", 2), ("fit", 3), ("fit", 20), ("search", 8), ("validate", 5))),
    ],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, smoke_runs: SmokeRuns, pipeline: str, moments: tuple[tuple[str, int], ...]
) -> None:
    whole = smoke_runs.folder(pipeline)
    for killed_at in moments:
        run_smoke(tmp_path / "cut", pipeline, killed_at)
    run_smoke(tmp_path / "cut", pipeline)
    for name in ("path.json", "front.json", "front.csv", "validation.json", "comparison.json"):
        assert (tmp_path / "cut" / pipeline / name).read_bytes() == (whole / name).read_bytes()
    assert not list((tmp_path / "cut" / pipeline).glob(".*.journal"))

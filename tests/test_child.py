"""Child processes of engines: whatever happens to them or their parent, nobody waits and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_study import ROOT
from stand_in_pysr import Fake
from test_search_terms import sampled
from typer.testing import CliRunner

from discover.errors import EngineError, EngineUnavailable, EngineWarning
from discover.inference import from_rows, infer
from discover.search import pysr
from discover.search.engine import started
from discover.search.pysr import PySREngine
from discover.search.settings import PySRSettings, SearchSettings

SAMPLES = sampled("x*y - w*y**2", n=100)

HANGS = """
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it

from test_search_terms import sampled
from discover.search.engine import Availability
from discover.search.pysr import PySREngine
from discover.search.settings import PySRSettings, SearchSettings

PySREngine.availability = lambda self: Availability("pysr", True, "PySR 9, Julia 9")
settings = SearchSettings(pysr=PySRSettings(output_folder=sys.argv[1], timeout_in_seconds=500.0))
PySREngine().propose(sampled("x*y", n=100), settings, 0)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def hanging_search(fake: Fake, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """Return a process whose PySR is at work, and the process of PySR."""
    fake.write(accident="hangs")
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(tmp_path / "pysr")],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not fake.arguments and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    (search,) = fake.arguments
    return process, search["process"]


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_pysr_ends_with_the_one_who_asked_it(fake: Fake, tmp_path: Path, number: signal.Signals) -> None:
    process, child = hanging_search(fake, tmp_path)
    began = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 2.0
    assert gone(child, within_s=2.0)
    assert out == ""
    assert list(tmp_path.glob("pysr/*/finished.json")) == []


@needs_proc
def test_ctrl_c_of_a_terminal_reaches_the_parent_only(fake: Fake, tmp_path: Path) -> None:
    process, child = hanging_search(fake, tmp_path)
    assert os.getpgid(child) != os.getpgid(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert gone(child, within_s=2.0)


@needs_proc
def test_a_search_that_runs_into_its_time_limit_is_ended_and_not_finished(fake: Fake, tmp_path: Path) -> None:
    fake.write(accident="hangs")
    settings = SearchSettings(pysr=PySRSettings(output_folder=str(tmp_path), timeout_in_seconds=1.0))
    with pytest.raises(EngineError, match=r"within its time limit of 1 s\. Raise pysr.timeout_in_seconds"):
        PySREngine().propose(SAMPLES, settings, 0)
    (search,) = fake.arguments
    assert gone(search["process"], within_s=2.0)
    assert list(tmp_path.glob("*/finished.json")) == []


@needs_proc
def test_one_process_serves_many_fits_and_ends_with_the_engine(fake: Fake, tmp_path: Path) -> None:
    engine = PySREngine()
    settings = SearchSettings(pysr=PySRSettings(output_folder=str(tmp_path)))
    for seed in range(3):
        engine.propose(SAMPLES, settings, seed)
    (pid,) = {one["process"] for one in fake.arguments}
    assert is_alive(pid)
    del engine
    assert gone(pid, within_s=2.0)


@needs_proc
def test_an_engine_whose_child_was_killed_starts_another(fake: Fake, tmp_path: Path) -> None:
    engine = PySREngine()
    settings = SearchSettings(pysr=PySRSettings(output_folder=str(tmp_path)))
    first = engine.propose(SAMPLES, settings, 0)
    os.kill(fake.arguments[0]["process"], signal.SIGKILL)
    assert gone(fake.arguments[0]["process"], within_s=2.0)
    assert engine.propose(SAMPLES, settings, 1) == first


def test_progress_says_what_is_going_on_and_not_who_says_it(fake: Fake) -> None:
    said: list[tuple[float, str]] = []
    PySREngine().propose(SAMPLES, SearchSettings(), 0, lambda *one: said.append(one))
    texts = [text for _, text in said]
    assert any(text.startswith("starting") for text in texts)
    assert any(text.startswith("searching") for text in texts)
    assert not any("pysr" in text for text in texts)
    fractions = [fraction for fraction, _ in said]
    assert fractions == sorted(fractions)


# --------------------------------------------------------------------------------- engines that do not start


DOES_NOT_START = "raise Exception('could not find Julia =1.10.3')"


def test_an_engine_that_auto_chose_and_that_does_not_start_is_left_out_with_one_warning(fake: Fake) -> None:
    (fake.home / "pysr.py").write_text(DOES_NOT_START)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = [engine.name for engine in started(["auto"])]
    assert "terms" in names
    assert "pysr" not in names
    (one,) = caught
    assert one.category is EngineWarning
    assert "PySR could not start Julia (Exception: could not find Julia" in str(one.message)


@pytest.mark.parametrize("names", ["pysr", ["terms", "pysr"], ["auto", "pysr"]])
def test_an_engine_asked_for_by_name_that_does_not_start_is_an_error(fake: Fake, names: Any) -> None:
    (fake.home / "pysr.py").write_text(DOES_NOT_START)
    with pytest.raises(EngineUnavailable, match=r"could not start Julia .*doctor --install-julia"):
        started(names)


def test_a_julia_that_hangs_is_given_up(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake.home / "pysr.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(pysr, "START_LIMIT_S", 1.0)
    with pytest.raises(EngineUnavailable, match="time limit of 1 s"):
        started("pysr")


def test_a_search_by_auto_goes_on_without_a_julia_that_does_not_start(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipelines.cli import app

    (fake.home / "pysr.py").write_text(DOES_NOT_START)
    monkeypatch.chdir(tmp_path)
    table = np.column_stack([SAMPLES.inputs, SAMPLES.target])
    np.savetxt("data.csv", table, delimiter=",", header="x,y,w,dw", comments="")
    arguments = ["infer", "data.csv", "--variables", "x,y,w", "--target", "dw"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if "pysr" in line]
    assert len(said) == 1
    assert said[0].startswith("discover: The engine 'pysr' cannot run here: PySR could not start Julia")
    front = json.loads((tmp_path / "results" / "data" / "front.json").read_text())
    assert "terms" in front["engine"]
    assert "pysr" not in front["engine"]
    named = CliRunner().invoke(app, [*arguments, "--engine", "pysr", "--name", "named"])
    assert named.exit_code == 2
    assert "PySR could not start Julia" in named.stderr


def test_the_doctor_proves_that_an_engine_starts(fake: Fake) -> None:
    from pipelines.doctor import doctor_facts, doctor_text

    assert "PySR 9, Julia 9  yes\n" in doctor_text(doctor_facts()) + "\n"
    assert "PySR 9, Julia 9  yes          yes, " in doctor_text(doctor_facts(start=True))
    (fake.home / "pysr.py").write_text(DOES_NOT_START)
    text = doctor_text(doctor_facts(start=True))
    assert "PySR 9, Julia 9  yes          no" in text
    assert "pysr: The engine 'pysr' cannot run here: PySR could not start Julia" in text


def test_an_inference_says_once_which_engine_is_at_work() -> None:
    said: list[str] = []
    recordings = from_rows(SAMPLES.variables, SAMPLES.inputs, SAMPLES.target, None)
    infer(recordings, engines=("terms",), progress=lambda _, message: said.append(message))
    named = [message for message in said if "terms" in message]
    assert any(message.startswith("terms: sums of 1 products") for message in named)
    assert all(message.count("terms") == 1 for message in named)

"""Speed of the spiking simulators in biological time, and beside Brian2's C++ programs, on one core."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brian import FEEDFORWARD_SCRIPT, RECURRENT_SCRIPT, feedforward_arguments
from discover.tasks._recurrent_balance import balanced_network
from sims.spike_rules import LinearSpikeRule
from sims.spiking import FeedforwardCircuit, published_problems, simulate_feedforward
from sims.spiking_circuit import Network

__all__ = ["spiking"]

FEEDFORWARD_S, RECURRENT_S = 60.0, 10.0
"""Biological time of a run."""

N_RULES = 30
VOGELS = LinearSpikeRule.vogels(6.25)


def spiking(repeats: int) -> dict[str, Any]:
    """Biological seconds a second, the median over turns; where Brian2 is, its program in the same turns."""
    problems = published_problems(FeedforwardCircuit(), seeds=[1], inhibitory_weight=0.4)
    rules = [VOGELS] * N_RULES
    circuit = balanced_network()

    def recurrent(seconds: float) -> None:
        network = Network(circuit, 0)
        network.run(VOGELS.of_projection("IE"), network.initial_state(0), seconds)

    ours: dict[str, tuple[Callable[[], Any], float]] = {
        "feed-forward": (lambda: simulate_feedforward(VOGELS, problems, FEEDFORWARD_S), FEEDFORWARD_S),
        f"feed-forward, {N_RULES} rules at once": (
            lambda: simulate_feedforward(rules, problems, FEEDFORWARD_S),
            FEEDFORWARD_S * N_RULES,
        ),
        "recurrent, 10,000 neurons": (
            lambda: recurrent(RECURRENT_S),
            RECURRENT_S,
        ),
    }

    def draw_connections() -> None:
        recurrent(circuit.dt_ms / 1000.0)

    for run, _ in ours.values():
        run()
    with tempfile.TemporaryDirectory() as folder:
        programs = _brian_programs(Path(folder)) if importlib.util.find_spec("brian2") else {}
        rows = []
        for name, (run, biological) in ours.items():
            program = programs.get(name.split(",")[0])
            here, there = [], []
            for _ in range(repeats):
                # Brian2's clock leaves out the drawing of connections, which a run of one step does too.
                drawing = _seconds(draw_connections) if run is ours["recurrent, 10,000 neurons"][0] else 0.0
                here.append(biological / (_seconds(run) - drawing))
                if program is not None:
                    there.append(program())
            speed = float(np.median(here))
            brian = float(np.median(there)) if there else float("nan")
            rows.append(
                {
                    "network": name,
                    "x real time": speed,
                    "Brian2 C++": brian if there else None,
                    "ratio": speed / brian if there else None,
                }
            )
    return {"what": "biological seconds a second on one core; beside Brian2's C++ program", "rows": rows}


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _brian_programs(folder: Path) -> dict[str, Callable[[], float]]:
    """Build both programs, and return what runs one again and says how fast it was."""
    circuit = FeedforwardCircuit()
    problems = published_problems(circuit, seeds=[1], inhibitory_weight=0.4)
    feedforward = folder / "feedforward"
    feedforward.mkdir()
    arguments = feedforward_arguments(
        circuit, problems, VOGELS, FEEDFORWARD_S, target="cpp_standalone", given=False, seed=11
    )
    (feedforward / "arguments.json").write_text(json.dumps(arguments), encoding="utf-8")
    result = feedforward / "result.npz"
    _checked([str(FEEDFORWARD_SCRIPT), str(feedforward / "arguments.json"), str(result)], feedforward)
    recurrent = folder / "recurrent"
    _checked([str(RECURRENT_SCRIPT), str(recurrent), str(RECURRENT_S)], folder)
    return {
        "feed-forward": lambda: FEEDFORWARD_S / _rerun(result.with_suffix(".standalone")),
        "recurrent": lambda: RECURRENT_S / _rerun(recurrent),
    }


def _checked(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"Brian2 failed:\n{done.stderr[-2000:]}")


def _rerun(folder: Path) -> float:
    """Run a compiled program again; return the seconds of its main loop, by its own clock."""
    subprocess.run(["./main"], cwd=folder, capture_output=True, check=True)
    found = re.findall(r"[-+.\deE]+", (folder / "results" / "last_run_info.txt").read_text(encoding="utf-8"))
    return float(found[0])

"""The memory network at full size, plastic and not, beside Brian2's C++ program of the same circuit."""

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

from discover.export_memory import brian2_of_memory
from discover.known_rules import get_known_rule
from discover.tasks.memory import circuit_rules
from sims.memory import MemoryCircuit
from sims.spiking_circuit import Network

__all__ = ["memory"]

BEFORE_S, BREAK_S, SHOWN_S = 4.0, 1.0, 0.1
"""Biological time of a run: without a stimulus, after training, and in training and each of two showings."""

DURATION_S = BEFORE_S + BREAK_S + 3 * SHOWN_S

BUILT = """
import numpy
from brian2 import prefs, set_device

set_device("cpp_standalone", directory={folder!r})
prefs.devices.cpp_standalone.openmp_threads = 0
prefs.core.default_float_dtype = numpy.float32  # as this program's neurons are; it makes Brian2 faster
"""
PHASES = re.compile(r"^before, training, test = .*$", re.MULTILINE)


def memory(repeats: int) -> dict[str, Any]:
    """Biological seconds and synaptic events a second on one core, with plasticity and without.

    Both programs run the published quartet from the initial weights for about five seconds, which Brian2 is
    capped at; the exported script is what Brian2 runs. The drawing of connections is not counted.
    """
    rule = get_known_rule("confavreux-quartet").rule
    network = Network(MemoryCircuit().circuit(1), 1)
    state = network.initial_state(1)

    def timed(rules: dict[str, Any]) -> tuple[float, int]:
        started = time.perf_counter()
        outcome = network.run(rules, state, DURATION_S, record=("E", "I"))
        seconds = time.perf_counter() - started
        n_events = 0
        for name, synapses in network.synapses.items():
            pre = network.circuit.projections[name].pre
            if pre in outcome.spikes:
                targets = np.bincount(synapses.source, minlength=network.circuit.populations[pre].n)
                n_events += int(targets[outcome.spikes[pre].neuron].sum())
        return seconds, n_events

    ways: dict[str, dict[str, Any]] = {"all four plastic": circuit_rules(rule), "none plastic": {}}
    for rules in ways.values():
        timed(rules)
    with tempfile.TemporaryDirectory() as folder:
        program = _built(brian2_of_memory(rule), Path(folder)) if importlib.util.find_spec("brian2") else None
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
        there: list[float] = []
        for _ in range(repeats):
            for name, rules in ways.items():
                found[name].append(timed(rules))
            if program is not None:
                there.append(program())
    brian = DURATION_S / float(np.median(there)) if there else None
    rows = []
    for name, turns in found.items():
        seconds = float(np.median([one for one, _ in turns]))
        other = brian if name == "all four plastic" else None
        rows.append(
            {
                "projections": name,
                "x real time": DURATION_S / seconds,
                "synaptic events a second": turns[0][1] / seconds,
                "Brian2 C++": other,
                "ratio": None if other is None else DURATION_S / seconds / other,
            }
        )
    what = (
        "memory network of 4096 + 1024 neurons: biological seconds a second on one core; Brian2's C++ program"
    )
    return {"what": what, "rows": rows}


def _built(script: str, folder: Path) -> Callable[[], float]:
    """Compile and run the exported script once; return what runs it again and tells the seconds it took."""
    built, source = folder / "built", folder / "memory.py"
    script = PHASES.sub(f"before, training, test = {BEFORE_S}, {SHOWN_S}, {SHOWN_S}", script, count=1)
    script = script.replace("\nseed(1)\n", f"{BUILT.format(folder=str(built))}\nseed(1)\n", 1)
    source.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(source), str(BREAK_S)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"Brian2 failed:\n{done.stderr[-2000:]}")

    def again() -> float:
        subprocess.run(["./main"], cwd=built, capture_output=True, check=True)
        info = (built / "results" / "last_run_info.txt").read_text(encoding="utf-8")
        return float(re.findall(r"[-+.\deE]+", info)[0])

    return again


if __name__ == "__main__":
    print(json.dumps(memory(3), indent=1))

"""Run the benchmarks: ``python -m benchmarks --output results/bench.json``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import by_hand, in_jax
from benchmarks.memory import memory
from benchmarks.problems import (
    interpreted_lateral,
    network_work,
    oja_program,
    random_table,
    square_root_program,
    work,
)
from benchmarks.spiking import spiking
from benchmarks.timing import interleaved, ratio, row
from sims._groups import run_groups
from sims.rate import BLOW_UP_NORM, meta_gradient, simulate

SCHEMA = "plasticity-discovery/bench/1"
SIZES = (2, 10, 100, 1000)

LONG_RUN = 2000
"""Steps of a simulation that is timed alone."""


def beside_jax(sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Meta-gradient of the 27 coefficients, this program against JAX."""
    rows = []
    for size in sizes:
        one = work(size)
        plain = in_jax.meta_gradient(one, in_jax.plain)
        collapsed = in_jax.meta_gradient(one, in_jax.collapsed)

        def ours(one: Any = one) -> Any:
            return meta_gradient(*one.problem(one.rule), one.loss).gradients["feedforward"]

        agreement = float(np.abs(ours() - plain().reshape(-1, 27)).max() / np.abs(ours()).max())
        seconds = interleaved({"here": ours, "jax": plain, "jax collapsed": collapsed}, repeats)
        rows.append(
            {
                "inputs": size,
                "ratio": ratio(seconds, "jax", "here"),
                "ratio collapsed": ratio(seconds, "jax collapsed", "here"),
                "disagreement": agreement,
                **row(seconds),
            }
        )
    return {
        "what": "meta-gradient: JAX over this program, with the 27 terms contracted and with them collapsed",
        "geometric_mean_ratio": _geometric_mean(rows, "ratio"),
        "geometric_mean_ratio_collapsed": _geometric_mean(rows, "ratio collapsed"),
        "rows": rows,
    }


def _geometric_mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.exp(np.mean(np.log([entry[column] for entry in rows]))))


def beside_hand(sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Simulation of a program against a kernel written for its rule."""
    rows = []
    for name, program, kernel in (
        ("oja", oja_program(), by_hand.oja),
        ("square-root", square_root_program(), by_hand.square_root),
    ):
        for size in sizes:
            one = work(size, n_steps=LONG_RUN)

            def ours(one: Any = one, rule: Any = program) -> Any:
                return simulate(*one.problem(rule)).final["feedforward"][:, 0]

            def theirs(one: Any = one, kernel: Any = kernel) -> Any:
                weights = one.weights.copy()
                blow_up = np.empty(len(weights), dtype=np.int64)
                schedule = one.schedule
                order = np.array(schedule.order)
                run_groups(
                    lambda first, last: kernel(
                        first,
                        last,
                        one.inputs,
                        weights,
                        order,
                        schedule.learning_rate,
                        schedule.n_steps,
                        BLOW_UP_NORM,
                        blow_up,
                    ),
                    len(weights),
                    weights.size * schedule.n_steps,
                )
                return weights

            np.testing.assert_allclose(ours(), theirs(), rtol=1e-6, atol=1e-9)
            seconds = interleaved({"program": ours, "by hand": theirs}, repeats)
            rows.append(
                {"rule": name, "inputs": size, "ratio": ratio(seconds, "program", "by hand"), **row(seconds)}
            )
    return {"what": "simulation: program over hand-written kernel", "rows": rows}


def gradient_cost(sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Cost of a gradient in forward passes."""
    rows = []
    for name, rule in (("polynomial", None), ("oja", oja_program()), ("square-root", square_root_program())):
        for size in sizes:
            for batch in (1, 100):
                if size * batch > 10_000:
                    continue
                one = work(size, batch)
                used = one.rule if rule is None else rule

                def forward(one: Any = one, used: Any = used) -> Any:
                    return simulate(*one.problem(used))

                def both(one: Any = one, used: Any = used) -> Any:
                    return meta_gradient(*one.problem(used), one.loss)

                seconds = interleaved({"forward": forward, "gradient": both}, repeats)
                rows.append(
                    {
                        "rule": name,
                        "inputs": size,
                        "batch": batch,
                        "ratio": ratio(seconds, "gradient", "forward"),
                        **row(seconds),
                    }
                )
    return {"what": "gradient, forward pass included, over forward pass", "rows": rows}


def network_gradient_cost(repeats: int) -> dict[str, Any]:
    """Cost of a gradient through the two-layer network with random pairs of rules, in forward passes."""
    pairs = {
        "two tables": (random_table(0), random_table(1)),
        "program, table": (oja_program(), random_table(1)),
        "table, interpreted": (random_table(0), interpreted_lateral()),
        "interpreted, table": (square_root_program(), random_table(1)),
    }
    rows = []
    for name, rules in pairs.items():
        for n_inputs, n_outputs, batch in ((3, 2, 100), (10, 2, 10), (50, 2, 10), (200, 4, 10), (50, 8, 1)):
            one = network_work(n_inputs, n_outputs, batch)

            def forward(one: Any = one, rules: Any = rules) -> Any:
                return simulate(*one.problem(*rules))

            def both(one: Any = one, rules: Any = rules) -> Any:
                return meta_gradient(*one.problem(*rules), one.loss)

            seconds = interleaved({"forward": forward, "gradient": both}, repeats)
            rows.append(
                {
                    "rules": name,
                    "inputs": n_inputs,
                    "outputs": n_outputs,
                    "batch": batch,
                    "ratio": ratio(seconds, "gradient", "forward"),
                    **row(seconds),
                }
            )
    return {"what": "two-layer network: gradient, forward pass included, over forward pass", "rows": rows}


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    names = ("numpy", "numba", "jax", "jaxlib", "brian2")
    found = {name: importlib.metadata.version(name) for name in names if importlib.util.find_spec(name)}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "versions": found,
    }


def table(name: str, part: dict[str, Any]) -> str:
    """One part as aligned text."""
    rows = part["rows"]
    columns = [column for column in rows[0] if "fastest" not in column]
    cells = [columns, *[[_cell(entry[column]) for column in columns] for entry in rows]]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    lines = [f"{name}: {part['what']}"]
    lines += ["  " + "  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    if "geometric_mean_ratio" in part:
        lines.append(
            f"  geometric means of the ratios: {part['geometric_mean_ratio']:.1f}, "
            f"collapsed {part['geometric_mean_ratio_collapsed']:.1f}"
        )
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description="Speed beside JAX and hand-written kernels.")
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    parser.add_argument("--repeats", type=int, default=15, help="turns of every comparison")
    parser.add_argument("--inputs", default=",".join(map(str, SIZES)), help="numbers of inputs")
    arguments = parser.parse_args()
    sizes = tuple(int(size) for size in arguments.inputs.split(","))
    parts = {
        "meta_gradient": beside_jax(sizes, arguments.repeats),
        "program": beside_hand(tuple(size for size in sizes if size >= 10), arguments.repeats),
        "gradient_cost": gradient_cost(sizes, arguments.repeats),
        "network_gradient_cost": network_gradient_cost(arguments.repeats),
        "spiking": spiking(max(3, arguments.repeats // 3)),
        "memory": memory(max(3, arguments.repeats // 5)),
    }
    for name, part in parts.items():
        print(table(name, part), end="\n\n")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    content = {"schema": SCHEMA, "machine": machine(), "repeats": arguments.repeats, **parts}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {arguments.output}")


if __name__ == "__main__":
    main()

"""A task and stages that do next to nothing, to test the pipeline around them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt

from discover.errors import TaskError, did_you_mean
from discover.fit.result import FitResult
from discover.forms import Baseline, Comparison, Validation
from discover.pareto import ParetoFront
from discover.slots import FEEDFORWARD

TOML = """\
schema = 1
task = "toy"
seed = 3

[problems]
n_inputs = 2

[fit]
penalties = [0.1, 0.2]

[search]
engines = ["terms"]
"""


BASELINE = Baseline(differences={}, text="It beats the baseline.")


@dataclass(frozen=True)
class Spectrum:
    kind: Literal["linear", "power"] = "linear"
    exponent: Annotated[float, Gt(0)] = 1.0


@dataclass(frozen=True)
class Problems:
    n_inputs: Annotated[int, Ge(1)] = 2
    spectrum: Spectrum = field(default_factory=Spectrum)
    others: tuple[Spectrum, ...] = ()
    rates: Literal["slow", "fast"] | tuple[float, ...] | None = None
    named: dict[str, Spectrum] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n_inputs == 13:
            raise TaskError("The toy task does not take 13 inputs.")


@dataclass(frozen=True)
class FitSettings:
    penalties: tuple[Annotated[float, Gt(0)], ...] = (0.1,)
    restarts: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class ValidateSettings:
    n_problems: Annotated[int, Ge(1)] = 4


@dataclass(frozen=True)
class CompareSettings:
    tolerance: Annotated[float, Gt(0)] = 0.05
    n_problems: int = 2

    def effort(self, task: object) -> tuple[int, int, int]:
        return 2, 2, 0


class Task:
    name = "toy"
    settings_type = Problems
    slots = (FEEDFORWARD,)

    def check(self, settings: Any) -> None:
        """Nothing can be wrong with it."""

    def in_own_slots(self, rule: Any) -> Any:
        """It has the slot of rate networks."""
        return rule

    def data_digest(self, settings: Any) -> str:
        """There is no data from outside."""
        return ""


@dataclass
class Toy:
    """What a test sees of the toy pipeline: its file, its run, the stages that ran, and what may go wrong."""

    toml: Path
    run: Path
    calls: list[str] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)
    accident: Callable[[str], None] = lambda stage: None

    def called(self, stage: str, seed: int, progress: Any) -> None:
        self.accident(stage)
        self.calls.append(stage)
        self.seeds[stage] = seed
        progress(0.5, f"half of {stage}")

    def taken(self) -> list[str]:
        """Return the stages that ran since the last look."""
        calls, self.calls[:] = list(self.calls), []
        return calls

    def files(self) -> dict[str, bytes]:
        """Return the run's results, byte for byte."""
        names = (
            "trajectories.npz",
            "path.json",
            "front.json",
            "front.csv",
            "validation.json",
            "comparison.json",
        )
        return {name: (self.run / name).read_bytes() for name in names if (self.run / name).exists()}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Toy:
    """Put the toy's modules where the stages import the real ones."""
    toy = Toy(folder / "toy.toml", folder / "results" / "toy")
    toy.toml.write_text(TOML)
    modules = {
        "discover.tasks": {"get_task": get_task, "task_names": lambda: ["toy"], "collect": collector(toy)},
        "discover.fit": {"fit": fitter(toy), "FitSettings": FitSettings},
        "discover.validate": {"validate": validator(toy), "ValidateSettings": ValidateSettings},
        "discover.ablate": {"ablate": lambda task, problems, rule, n_problems, seed, progress: ()},
        "discover.baseline": {"beside_baseline": lambda *arguments: BASELINE},
        "discover.contest": {"contest": lambda *arguments, **options: ()},
        "discover.comparison": {"compare_candidates": comparer(toy), "CompareSettings": CompareSettings},
        "discover.report": {"write_report": reporter(toy)},
        "discover.recover": {
            "recover": lambda task, inputs, seeds, progress, outputs, journal: recovered(inputs, seeds),
            "recover_presets": lambda task, presets, progress, journal: [
                {"preset": name} for name in presets
            ],
        },
    }
    importlib.import_module("discover.journal")  # while the modules that it needs are the real ones
    for name, members in modules.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    import discover.search

    # Not setattr: it would look for the real search first, which needs the real task package.
    monkeypatch.setitem(vars(discover.search), "search", searcher(toy))
    return toy


def get_task(name: str) -> Task:
    if name != "toy":
        raise TaskError(f"There is no task {name!r}.{did_you_mean(name, ['toy'])} Allowed: toy.")
    return Task()


def collector(toy: Toy) -> Callable[..., dict[str, np.ndarray]]:
    def collect(task: Task, settings: Problems, seed: int, progress: Any) -> dict[str, np.ndarray]:
        toy.called("simulate", seed, progress)
        return {"x": np.random.default_rng(seed).normal(size=(5, settings.n_inputs))}

    return collect


def fitter(toy: Toy) -> Callable[..., FitResult]:
    def fit(task: Task, settings: Problems, options: FitSettings, seed: int, progress: Any) -> FitResult:
        toy.called("fit", seed, progress)
        points = [
            {
                "penalty": penalty,
                "coefficients": {"feedforward": {"x*y": 1.0, "w*y**2": -1.0}},
                "n_terms": 2,
                "train_loss": 0.1,
                "heldout_loss": 0.2,
            }
            for penalty in options.penalties
        ]
        return FitResult.from_json(
            {
                "task": "toy",
                "points": points,
                "chosen": 0,
                "reason": "it is the first",
                "restarts": [{"restart": number} for number in range(options.restarts)],
                "term_stability": {"feedforward": {"x*y": 1.0}},
            }
        )

    return fit


def searcher(toy: Toy) -> Callable[..., ParetoFront]:
    def search(
        task: Task,
        settings: Problems,
        fitted: FitResult,
        arrays: dict[str, np.ndarray],
        options: Any,
        seed: int,
        progress: Any,
        engines: tuple[str, ...],
    ) -> ParetoFront:
        toy.called("search", seed, progress)
        assert fitted.chosen == 0
        assert set(arrays) == {"x"}
        return ParetoFront.from_json(
            {
                "task": "toy",
                "engine": list(engines),
                "candidates": [
                    candidate("hebb", "x*y", 3, 0.9, on_front=True),
                    candidate("oja", "x*y - w*y**2", 9, 0.1, on_front=True),
                    candidate("worse", "x*y - x", 5, 0.95, on_front=False),
                ],
                "chosen": "oja",
                "reason": "one standard error",
            }
        )

    return search


def candidate(name: str, rule: str, complexity: int, loss: float, on_front: bool) -> dict[str, Any]:
    return {
        "id": name,
        "slots": {"feedforward": rule},
        "complexity": complexity,
        "train_loss": loss,
        "heldout_loss": loss,
        "provenance": {"proposed_by": ["terms"], "refined_by": "meta-loss"},
        "on_front": on_front,
    }


def validator(toy: Toy) -> Callable[..., Validation]:
    def validate(
        task: Task, settings: Problems, rules: dict[str, Any], options: Any, seed: int, progress: Any
    ) -> Validation:
        toy.called("validate", seed, progress)
        metrics = {"cosine": {"mean": 0.9, "low": 0.8, "high": 1.0}}
        folds = [
            {"name": "digits", "metrics": metrics, "passed": True},
            {"name": "D x 10", "metrics": metrics, "passed": False},
        ]
        return Validation.from_json(
            {"candidates": {name: {"folds": folds, "passed": False} for name in rules}}
        )

    return validate


def comparer(toy: Toy) -> Callable[..., Comparison]:
    def compare(
        task: Task, settings: Problems, rules: dict[str, Any], options: Any, seed: int, progress: Any
    ) -> Comparison:
        toy.called("compare", seed, progress)
        distances = {"oja": {"coefficient": 0.0, "functional": 0.0, "behavioural": None}}
        entry = {"nearest": "oja", "verdict": "same up to scale", "distances": distances}
        return Comparison.from_json({"candidates": dict.fromkeys(rules, entry)})

    return compare


def reporter(toy: Toy) -> Callable[[Path], Path]:
    def write_report(folder: Path) -> Path:
        toy.accident("report")
        toy.calls.append("report")
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / "front.svg").write_text("<svg/>")
        (folder / "report.html").write_text("<html></html>")
        return folder / "report.html"

    return write_report


def recovered(inputs: list[int], seeds: int) -> list[dict[str, Any]]:
    return [{"inputs": size, "exact": f"{seeds}/{seeds}", "median seconds": 0.5} for size in inputs]

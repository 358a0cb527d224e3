"""A task without a network, for reports of runs that were made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discover.rule import Rule
from discover.slots import FEEDFORWARD
from discover.tasks.base import Fold, Task, VisitedStates


@dataclass(frozen=True)
class StandInSettings:
    n_inputs: int = 2
    spectrum: tuple[float, ...] = (1.0, 0.5)


class StandInTask(Task):
    """A task whose rules learn as fast as their first constant says."""

    name = "stand-in"
    title = "Decay of a number"
    slots = (FEEDFORWARD,)
    settings_type = StandInSettings
    reference = "oja"
    known_rules = ("oja",)
    measures: Mapping[str, str] = {"loss": "what is left"}

    def draw(self, settings: StandInSettings, n_problems: int, seed: np.random.SeedSequence) -> np.ndarray:
        return np.random.default_rng(seed).uniform(0.5, 1.5, n_problems)

    def learning_curve(
        self, rule: Rule, problems: np.ndarray, n_points: int
    ) -> tuple[np.ndarray, np.ndarray]:
        steps = np.arange(n_points) * 5
        rate = 0.01 * (1 + rule.complexity / 20)
        return steps, 0.02 + np.exp(-rate * steps[:, None] * problems)

    def visit(
        self, rule: Rule, problems: np.ndarray, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """Nothing: under these rules every problem blows up."""
        nothing = np.empty(0, dtype=np.int64)
        return {"feedforward": VisitedStates(np.empty((0, 3)), nothing, nothing)}

    def probe(
        self, problems: np.ndarray, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        states = np.random.default_rng(seed).normal(size=(n_states, 3))
        zeros = np.zeros(n_states, dtype=np.int64)
        return {"feedforward": VisitedStates(states, zeros, zeros)}

    def losses(self, rule: Rule, problems: np.ndarray, n_steps: int | None = None) -> np.ndarray:
        return self.learning_curve(rule, problems, 20)[1][-1]

    def evaluate(self, rule: Rule, problems: np.ndarray) -> dict[str, np.ndarray]:
        return {"loss": self.losses(rule, problems)}

    def folds(self, settings: StandInSettings) -> tuple[Fold, ...]:
        return ()

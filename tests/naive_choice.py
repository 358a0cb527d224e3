"""A slow, obvious twin of the simulator of choices, one problem and one trial at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from naive import program_value

from sims.choice import Bandits, Learner
from sims.rules import Program


def softmax(weights: np.ndarray, sharpness: float) -> np.ndarray:
    powers = np.array([math.exp(sharpness * (w - max(weights))) for w in weights])
    return powers / powers.sum()


def choose(
    program: Program, bandits: Bandits, learner: Learner, problem: int, choices: Any = None
) -> dict[str, np.ndarray]:
    """Regrets, choices, weights before each trial and at the end, and log probabilities of the choices."""
    n_options = bandits.rewards.shape[2]
    w = np.full(n_options, learner.initial_weight)
    m = learner.initial_mean
    regrets, made, weights, logs = [], [], [w.copy()], []
    for t in range(bandits.rewards.shape[1]):
        y = softmax(w, learner.sharpness)
        if choices is None:
            above = [i for i in range(n_options) if bandits.uniforms[problem, t] < sum(y[: i + 1])]
            chosen = above[0] if above else n_options - 1
        else:
            chosen = int(choices[t])
        value = bandits.values[problem, t]
        regrets.append(max(value) - sum(y * value))
        reward = bandits.rewards[problem, t, chosen]
        changes = [
            program_value(program, {"x": float(i == chosen), "y": y[i], "w": w[i], "R": reward, "m": m})
            for i in range(n_options)
        ]
        w = w + learner.learning_rate * np.array(changes)
        m = m + (reward - m) / learner.mean_trials
        made.append(chosen)
        weights.append(w.copy())
        logs.append(math.log(y[chosen]))
    return {
        "regrets": np.array(regrets),
        "choices": np.array(made),
        "weights": np.array(weights),
        "logs": np.array(logs),
    }

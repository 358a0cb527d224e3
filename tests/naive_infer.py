"""Slow, obvious twins of the weak form: integrals as sums over trapezoids, one at a time."""

from __future__ import annotations

import numpy as np

from discover.expression import evaluate, parse


def bump(s: float) -> float:
    """Test function on -1..1 before it is normalised."""
    return (1 - s * s) ** 6 if abs(s) < 1 else 0.0


def _trapezoids(times: np.ndarray, values: list[float]) -> float:
    total = 0.0
    for k in range(len(times) - 1):
        total += 0.5 * (times[k + 1] - times[k]) * (values[k] + values[k + 1])
    return total


def _places(times: np.ndarray) -> tuple[list[float], float]:
    middle, reach = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    return [(t - middle) / reach for t in times], reach


def integral(times: np.ndarray, values: np.ndarray) -> float:
    """Mean of values over a window, weighted by the bump."""
    places, _ = _places(times)
    weights = [bump(s) for s in places]
    above = _trapezoids(times, [weight * value for weight, value in zip(weights, values, strict=True)])
    return above / _trapezoids(times, weights)


def weak_target(times: np.ndarray, weights: np.ndarray) -> float:
    """Minus the integral of the bump's derivative times the weight, less what a constant weight gives."""
    places, reach = _places(times)
    slopes = [-12 * s * (1 - s * s) ** 5 / reach if abs(s) < 1 else 0.0 for s in places]
    area = _trapezoids(times, [bump(s) for s in places])
    centred = weights - weights.mean()
    return -_trapezoids(times, [slope * value for slope, value in zip(slopes, centred, strict=True)]) / area


def simulate_weight(law: str, n: int, dt: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weight under ``dw/dt = law`` for smooth random x and y, by small Euler steps."""
    fine = 10
    t = np.arange((n - 1) * fine + 1) * dt / fine

    def smooth() -> np.ndarray:
        size, rate, phase = rng.normal(size=6), rng.uniform(0.1, 0.6, 6), rng.uniform(0, 2 * np.pi, 6)
        return 0.7 * np.sum(size[:, None] * np.sin(2 * np.pi * rate[:, None] * t + phase[:, None]), axis=0)

    x, y = smooth(), smooth()
    node = parse(law, ("x", "y", "w"))
    w = np.empty_like(t)
    w[0] = rng.normal()
    for k in range(len(t) - 1):
        w[k + 1] = w[k] + dt / fine * float(evaluate(node, {"x": x[k], "y": y[k], "w": w[k]}))
    return {"x": x[::fine], "y": y[::fine], "w": w[::fine], "t": t[::fine]}

"""The same meta-gradient in JAX: jit, vmap over problems, scan over steps, grad; float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problems import LEARNING_RATE, Work


def meta_gradient(work: Work) -> Callable[[], Any]:
    """Return a function that gives each problem's gradient with respect to the 27 coefficients."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    n_rounds = len(work.schedule.order)
    order = jnp.asarray(np.resize(work.schedule.order[:, 0], work.schedule.n_steps))
    assert work.schedule.n_steps % n_rounds == 0

    def loss(table: Any, inputs: Any, start: Any, target: Any) -> Any:
        def step(w: Any, pick: Any) -> tuple[Any, None]:
            x = inputs[pick]
            y = x @ w
            # What depends on y alone is collapsed first, as in the kernels: nine coefficients a step.
            c = table[:, 0, :] + y * (table[:, 1, :] + y * table[:, 2, :])
            constant = c[0, 0] + w * (c[0, 1] + w * c[0, 2])
            linear = c[1, 0] + w * (c[1, 1] + w * c[1, 2])
            square = c[2, 0] + w * (c[2, 1] + w * c[2, 2])
            return w + LEARNING_RATE * (constant + x * (linear + x * square)), None

        end, _ = jax.lax.scan(step, start, order)
        return jnp.sum((end - target) ** 2)

    gradient = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0, 0)))
    arrays = [jnp.asarray(a) for a in (work.rule.coefficients, work.inputs, work.weights, work.targets)]
    return lambda: np.asarray(gradient(*arrays).block_until_ready())

"""The same meta-gradient in JAX: jit, vmap over problems, scan over steps, grad; float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problems import LEARNING_RATE, Work


def plain(table: Any, x: Any, y: Any, w: Any) -> Any:
    """Contract the table of 27 coefficients with the powers, as one writes it in JAX."""
    import jax.numpy as jnp

    powers_x = jnp.stack([jnp.ones_like(x), x, x**2])
    powers_y = jnp.stack([jnp.ones_like(y), y, y**2])
    powers_w = jnp.stack([jnp.ones_like(w), w, w**2])
    return jnp.einsum("ijk,in,j,kn->n", table, powers_x, powers_y, powers_w)


def collapsed(table: Any, x: Any, y: Any, w: Any) -> Any:
    """Collapse what depends on y alone first, as this program's kernels do."""
    c = table[:, 0, :] + y * (table[:, 1, :] + y * table[:, 2, :])
    constant = c[0, 0] + w * (c[0, 1] + w * c[0, 2])
    linear = c[1, 0] + w * (c[1, 1] + w * c[1, 2])
    square = c[2, 0] + w * (c[2, 1] + w * c[2, 2])
    return constant + x * (linear + x * square)


def meta_gradient(work: Work, rule: Callable[..., Any]) -> Callable[[], Any]:
    """Return a function that gives each problem's gradient with respect to the 27 coefficients."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    order = jnp.asarray(np.resize(work.schedule.order[:, 0], work.schedule.n_steps))

    def loss(table: Any, inputs: Any, start: Any, target: Any) -> Any:
        def step(w: Any, pick: Any) -> tuple[Any, None]:
            x = inputs[pick]
            return w + LEARNING_RATE * rule(table, x, x @ w, w), None

        end, _ = jax.lax.scan(step, start, order)
        return jnp.sum((end - target) ** 2)

    gradient = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0, 0)))
    arrays = [jnp.asarray(a) for a in (work.rule.coefficients, work.inputs, work.weights, work.targets)]
    return lambda: np.asarray(gradient(*arrays).block_until_ready())

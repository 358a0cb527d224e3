"""Programs that no collapsed form helps with, run instruction by instruction over blocks of synapses.

See :mod:`sims._graph` for what is done to a program first, :mod:`sims._tape` for what the interpreter runs
and :mod:`sims._program_kernels` for how.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sims._groups import aligned, frozen, in_lanes, out_of_lanes, run_groups
from sims._tape import N_KINDS, Tape, tapes_of
from sims.rules import Program

if TYPE_CHECKING:
    from sims.rate import Schedule

__all__ = ["Interpreted", "record_interval"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BLOCK_BYTES = 16_384
"""What the values of one block may take: half of a first-level cache."""

FEWEST_IN_BLOCK, MOST_IN_BLOCK = 16, 128
"""Vectors of one value of a block: fewer, and reading instructions costs more than running them."""


TRAJECTORY_BYTES = 64_000_000
"""A gradient keeps all states of all steps up to this size: they take longer to run again than to fetch."""


def record_interval(n_bytes: int, n_steps: int, most_bytes: int | None = None) -> int:
    """Steps between two records of states of this size, of which all may take so much."""
    most_bytes = TRAJECTORY_BYTES if most_bytes is None else most_bytes
    return 1 if n_bytes * n_steps <= most_bytes else isqrt(n_steps - 1) + 1


class Interpreted:
    """A program and its gradient as tapes, for one neuron."""

    def __init__(self, slot: str, program: Program) -> None:
        self.slot = slot
        self.n_constants = len(program.constants)
        self.values = frozen(np.append(program.constants, 1.0))
        self.forwards, self.backwards = tapes_of(program)

    def record_interval(self, states: FloatArray, n_steps: int) -> int:
        """Steps between two records of states of this size, from which a gradient starts its way back."""
        from sims._lanes import LANES

        n_bytes = -(-len(states) // LANES) * LANES * int(states[0].nbytes)
        return record_interval(n_bytes, n_steps)

    def simulated(
        self, x: FloatArray, states: FloatArray, schedule: Schedule, every: int, bound: float
    ) -> _Run:
        """Run all problems, with a record every so many steps."""
        return _Run(self, x, states, schedule, every, bound)


class _Run:
    """Problems of an interpreted program, side by side in lanes."""

    def __init__(
        self, prepared: Interpreted, x: FloatArray, w: FloatArray, schedule: Schedule, every: int, most: float
    ) -> None:  # fmt: skip
        from sims import _program_kernels as kernels

        self._kernels = kernels
        self._prepared = prepared
        self._schedule = schedule
        self._every = every
        self._n_problems = len(x)
        self._amount = len(x) * (x.shape[2] + 20) * schedule.order.shape[1] * schedule.n_steps
        inputs = in_lanes(x)
        self._inputs = inputs.reshape(len(inputs), -1, inputs.shape[3])
        self._weights = in_lanes(w[:, None])[:, 0]
        n_groups = len(self._weights)
        self._record = aligned((n_groups, -(-schedule.n_steps // every), *self._weights.shape[1:]))
        self._blow_up = np.empty((n_groups, self._inputs.shape[2]), dtype=np.int64)
        self._order = frozen(schedule.order.reshape(-1))

        def run(first: int, last: int) -> None:
            kernels.simulate(
                *self._laid_out(prepared.forwards), prepared.values, first, last, self._inputs, self._weights,
                self._order, schedule.learning_rate, schedule.n_steps, most, every, self._record,
                self._blow_up,
            )  # fmt: skip

        run_groups(run, n_groups, self._amount)

    def states(self) -> FloatArray:
        return out_of_lanes(self._weights[:, None], self._n_problems)[:, 0]

    def blow_up(self) -> IntArray:
        return self._blow_up.reshape(-1)[: self._n_problems]

    def record(self) -> FloatArray:
        return out_of_lanes(self._record, self._n_problems)

    def gradient(self, adjoint: FloatArray) -> tuple[dict[str, FloatArray], FloatArray]:
        prepared, schedule, every = self._prepared, self._schedule, self._every
        adjoints = in_lanes(adjoint[:, None])[:, 0]
        result = np.empty((len(adjoints), prepared.n_constants, adjoints.shape[2]))

        def run(first: int, last: int) -> None:
            path = aligned((every if every > 1 else 0, *adjoints.shape[1:]))
            self._kernels.gradient(
                *self._laid_out(prepared.forwards), *self._laid_out(prepared.backwards), prepared.values,
                first, last, self._inputs, self._order, schedule.learning_rate, schedule.n_steps, every,
                self._record, self._blow_up, adjoints, result, path,
            )  # fmt: skip

        run_groups(run, len(adjoints), self._amount)
        gradients = out_of_lanes(result[:, None], self._n_problems)[:, 0]
        return {prepared.slot: gradients}, out_of_lanes(adjoints[:, None], self._n_problems)[:, 0]

    def _laid_out(self, tape: Tape) -> tuple[Any, Any, Any]:
        """Return a tape, the size of its blocks and memory for one group, as the kernels take them."""
        from sims._lanes import ADDRESS

        _, n_inputs, n_lanes = self._weights.shape
        n_constants, n_neurons, n_on_tape = tape.n_slots
        batch = self._schedule.order.shape[1]
        width, together = _block_size(n_on_tape, n_inputs, batch)
        workspace = self._kernels.Workspace(
            aligned((n_constants, n_lanes)),
            aligned((n_neurons * together, n_lanes)),
            aligned((n_on_tape * together * width, n_lanes)),
            aligned((n_inputs, n_lanes)),
            np.empty(3 * N_KINDS, dtype=ADDRESS),
            np.empty(3 * N_KINDS * 4, dtype=np.int64),
            np.empty(3 * 2, dtype=np.int64),
        )
        rows, results, totals = tape.laid_out((1, together, together * width))
        code = self._kernels.Code(rows, tape.ends, results, tape.sign, totals)
        return code, self._kernels.Blocks(batch, n_inputs, width, together), workspace


def _block_size(n_on_tape: int, n_inputs: int, batch: int) -> tuple[int, int]:
    """Synapses and samples of a block, for a tape of so many slots.

    Examples
    --------
    >>> _block_size(8, n_inputs=100, batch=1), _block_size(8, n_inputs=5, batch=100)
    ((25, 1), (5, 6))
    """
    from sims._lanes import LANES

    most = min(MOST_IN_BLOCK, max(FEWEST_IN_BLOCK, BLOCK_BYTES // (8 * LANES * n_on_tape)))
    n_blocks = -(-n_inputs // most)
    return -(-n_inputs // n_blocks), max(1, min(batch, most // n_inputs))

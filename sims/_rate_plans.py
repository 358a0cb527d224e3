"""Which kernels run a rate circuit, and what they are given.

A single linear neuron takes a short way: kernels that keep everything of a step in registers where its rule
is quadratic in input and weight, and an interpreter of blocks (:mod:`sims._interpreted`) where it is not.
Every other circuit is packed into flat arrays for :mod:`sims._rate_circuit_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sims._collapse import SQUARE_POWER
from sims._groups import frozen, in_lanes, out_of_lanes, run_groups
from sims._interpreted import Interpreted, record_interval
from sims._rate_layout import INNER, N_DRIVE, Layout
from sims._rate_rules import (
    BEYOND_LINEAR,
    NO_CODE,
    NO_OUTPUTS,
    NO_TABLE,
    Part,
    Rule,
    canonical,
    part_of,
)
from sims.circuit import LowPass, Signal, Variable
from sims.populations import ACTIVATIONS
from sims.rules import Program, SplineRule

if TYPE_CHECKING:
    from sims.rate import Schedule

__all__ = ["KernelPlan", "planned"]

TRAJECTORY_BYTES = 2_000_000
"""A gradient keeps all states of all steps up to this size; beyond it, one record every sqrt(n_steps).

About what a core's own cache holds: running quadratic rules again is faster than fetching more from memory.
"""

MOST_INPUTS_IN_LANES = 64
"""Up to this number of synapses of a neuron, problems of quadratic rules run side by side; beyond it, one by
one."""

FEWEST_IN_LANES = 3
"""Fewer problems than this run one by one: most lanes would be empty."""

UNITS_BYTES = 16_384
"""What the activities of the samples that are worked on together may take: half of a first-level cache."""

FEWEST_TOGETHER = 16
"""Samples that are worked on together also where they take more."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = dict[str, FloatArray]


def planned(
    layout: Layout, rules: Mapping[str, Rule], *, for_gradient: bool = False
) -> Interpreted | KernelPlan:
    """Choose the kernels.

    Parameters
    ----------
    layout : Layout
    rules : mapping of str to PolynomialRule, Program or SplineRule
        By slot.
    for_gradient : bool
        Whether gradients are wanted.

    Raises
    ------
    ValueError
        If a rule does not fit to its slot.
    """
    slots = layout.circuit.slots
    for name in rules:
        if name not in slots:
            raise ValueError(f"Slots of this circuit are {', '.join(slots) or 'none'}; got {name!r}.")
    if layout.is_neuron and rules:
        ((name, rule),) = rules.items()
        if isinstance(rule, SplineRule):
            return _of_splines(name, rule)
        part = part_of(slots[name], rule, for_gradient)
        if part.form == "of synapses":
            assert isinstance(rule, Program)
            return Interpreted(name, canonical(slots[name], rule)[0])
        return _of_neuron(name, part)
    # In the order of the circuit, in which kernels number parameters, whatever the order of the rules.
    parts = {name: part_of(slots[name], rules[name], for_gradient) for name in slots if name in rules}
    return _CircuitPlan(layout, parts)


class KernelPlan:
    """What the kernels of :mod:`sims._rate_kernels` run."""

    kernel_rule: Any
    n_parameters: int

    def record_interval(self, states: FloatArray, n_steps: int) -> int:
        """Steps between two records of states of this size, from which a gradient starts its way back."""
        return record_interval(states.nbytes, n_steps, TRAJECTORY_BYTES)

    def simulated(
        self, x: FloatArray, states: FloatArray, schedule: Schedule, every: int, bound: float
    ) -> _KernelRun:
        """Run all problems, with a record every so many steps."""
        return _KernelRun(self, x, states, schedule, every, bound)

    def runs_in_lanes(self, n_problems: int, n_inputs: int) -> bool:
        return n_inputs <= MOST_INPUTS_IN_LANES and n_problems >= FEWEST_IN_LANES

    def rule_for(self, batch: int, n_lanes: int) -> Any:
        return self.kernel_rule

    def amount(self, n_inputs: int) -> int:
        """Work of a sample in updates of single synapses; what is done once a neuron counts as twenty."""
        return n_inputs + 20

    def sizes(self, rule: Any, batch: int, n_places: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the memory of a group that are not zero, but for the lanes."""
        raise NotImplementedError

    def by_slot(self, result: FloatArray) -> Values:
        """Gradients of the kernels (n_problems, n_parameters) by slot and parameter."""
        raise NotImplementedError


@dataclass(frozen=True)
class _NeuronPlan(KernelPlan):
    """One neuron under a rule that is quadratic in input and weight."""

    slot: str
    kernel_rule: Any
    n_registers: int
    n_parameters: int
    by_parameter: Callable[[FloatArray], FloatArray]

    def sizes(self, rule: Any, batch: int, n_places: int) -> dict[str, tuple[int, ...]]:
        registers = (self.n_registers,)
        return {"registers": registers, "adjoints": registers, "drive": (1, N_DRIVE, n_places)}

    def by_slot(self, result: FloatArray) -> Values:
        return {self.slot: self.by_parameter(result)}


def _of_neuron(slot: str, part: Part) -> _NeuronPlan:
    from sims._quadratic_kernels import QuadraticRule

    is_program = part.form == "collapsed"
    rule = QuadraticRule(
        is_program, part.is_linear, part.needs_all, part.table, part.constants, part.code, part.outputs,
        part.power,
    )  # fmt: skip
    return _NeuronPlan(slot, rule, part.n_registers, part.n_gradient, part.by_parameter)


def _of_splines(slot: str, rule: SplineRule) -> _NeuronPlan:
    from sims._spline_kernels import ACTS, N_SPLINE_REGISTERS, WANTED
    from sims._spline_kernels import SplineRule as KernelRule

    acts, beyond = rule.acts, BEYOND_LINEAR[:, 0]
    needs_all = bool((acts | rule.wanted)[beyond].any())
    table = np.ascontiguousarray(rule.coefficients.reshape(9, -1))
    uses = (ACTS * acts + WANTED * rule.wanted).reshape(-1)
    kernel_rule = KernelRule(
        not acts[beyond].any(), needs_all, rule.low, rule.high, table, uses, np.empty(0), SQUARE_POWER
    )
    return _NeuronPlan(slot, kernel_rule, N_SPLINE_REGISTERS, table.size, lambda result: result)


class _CircuitPlan(KernelPlan):
    """Any circuit as flat arrays."""

    def __init__(self, layout: Layout, parts: Mapping[str, Part]) -> None:
        self.layout, self.parts = layout, parts
        self.always_in_lanes = any(part.form == "of synapses" for part in parts.values())
        self.n_parameters = sum(part.n_gradient for part in parts.values())
        self.n_registers = 1 + sum(part.n_registers for part in parts.values())
        shapes = [layout.shapes[name] for name in layout.circuit.projections]
        self.n_neurons, self.most_synapses = sum(n for n, _ in shapes), max(n for _, n in shapes)
        self.n_synapses = sum(prod(shape) for shape in shapes)
        self.has_memory = any(name in layout.shapes for name in layout.own)
        self.packed = self._packed()

    def record_interval(self, states: FloatArray, n_steps: int) -> int:
        return record_interval(states.nbytes, n_steps)

    def runs_in_lanes(self, n_problems: int, n_inputs: int) -> bool:
        few = self.most_synapses <= MOST_INPUTS_IN_LANES and n_problems >= FEWEST_IN_LANES
        return self.always_in_lanes or few

    def rule_for(self, batch: int, n_lanes: int) -> Any:
        """Circuit with as many samples together as stay in a first-level cache, or all where rates go on."""
        most = max(FEWEST_TOGETHER, UNITS_BYTES // (8 * n_lanes * self.layout.n_units))
        return self.packed._replace(together=batch if self.has_memory else min(batch, most))

    def amount(self, n_inputs: int) -> int:
        return self.n_synapses + 20 * self.n_neurons

    def sizes(self, rule: Any, batch: int, n_places: int) -> dict[str, tuple[int, ...]]:
        layout, is_whole = self.layout, rule.together >= batch
        settling = [
            layout.populations[projection.post].sweeps + 1
            for projection in layout.circuit.projections.values()
            if layout.kind(projection) == INNER
        ]
        units, registers = ((rule.together + 1) * layout.n_units,), (self.n_registers,)
        n_means = sum(prod(layout.shapes[name]) for name in layout.circuit.states if name in layout.shapes)
        return {
            "registers": registers,
            "adjoints": registers,
            "drive": (1 if is_whole else self.n_neurons, N_DRIVE, self.most_synapses),
            "units": units,
            "pulls": units,
            "answers": units if self.has_memory else (0,),
            "sweeps": (rule.together * max(settling, default=0) * layout.n_units,),
            "slopes": (2 * layout.n_units,),
            "means": (n_means,),
            "change": (n_places,),
            "unbounded": (n_places if layout.is_bounded else 0,),
        }

    def by_slot(self, result: FloatArray) -> Values:
        ends = list(accumulate([0, *(part.n_gradient for part in self.parts.values())]))
        return {
            name: part.by_parameter(result[:, start:end])
            for (name, part), start, end in zip(self.parts.items(), ends, ends[1:], strict=False)
        }

    def _read(self, variable: Variable) -> tuple[int, tuple[int, int]]:
        """Return of which kind what a rule reads is, where it is, and whether each neuron has its own."""
        layout, name = self.layout, variable.state
        if isinstance(layout.circuit.states[name], Signal):
            return 2, (layout.first_unit[name], 0)
        return int(variable.place == "pre"), (layout.place[name], int(variable.place != "global"))

    def _packed(self) -> Any:
        from sims import _rate_tables as flat

        layout, parts = self.layout, self.parts
        projections = layout.circuit.projections
        names = [*layout.given, *layout.own]
        cells, leaks = [], []
        for name in names:
            one, is_given = layout.populations[name], name in layout.given
            memory = layout.place.get(name, -1) if name in layout.own else -1
            cells.append(
                [
                    layout.first_unit[name],
                    one.n,
                    is_given,
                    ACTIVATIONS.index(one.activation),
                    one.sweeps,
                    memory,
                ]
            )
            leaks.append(1.0 / (one.tau or 1.0))
        forms = {
            "table": flat.TABLE, "of state": flat.OF_STATE, "collapsed": flat.COLLAPSED,
            "of synapses": flat.OF_SYNAPSES,
        }  # fmt: skip
        rows: list[list[int]] = []
        reads: list[tuple[int, int]] = []
        drive, register, code, gradient = 0, 1, 0, 0
        for name, projection in projections.items():
            n_post, n_pre = layout.shapes[name]
            kind, part = layout.kind(projection), parts.get(name)
            row = [
                layout.first_unit[projection.pre], n_pre, layout.first_unit[projection.post], n_post,
                names.index(projection.post), layout.place[name], drive, projection.hierarchical, kind,
                projection.pre not in layout.given,
            ]  # fmt: skip
            drive += n_post
            if part is None:
                rows.append([*row, flat.STILL, *(flat.N_PROJECTION - len(row) - 1) * [0]])
                continue
            start = len(reads)
            # Of the postsynaptic neuron or of all, of the presynaptic neuron, signals of the sample.
            of_kind: tuple[list[Any], ...] = [], [], []
            for r, variable in part.reads:
                which, where = self._read(variable)
                of_kind[which].append((r, *where))
            reads += [one for some in of_kind for one in some]
            n_of_post, n_of_pre, _ = map(len, of_kind)
            row += [
                forms[part.form], part.is_linear, part.needs_all, part.power, register,
                register + part.n_registers, code, code + part.n_shared, code + len(part.code), gradient,
                gradient + part.n_gradient, start, start + n_of_post, start + n_of_post + n_of_pre,
                len(reads), len(part.constants) - n_of_post,
            ]  # fmt: skip
            rows.append(row)
            register += part.n_registers
            code += len(part.code)
            gradient += part.n_gradient
        registers = np.zeros(self.n_registers)
        for row, name in zip(rows, projections, strict=True):
            if name in parts:
                first, constants = row[flat.REGISTERS] + 1, parts[name].constants
                registers[first : first + len(constants)] = constants
        means = []
        for name, state in layout.circuit.states.items():
            if isinstance(state, LowPass):
                followed, exponent = state.power
                means.append(
                    [layout.place[name], layout.first_unit[followed], *layout.shapes[name], exponent]
                )
        tables = [parts[name].table if name in parts else NO_TABLE for name in projections]
        outputs = [parts[name].outputs if name in parts else NO_OUTPUTS for name in projections]
        return flat.Circuit(
            _whole(cells, flat.N_CELL), np.array(leaks), _whole(rows, flat.N_PROJECTION),
            np.array([float(one.learning_rate) for one in projections.values()]), layout.bounds,
            layout.is_bounded, _whole(means, 4),
            np.array([1.0 / one.tau for one in layout.circuit.states.values() if isinstance(one, LowPass)]),
            np.array(tables), np.array(outputs, dtype=np.int64),
            np.concatenate([NO_CODE, *(part.code for part in parts.values())]), _whole(reads, 3),
            registers[1:], layout.n_units, layout.n_given, len(means), 1,
        )  # fmt: skip


def _whole(rows: Iterable[Iterable[Any]], width: int) -> IntArray:
    return np.array([list(row) for row in rows], dtype=np.int64).reshape(-1, width)


class _KernelRun:
    """Problems of a plan, side by side in lanes where synapses are few, else one by one."""

    def __init__(
        self,
        plan: KernelPlan,
        x: FloatArray,
        states: FloatArray,
        schedule: Schedule,
        every: int,
        bound: float,
    ) -> None:
        from sims import _rate_kernels as kernels
        from sims._lanes import LANES

        self._kernels, self._plan, self._schedule, self._every = kernels, plan, schedule, every
        self._n_problems, batch = len(x), schedule.order.shape[1]
        self._amount = len(x) * plan.amount(x.shape[2]) * batch * schedule.n_steps
        is_wide = plan.runs_in_lanes(len(x), x.shape[2])
        self._n_lanes = LANES if is_wide else 1
        self._lane_axis = (LANES,) if is_wide else ()
        self._rule = plan.rule_for(batch, self._n_lanes)
        self._inputs = frozen(self._grouped(x))
        self._states = self._grouped(states[:, None])[:, 0]
        n_groups, n_records = len(self._states), -(-schedule.n_steps // every)
        self._record = np.empty((n_groups, n_records, *self._states.shape[1:]))
        self._blow_up = np.empty((n_groups, self._n_lanes), dtype=np.int64)
        self._sizes = plan.sizes(self._rule, batch, states.shape[1])

        def run(first: int, last: int) -> None:
            kernels.simulate(
                self._rule, first, last, self._inputs, self._states, frozen(schedule.order),
                schedule.learning_rate, schedule.n_steps, bound, every, self._record, self._blow_up,
                self._workspace(),
            )  # fmt: skip

        run_groups(run, n_groups, self._amount)

    def _workspace(self) -> Any:
        """Memory for the groups that a thread runs one after the other."""
        from sims._rate_tables import Space

        return Space(*(np.empty((*self._sizes.get(name, (0,)), *self._lane_axis)) for name in Space._fields))

    def states(self) -> FloatArray:
        return self._by_problem(self._states[:, None])[:, 0]

    def blow_up(self) -> IntArray:
        return self._blow_up.reshape(-1)[: self._n_problems]

    def record(self) -> FloatArray:
        return self._by_problem(self._record)

    def gradient(self, adjoint: FloatArray) -> tuple[Values, FloatArray]:
        adjoints = self._grouped(adjoint[:, None])[:, 0]
        result = np.empty((len(adjoints), self._plan.n_parameters, *self._lane_axis))
        schedule = self._schedule

        def run(first: int, last: int) -> None:
            path = np.empty((self._every, *adjoints.shape[1:]))
            self._kernels.gradient(
                self._rule, first, last, self._inputs, frozen(schedule.order), schedule.learning_rate,
                schedule.n_steps, self._every, self._record, self._blow_up, adjoints, result,
                self._workspace(), path,
            )  # fmt: skip

        run_groups(run, len(adjoints), self._amount)
        by_problem = self._by_problem(result[:, None])[:, 0]
        return self._plan.by_slot(by_problem), self._by_problem(adjoints[:, None])[:, 0]

    def _grouped(self, rows: FloatArray) -> FloatArray:
        """Arrays (n_problems, n, m) in the form of the kernels, (n_groups, n, m[, n_lanes])."""
        if self._n_lanes == 1:
            return rows.copy() if rows.flags.writeable else rows
        return in_lanes(rows)

    def _by_problem(self, groups: FloatArray) -> FloatArray:
        """Arrays (n_groups, n, m[, n_lanes]) as (n_problems, n, m)."""
        return groups if self._n_lanes == 1 else out_of_lanes(groups, self._n_problems)

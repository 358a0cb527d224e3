"""Updates that are read as lines say what their programs say, and only lines are read so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from circuit_examples import PLASTIC, balanced, programs
from hypothesis import given
from hypothesis import strategies as st
from naive import program_registers, program_value

from sims._circuit_rules import ABSENT, planned
from sims._circuit_tables import LINE, PROGRAM
from sims.circuit import Eligibility, Projection, Signal, Trace
from sims.rules import BINARY_OPS, Op, Program

CIRCUIT = balanced(
    {"x": Trace("E", 20.0), "slow": Trace("E", 80.0), "R": Signal(), "e": Eligibility("EE", 50.0)},
    EE=Projection("E", "E", 0.5, weight=1.0, interval_ms=1.0, **PLASTIC),
)


def value_of(update, values):
    """Value of an update as the kernels compute it, from what a line gives them."""
    names = tuple(variable.name for variable in update.variables)
    program = Program.build(names, (False,) * len(names), update.constants, update.code, 0)
    computed = program_registers(program, {name: values[name] for name in names})
    a, b, c = (0.0 if register == ABSENT else computed[register] for register in update.outputs)
    if update.form != LINE:
        return a
    return a + b * (values[update.trace.name] if update.trace else 0.0) + c * values["w"]


@pytest.mark.parametrize(
    ("slot", "text", "is_line"),
    [
        ("EE.on_pre", "0.3", True),
        ("EE.on_pre", "-0.25 + 0.4*x_post", True),
        ("EE.on_pre", "R*(x_post - 2*w)/(1 + x_pre)", True),
        ("EE.on_pre", "-x_post*tanh(slow_pre)", True),
        ("EE.on_pre", "x_post*slow_post", False),
        ("EE.on_pre", "x_post*w", False),
        ("EE.on_pre", "x_post + slow_post", False),
        ("EE.on_pre", "tanh(x_post)", False),
        ("EE.on_pre", "1/x_post", False),
        ("EE.on_pre", "e", False),
        ("EE.on_post", "x_pre*slow_post - x_post*w", True),
        ("EE.on_post", "x_post*x_pre*x_post", True),
        ("EE.on_post", "x_pre*slow_pre", False),
        ("EE.on_post", "(R - x_pre)*(v_post + 50)", True),
        ("EE.at_interval", "R*w", True),
        ("EE.at_interval", "R*e", False),
        ("EE.e.on_post", "x_pre", True),
    ],
)
def test_lines_are_told_from_programs(slot, text, is_line):
    program = programs(CIRCUIT, {slot: text})[slot]
    update = planned(CIRCUIT.slots[slot], program)
    assert (update.form == LINE) == is_line
    assert planned(CIRCUIT.slots[slot], program, lines=False).form == PROGRAM
    assert {variable.name for variable in update.variables} <= set(CIRCUIT.slots[slot].names)
    values = dict(zip(program.variables, np.linspace(0.3, 1.9, len(program.variables)), strict=True))
    assert value_of(update, values) == pytest.approx(program_value(program, values), rel=1e-12)


def test_variables_that_are_not_read_cost_nothing():
    program = programs(CIRCUIT, {"EE.on_pre": "tanh(x_post)*w"})["EE.on_pre"]
    assert len(program.variables) > 10
    update = planned(CIRCUIT.slots["EE.on_pre"], program)
    assert [variable.name for variable in update.variables] == ["x_post", "w"]


@st.composite
def cases(draw):
    slot = CIRCUIT.slots[draw(st.sampled_from(["EE.on_pre", "EE.on_post", "EE.at_interval"]))]
    numbers = st.floats(-3, 3).map(lambda value: round(value, 2))
    constants = draw(st.lists(numbers, max_size=3))
    n, code = len(slot.names) + len(constants), []
    favourites = [slot.names.index(name) for name in ("R", "x_pre", "x_post", "w")]
    for _ in range(draw(st.integers(0, 8))):
        op = draw(st.sampled_from([Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.NEG, Op.SQUARE, Op.POWI, Op.MAX]))
        leaves = st.sampled_from(favourites + list(range(len(slot.names), n + len(code))))
        second = draw(leaves) if op in BINARY_OPS else draw(st.integers(-2, 3))
        code.append((int(op), draw(leaves), second))
    values = {name: draw(numbers) for name in slot.names}
    return slot, slot.program(constants, code, None if code else favourites[2]), values


@given(cases())
def test_any_update_keeps_its_value(case):
    slot, program, values = case
    expected, update = program_value(program, values), planned(slot, program)
    result = value_of(update, values)
    if math.isfinite(expected) and abs(expected) < 1e6:
        parts = program_registers(program, values)
        largest = max([1.0, *(abs(part) for part in parts if math.isfinite(part))])
        if all(math.isfinite(part) for part in parts):
            assert result == pytest.approx(expected, rel=1e-9, abs=1e-12 * largest**2)
    elif update.form != LINE:
        assert result == expected or (math.isnan(result) and math.isnan(expected))

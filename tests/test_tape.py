"""Programs made ready for the interpreter: less to do over synapses, same values and derivatives."""

from __future__ import annotations

from itertools import product

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rate_examples import neuron_gradient as meta_gradient
from rate_examples import simulate_neuron as simulate
from test_rate import (
    assert_exact_gradient,
    assert_like_naive,
    interpreter_only,
    is_tame,
    pull_to,
    random_problems,
    random_schedule,
)

from discover.rule import Rule
from sims._graph import Graph, More, graph_of
from sims._interpreted import MOST_IN_BLOCK
from sims._tape import (
    IN_ADJOINTS,
    IN_CONSTANTS,
    IN_INPUTS,
    IN_NEURONS,
    IN_WEIGHTS,
    ON_TAPE,
    SYNAPSES,
    tapes_of,
)
from sims.rate import Schedule
from sims.rules import BINARY_OPS, Op, Program

VARIABLES, LEVELS = ("x", "y", "w"), (False, True, False)


def build(constants: list[float], code: list[tuple[int, int, int]]) -> Program:
    return Program.build(VARIABLES, LEVELS, constants, code)


def graph_for(program: Program) -> tuple[Graph, int]:
    return graph_of(program.code.tolist(), len(program.constants), program.output)


def graph_value(graph: Graph, result: int, program: Program, x: float, y: float, w: float) -> float:
    """Value of a node, one node after the other."""
    leaves = {More.PRE: x, More.POST: y, More.WEIGHT: w}
    values: list[float] = []
    for op, args, literal in graph.nodes[: result + 1]:
        if op == More.PARAMETER:
            values.append(float(program.constants[literal]))
        elif op in leaves:
            values.append(leaves[More(op)])
        elif op == Op.POWI:
            values.append(naive.power(values[args[0]], float(literal)))
        elif op in BINARY_OPS:
            values.append(naive.BINARY[Op(op)](*(values[a] for a in args)))
        else:
            values.append(naive.UNARY[Op(op)](values[args[0]]))
    return values[result]


def names(program: Program, which: int = 0) -> list[str]:
    """Operations that run over synapses, of the rule or of its gradient."""
    tape = tapes_of(program)[which]
    rows = tape.rows[tape.ends[SYNAPSES] : tape.ends[SYNAPSES + 1]]
    return [Op(op).name if op < More.MULADD else More(op).name for op in rows[:, 0]]


# --------------------------------------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.7*x*y", ["MUL"]),
        ("x*0.7*y*y*0.3", ["MUL"]),
        ("-(0.7*x)*y", ["MUL"]),
        ("x/y", ["MUL"]),
        ("0.7*x*w/(1.5 + y**2)", ["MULMUL"]),
        ("(2*x*y)**2", ["MULMUL"]),
        ("x*y - 0.3*w*y**2", ["MULSUBMUL"]),
        ("x*w*y + 0.3", ["MUL", "MULADD"]),
        ("0.3 - x*w*y", ["MUL", "SUBMUL"]),
        ("x*w*y - 0.3", ["MUL", "MULSUB"]),
        ("0.5*y + 0.2", []),
        ("x*y - w*y**2*sqrt(1.5 + abs(w))", ["ROOT", "MULSUBMUL"]),
        ("x*y/(1.5 + abs(w))", ["OVER", "MUL"]),
        ("y/(1.5 + w**2)", ["OVER"]),
        ("sqrt(1.5 + w**2)*x", ["ROOT"]),
        ("tanh(-x*y*0.3)", ["MUL", "TANH"]),
    ],
)
def test_lower_levels_meet_first_and_operations_are_fused(text: str, expected: list[str]) -> None:
    assert names(Rule.parse(text).program()) == expected


def test_equal_parts_are_computed_once() -> None:
    twice = [(Op.MUL, 0, 2), (Op.TANH, 3, 0), (Op.MUL, 2, 0), (Op.TANH, 5, 0), (Op.ADD, 4, 6)]
    assert names(build([], twice)).count("TANH") == 1


def test_what_nobody_reads_is_left_out() -> None:
    code = [(Op.EXP, 0, 0), (Op.TANH, 2, 0), (Op.LOG, 3, 0), (Op.MUL, 4, 1)]
    assert names(build([], code)) == ["TANH", "MUL"]
    weights_alone = build([], [(Op.EXP, 0, 0), (Op.MUL, 3, 1)])
    assert names(weights_alone, which=1) == ["EXP", "DOT"], "inputs need no adjoint"


def test_equal_programs_with_other_constants_share_their_tapes() -> None:
    one = Rule.parse("tanh(0.7*x*w) - 0.3*w").program()
    assert tapes_of(one)[0] is tapes_of(one.with_constants([0.1, 0.2]))[0]


def test_a_long_chain_needs_few_slots() -> None:
    code: list[tuple[int, int, int]] = [(Op.TANH, 2, 0)]
    for row in range(1, 1500):
        code.append((Op.TANH, 2 + row, 0) if row % 2 else (Op.ADD, 2 + row, 0))
    forwards, _ = tapes_of(build([], code))
    assert len(forwards.rows) == 1500
    assert forwards.n_slots[2] <= 3


def test_everything_that_is_read_was_written_before() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        program = build(rng.uniform(0.5, 1.5, 3).tolist(), random_code(rng, 3, 14))
        for tape in tapes_of(program):
            given = {(IN_NEURONS, 0), *((IN_CONSTANTS, n) for n in range(4))}
            in_place = {IN_INPUTS, IN_WEIGHTS, IN_ADJOINTS}
            for row in tape.rows.tolist():
                operands = set(zip(row[5::2], row[6::2], strict=True))
                assert all(kind in in_place or (kind, slot) in given for kind, slot in operands)
                given.add((row[3], row[4]))
            used = {place for place in given if place[0] == ON_TAPE}
            assert used == {(ON_TAPE, slot) for slot in range(1, tape.n_slots[2])}


# -------------------------------------------------------------------------------------------- random programs

SAFE = (Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.SQUARE, Op.TANH, Op.ABS, Op.MAX, Op.MIN)
SMOOTH = (Op.ADD, Op.SUB, Op.MUL, Op.MUL, Op.NEG, Op.SQUARE, Op.TANH)


def random_code(
    rng: np.random.Generator, n_constants: int, n: int, ops: tuple[Op, ...] = SAFE
) -> list[tuple[int, int, int]]:
    """Draw instructions that read anything that was written before."""
    code = []
    for row in range(n):
        n_known = 3 + n_constants + row
        code.append((ops[rng.integers(len(ops))], *(int(r) for r in rng.integers(n_known, size=2))))
    return code


@st.composite
def programs(draw: st.DrawFn, ops: tuple[Op, ...] = tuple(Op), most: int = 10) -> Program:
    """Programs in which constants, outputs, inputs and weights mix in every operation."""
    constants = draw(st.lists(st.floats(-2, 2, allow_subnormal=False), max_size=3))
    code = []
    for row in range(draw(st.integers(1, most))):
        op = draw(st.sampled_from(ops))
        register = st.integers(0, 2 + len(constants) + row)
        second = draw(st.integers(-3, 4)) if op is Op.POWI else draw(register)
        code.append((op, draw(register), second))
    return build(constants, code)


@given(programs(), st.integers(0, 1000))
def test_a_graph_has_the_value_of_its_program(program: Program, seed: int) -> None:
    graph, result = graph_for(program)
    for x, y, w in np.random.default_rng(seed).normal(size=(5, 3)):
        registers = naive.program_registers(program, {"x": x, "y": y, "w": w})
        if all(value == 0.0 or 1e-10 < abs(value) < 1e6 for value in registers):
            expected = registers[program.output]
            assert graph_value(graph, result, program, x, y, w) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@given(
    programs(),
    st.integers(0, 1000),
    st.sampled_from([(1, 1, 1), (3, 3, 3), (11, 2, 40), (9, 5, 7), (2, MOST_IN_BLOCK + 9, 2), (1, 70, 1)]),
    st.booleans(),
)
def test_any_program_runs_as_one_by_one(
    program: Program, seed: int, sizes: tuple[int, int, int], in_order: bool
) -> None:
    n_problems, n_inputs, batch = sizes
    rng = np.random.default_rng(seed)
    inputs, weights = random_problems(rng, n_problems, n_inputs, n_samples=batch)
    order = np.arange(batch) if in_order else rng.integers(batch, size=batch)
    schedule = Schedule(order[None, :], 1, 0.1)
    with interpreter_only():
        result = meta_gradient(program, inputs, weights, schedule, pull_to(np.ones_like(weights)))
    for p in range(0, n_problems, 3):
        if all(is_tame(program, inputs[p, sample], weights[p]) for sample in order):
            path, blow_up = naive.rate_neuron(program, inputs[p], weights[p], schedule)
            assert result.outcome.blow_up[p] == blow_up
            np.testing.assert_allclose(result.outcome.weights[p], path[-1], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("n_problems", "n_inputs", "batch"), [(3, 3, 1), (9, 2, 40), (2, 150, 1), (2, 90, 3)]
)
def test_random_programs_have_exact_gradients(n_problems: int, n_inputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_inputs, batch])
    inputs, weights = random_problems(rng, n_problems, n_inputs)
    schedule = random_schedule(rng, batch, n_steps=3, learning_rate=0.1 / (10 + n_inputs))
    for _ in range(6):
        code = random_code(rng, 3, 9, SMOOTH)
        last = 5 + len(code)  # bounded, and moved by a constant for sure
        code += [(Op.TANH, last, 0), (Op.MUL, 3, last + 1), (Op.MUL, 0, 4), (Op.ADD, last + 2, last + 3)]
        rule = build(rng.uniform(0.5, 1.5, 3).tolist(), code)
        with interpreter_only():
            assert_exact_gradient(rule, inputs, weights, schedule)


# --------------------------------------------------------------------- every operation, operands of any level

CONSTANT, SHARED, OWN, WEIGHT = 3, 1, 0, 2
"""Registers of a constant, of the output, of the input and of the weight."""

PAIRS = list(product((CONSTANT, SHARED, OWN, WEIGHT), repeat=2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("op", list(Op), ids=lambda op: op.name)
def test_operands_of_any_level_mix(op: Op, batch: int) -> None:
    rng = np.random.default_rng(int(op))
    inputs = rng.uniform(0.5, 1.5, size=(3, 4, 3))
    weights = rng.uniform(0.2, 0.7, size=(3, 3))
    schedule = Schedule(rng.integers(4, size=(2, batch)), 3, 0.01)
    pairs = PAIRS if op in BINARY_OPS else [(a, 3) for a in (CONSTANT, SHARED, OWN, WEIGHT)]
    for a, b in pairs:
        # 0.8 * op(a, b) + 0.3*w*y, so that everything moves
        second = b if op in BINARY_OPS or op is Op.POWI else 0
        code = [(op, a, second), (Op.MUL, 7, 4), (Op.MUL, 2, 1), (Op.MUL, 9, 5), (Op.ADD, 8, 10)]
        rule = build([0.9, 0.8, 0.3, 1.7], code)
        with interpreter_only():
            assert_like_naive(rule, inputs, weights, schedule, every=2)
            assert_exact_gradient(rule, inputs, weights, schedule, step=1e-5)


@pytest.mark.parametrize("output", ["x", "y", "w", "0.3"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_may_be_one_register(output: str, batch: int) -> None:
    rng = np.random.default_rng(0)
    rule = Rule.parse(output).program()
    inputs, weights = random_problems(rng, 3, 4)
    schedule = random_schedule(rng, batch, n_steps=4)
    with interpreter_only():
        assert_like_naive(rule, inputs, weights, schedule, every=1)
        if output != "x":
            assert_exact_gradient(rule, inputs, weights, schedule)


def test_division_by_zero_is_still_seen() -> None:
    for text in ("0.2*x/y - w*w**2", "x*y/(y - y*w**2) - w", "0.3/(w - w) + x*abs(w)", "w*x/(y*abs(w))"):
        with interpreter_only():
            end = simulate(
                Rule.parse(text).program(), np.zeros((1, 1, 2)), np.zeros((1, 2)), Schedule.online(1, 1, 0.1)
            )
        assert end.blow_up.tolist() == [1], text


def test_problems_side_by_side_do_not_change_each_other() -> None:
    rng = np.random.default_rng(1)
    rule = Rule.parse("tanh(0.8*x*y) - 0.3*w*abs(w)").program()
    inputs, weights = random_problems(rng, 11, 5)
    schedule = random_schedule(rng, 2, n_steps=5)
    loss = pull_to(np.ones((11, 5)))
    together = meta_gradient(rule, inputs, weights, schedule, loss)
    for p in (0, 7, 8, 10):
        alone = meta_gradient(rule, inputs[[p]], weights[[p]], schedule, pull_to(np.ones((1, 5))))
        assert alone.outcome.weights[0].tobytes() == together.outcome.weights[p].tobytes()
        assert alone.gradients[0].tobytes() == together.gradients[p].tobytes()

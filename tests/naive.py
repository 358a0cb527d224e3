"""Slow, obvious twins of the algorithms: what the tests compare the fast ones with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sims.rules import Op, Program


def program_value(program: Program, values: Mapping[str, float]) -> float:
    """Run a program on scalars, one register after the other, with IEEE rules for whatever goes wrong."""
    registers = [float(values[name]) for name in program.variables] + program.constants.tolist()
    for op, a, b in program.code.tolist():
        if op == Op.POWI:
            registers.append(power(registers[a], float(b)))
        elif op in UNARY:
            registers.append(UNARY[op](registers[a]))
        else:
            registers.append(BINARY[op](registers[a], registers[b]))
    return registers[program.output]


def divide(a: float, b: float) -> float:
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def power(a: float, b: float) -> float:
    if a == 0.0 and b < 0.0:
        is_odd = b == int(b) and int(b) % 2 == 1
        return math.copysign(math.inf, a) if is_odd else math.inf
    try:
        return math.pow(a, b)
    except OverflowError:
        is_odd = b == int(b) and int(b) % 2 == 1
        return -math.inf if a < 0.0 and is_odd else math.inf
    except ValueError:
        return math.nan


def exponential(a: float) -> float:
    try:
        return math.exp(a)
    except OverflowError:
        return math.inf


def logarithm(a: float) -> float:
    if a == 0.0:
        return -math.inf
    return math.log(a) if a > 0.0 else math.nan


def square_root(a: float) -> float:
    return math.sqrt(a) if a >= 0.0 else math.nan


def sign(a: float) -> float:
    if math.isnan(a):
        return math.nan
    return float(a > 0.0) - float(a < 0.0)


def larger(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def smaller(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else min(a, b)


UNARY = {
    Op.NEG: lambda a: -a,
    Op.SQUARE: lambda a: a * a,
    Op.TANH: math.tanh,
    Op.EXP: exponential,
    Op.LOG: logarithm,
    Op.SQRT: square_root,
    Op.ABS: abs,
    Op.SIGN: sign,
}
BINARY = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: divide,
    Op.POW: power,
    Op.MAX: larger,
    Op.MIN: smaller,
}

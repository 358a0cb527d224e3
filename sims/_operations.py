"""What each operation of a program is, and its derivative: once, for the kernels of every circuit.

Where a derivative does not exist one is chosen: 0 of a square root and of a fractional power at zero and of
``abs`` at zero, and that of the first operand of ``max`` and ``min`` of equal numbers. What is not a number
stays none, so that the caller sees it.

The numbers are those of :class:`sims.rules.Op`.
"""

import math

from sims._compiled import helper
from sims._lanes import absolute, rounded_down, two_to, where_at_least

ADD, SUB, MUL, DIV, POW, POWI, NEG, SQUARE = 0, 1, 2, 3, 4, 5, 6, 7
TANH, EXP, LOG, SQRT, ABS, SIGN, MAX, MIN = 8, 9, 10, 11, 12, 13, 14, 15


@helper(inline="always")
def second_operand(op, a, b):
    """Register of the second operand; operations of one operand read theirs again."""
    return b if op < POWI or op >= MAX else a


@helper(inline="always")
def integer_power(base, exponent):
    """Return ``base**exponent`` for a whole exponent, by products."""
    result = 1.0
    for _ in range(abs(exponent)):
        result *= base
    return 1.0 / result if exponent < 0 else result


@helper(inline="always")
def sign_of(value):
    """Return 1, -1, 0 or NaN."""
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else value


LN_2 = math.log(2.0)
PER_OCTAVE = 1.0 / LN_2

SATURATED = 20.0
"""From here on the hyperbolic tangent is 1 in double precision."""

LOWEST, HIGHEST = -708.0, 709.782712893384
"""Between these exponentials are taken as they are; below they are 0, above they are infinite."""

SMALLEST_EXPONENT = -1021.0


@helper(forceinline=True)
def _octaves(value):
    """Split a number into n octaves and a rest r around zero; return n, p and q.

    ``exp(value)`` is ``2**n (q + p) / (q - p)``, by a rational approximation of ``exp(r)`` of degree (5, 6).
    No branch and no table is needed, so that vector instructions compute it.

    Reference: Cephes mathematical library (Moshier 1989), coefficients of ``exp``.
    """
    n = rounded_down(value * PER_OCTAVE + 0.5)
    n = where_at_least(n, SMALLEST_EXPONENT, n, SMALLEST_EXPONENT)  # what is not a number has no exponent
    r = value - n * LN_2
    s = r * r
    p = r * ((1.26177193074810590878e-4 * s + 3.02994407707441961300e-2) * s + 1.0)
    q = (3.00198505138664455042e-6 * s + 2.52448340349684104192e-3) * s + 2.27265548208155028766e-1
    return n, p, q * s + 2.0


@helper(forceinline=True)
def exponential(value):
    """Return the exponential of a number, or of the number in each lane.

    The relative error is a few units in the last place and ``1e-16 |value|``.
    """
    size = where_at_least(value, HIGHEST, HIGHEST, value)
    n, p, q = _octaves(size)
    # Half of the power of two, as the largest one would be infinite.
    result = two_to(n - 1.0) * (2.0 + 4.0 * p / (q - p))
    result = where_at_least(value, HIGHEST, math.inf, result)
    return where_at_least(LOWEST, value, 0.0, result)


@helper(forceinline=True)
def tangent(value):
    """Return the hyperbolic tangent of a number, or of the number in each lane.

    From ``exp(2 |x|)`` one division gives it, within four units in the last place.
    """
    size = absolute(value)
    size = where_at_least(size, SATURATED, SATURATED, size)
    n, p, q = _octaves(2.0 * size)
    scale = two_to(n)
    rise = 2.0 * p * scale
    ratio = (rise + (scale - 1.0) * (q - p)) / (rise + (scale + 1.0) * (q - p))
    return where_at_least(value, 0.0, ratio, -ratio)


@helper(inline="always")
def power_slope(a, b):
    """Derivative of ``a**b`` by `a`."""
    return 0.0 if a == 0.0 and b < 1.0 else b * a ** (b - 1.0)


@helper(inline="always")
def power_log(power, a):
    """Derivative of ``power = a**b`` by `b`."""
    return power * math.log(a) if a > 0.0 else 0.0


@helper(forceinline=True)
def value_of(op, a, b, exponent):
    """Result of one operation; `exponent` is the literal of a whole power."""
    if op == MUL:
        return a * b
    if op == ADD:
        return a + b
    if op == SUB:
        return a - b
    if op == DIV:
        return a / b
    if op == NEG:
        return -a
    if op == SQUARE:
        return a * a
    if op == POW:
        return a**b
    if op == POWI:
        return integer_power(a, exponent)
    if op == TANH:
        return tangent(a)
    if op == EXP:
        return exponential(a)
    if op == LOG:
        return math.log(a)
    if op == SQRT:
        return math.sqrt(a)
    if op == ABS:
        return abs(a)
    if op == SIGN:
        return sign_of(a)
    if op == MAX:
        return a if a >= b or math.isnan(a) else b
    return a if a <= b or math.isnan(a) else b


@helper(forceinline=True)
def slopes_of(op, out, a, b, exponent):
    """Derivatives of one operation's result `out` by its operands."""
    if op == ADD:
        return 1.0, 1.0
    if op == SUB:
        return 1.0, -1.0
    if op == MUL:
        return b, a
    if op == DIV:
        return 1.0 / b, -out / b
    if op == POW:
        return power_slope(a, b), power_log(out, a)
    if op == POWI:
        return exponent * integer_power(a, exponent - 1) if exponent != 0 else 0.0, 0.0
    if op == NEG:
        return -1.0, 0.0
    if op == SQUARE:
        return 2.0 * a, 0.0
    if op == TANH:
        return 1.0 - out * out, 0.0
    if op == EXP:
        return out, 0.0
    if op == LOG:
        return 1.0 / a, 0.0
    if op == SQRT:
        return 0.0 if out == 0.0 else 0.5 / out, 0.0
    if op == ABS:
        return sign_of(a), 0.0
    if op == MAX:
        return (1.0, 0.0) if a >= b else (0.0, 1.0)
    if op == MIN:
        return (1.0, 0.0) if a <= b else (0.0, 1.0)
    return 0.0, 0.0

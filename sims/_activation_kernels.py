"""What neurons of rate circuits make of their drive, and powers of activity."""

from sims._compiled import helper
from sims._lanes import where_at_least, zero_of
from sims._operations import tangent

LINEAR, TANGENT, RECTIFIED = range(3)
"""Activations, in the order of :data:`sims.populations.ACTIVATIONS`."""


@helper(forceinline=True)
def activated(kind, value):
    """Answer to a drive."""
    if kind == TANGENT:
        return tangent(value)
    if kind == RECTIFIED:
        return where_at_least(0.0, value, zero_of(value), value)
    return value


@helper(forceinline=True)
def activation_slope(kind, answer):
    """Derivative of an activation where it gave `answer`."""
    if kind == TANGENT:
        return 1.0 - answer * answer
    if kind == RECTIFIED:
        return where_at_least(0.0, answer, zero_of(answer), 1.0)
    return zero_of(answer) + 1.0


@helper(forceinline=True)
def power_of(value, exponent):
    """A whole power, at least the first."""
    power = value
    for _ in range(exponent - 1):
        power = power * value
    return power

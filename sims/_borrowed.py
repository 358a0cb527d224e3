"""Arrays and generators whose users are not counted, for kernels with little arithmetic between two uses."""

from __future__ import annotations

from typing import Any

from numba import config, types
from numba.core.cgutils import get_null_value
from numba.extending import intrinsic

__all__ = ["borrowed"]


def _fields(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value)
    return context.make_helper(builder, kind, value)


@intrinsic
def _borrowed(_: Any, array: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result = _fields(context, builder, array, arguments[0])
        result.meminfo = get_null_value(result.meminfo.type)
        return result._getvalue()

    return array(array), lower


def _itself(array: Any) -> Any:
    return array


borrowed = _itself if config.DISABLE_JIT else _borrowed
"""Return the same array, or random generator, without a count of its users, inside a kernel.

Numba counts them at every call and slice, atomically, which takes longer than the arithmetic of a small
problem. The memory must belong to the caller of the kernel, who keeps it alive.
"""

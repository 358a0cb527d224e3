"""A hint to the processor that memory will be needed, for kernels that jump about in large arrays."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["prefetch"]


@intrinsic
def _prefetch(_: Any, array: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], index, types.intp)
        pointer = builder.bitcast(builder.gep(data.data, [place]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        builder.call(hint, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), lower


def _nothing(_array: Any, _index: Any) -> None:
    """Without compilation there is nothing to hint at."""


prefetch = _nothing if config.DISABLE_JIT else _prefetch
"""Ask for the memory of ``array[index]`` (one axis, contiguous) without waiting for it, inside a kernel."""

"""A hint to the processor that memory will be needed, for kernels that jump about in large arrays."""

from __future__ import annotations

from typing import Any

from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic

ir = cgutils.ir  # LLVM's own types, as Numba's code generator has them

__all__ = ["emit_prefetch", "prefetch"]


def emit_prefetch(builder: Any, pointer: Any) -> None:
    """Emit the hint for the address `pointer`: to read, to be kept in the caches, as data."""
    number, address = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(pointer, address), number(0), number(3), number(1)])


@intrinsic
def _prefetch(_: Any, array: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        emit_prefetch(builder, builder.gep(data, [context.cast(builder, arguments[1], index, types.intp)]))
        return context.get_dummy_value()

    return types.void(array, index), lower


def _nothing(_array: Any, _index: Any) -> None:
    """Without compilation there is nothing to hint at."""


prefetch = _nothing if config.DISABLE_JIT else _prefetch
"""Ask for the memory of ``array[index]`` (one axis, contiguous) without waiting for it, inside a kernel."""

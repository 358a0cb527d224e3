"""Values that hold one number for each of several problems, side by side in the vector instructions.

A kernel written with these functions runs in two ways, by the arrays that it is given. Where arrays have a
last axis of `LANES` problems that the indices leave out, :func:`load` gives a vector of one number a problem,
held in vector registers; arithmetic acts on all of them at once. Where the indices name every axis it gives a
number, as usual. Numba compiles the kernel once for each way.

Where a kernel chooses between arrays while it runs, :func:`address_of` gives the address of one, a plain
number, and :func:`load_row` and :func:`load_number` read a vector or an integer from there. Without the
compiler these are the array itself and an index.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model

from sims._prefetch import emit_prefetch

ir = cgutils.ir  # LLVM's own types, as Numba's code generator has them

__all__ = [
    "ADDRESS", "LANES", "absolute", "address_of", "all_at_most", "fetch_row", "lane", "load", "load_number",
    "load_row", "n_lanes", "rounded_down", "square_root", "store", "store_number", "store_row", "two_to",
    "where_at_least", "with_lane", "zero_of",
]  # fmt: skip

LANES = 8
"""Problems that run side by side."""


class LanesType(types.Type):
    """Numba's type of a vector of `LANES` numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


_VECTOR = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, ir.VectorType(ir.DoubleType(), LANES))


# ------------------------------------------------------------------------------------------------ arithmetic


class _Arithmetic(AbstractTemplate):
    def generic(self, arguments: Any, keywords: Any) -> Any:
        if not keywords and _VECTOR in arguments:
            numbers = (_VECTOR, types.float64, types.int64)
            if all(one in numbers for one in arguments):
                return signature(_VECTOR, *(one if one == _VECTOR else types.float64 for one in arguments))
        return None


def _spread(builder: Any, value: Any, numba_type: Any) -> Any:
    """Return a number as a vector of equal numbers; a vector as it is."""
    if numba_type == _VECTOR:
        return value
    index = ir.IntType(32)
    vector = builder.insert_element(ir.Constant(_vector_type(), ir.Undefined), value, index(0))
    zeros = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(_vector_type(), ir.Undefined), zeros)


def _vector_type() -> Any:
    return ir.VectorType(ir.DoubleType(), LANES)


def _register(operation: Any, instruction: str) -> None:
    infer_global(operation)(type(f"_{instruction}", (_Arithmetic,), {"key": operation}))

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        a, b = (_spread(builder, *pair) for pair in zip(arguments, types_of.args, strict=True))
        return getattr(builder, instruction)(a, b)

    for pair in ((LanesType, LanesType), (LanesType, types.Float), (types.Float, LanesType)):
        lower_builtin(operation, *pair)(lower)


for _operation, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
    (operator.iadd, "fadd"), (operator.isub, "fsub"), (operator.imul, "fmul"), (operator.itruediv, "fdiv"),
):  # fmt: skip
    _register(_operation, _instruction)


@infer_global(operator.neg)
class _Negation(_Arithmetic):
    key = operator.neg


@lower_builtin(operator.neg, LanesType)
def _lower_negation(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
    return builder.fsub(ir.Constant(_vector_type(), [-0.0] * LANES), arguments[0])


# ---------------------------------------------------------------------------------------------------- memory


def _element(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
    """Return the address that an array and a tuple of indices name."""
    array_type, index_type = types_of.args[:2]
    array = context.make_array(array_type)(context, builder, arguments[0])
    indices = cgutils.unpack_tuple(builder, arguments[1], len(index_type))
    if len(index_type) < array_type.ndim:
        indices = [*indices, context.get_constant(types.intp, 0)]
    return cgutils.get_item_pointer(context, builder, array_type, array, indices)


def _value_type(array: Any, indices: Any) -> Any:
    if not isinstance(array, types.Array) or array.layout != "C" or array.dtype != types.float64:
        return None
    missing = array.ndim - len(indices)
    return (types.float64, _VECTOR)[missing] if missing in (0, 1) else None


def _as_integers(indices: Any) -> Any:
    return types.UniTuple(types.intp, len(indices))


@intrinsic
def _load(_: Any, array: Any, indices: Any) -> Any:
    result = _value_type(array, indices)
    if result is None:
        return None

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        address = _element(context, builder, types_of, arguments)
        if result != _VECTOR:
            return builder.load(address)
        return builder.load(builder.bitcast(address, _vector_type().as_pointer()), align=8)

    return result(array, _as_integers(indices)), lower


@intrinsic
def _store(_: Any, array: Any, indices: Any, value: Any) -> Any:
    kept = _value_type(array, indices)
    if kept is None or (kept != _VECTOR and value == _VECTOR):
        return None
    given = _VECTOR if value == _VECTOR else types.float64

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        address = _element(context, builder, types_of, arguments)
        if kept != _VECTOR:
            builder.store(arguments[2], address)
        else:
            vector = _spread(builder, arguments[2], given)
            builder.store(vector, builder.bitcast(address, _vector_type().as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(array, _as_integers(indices), given), lower


@intrinsic
def _address_of(_: Any, array: Any) -> Any:
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, context.get_value_type(types.intp))

    return types.intp(array), lower


def _row(builder: Any, rows: Any, index: Any) -> Any:
    """Return the address of one row."""
    return builder.gep(builder.inttoptr(rows, _vector_type().as_pointer()), [index])


@intrinsic
def _load_row(_: Any, rows: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        return builder.load(_row(builder, *arguments), align=8)

    return _VECTOR(types.intp, types.intp), lower


@intrinsic
def _store_row(_: Any, rows: Any, index: Any, value: Any) -> Any:
    given = _VECTOR if value == _VECTOR else types.float64

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        builder.store(_spread(builder, arguments[2], given), _row(builder, *arguments[:2]), align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, given), lower


@intrinsic
def _fetch_row(_: Any, rows: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        emit_prefetch(builder, _row(builder, *arguments))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), lower


def _number_at(context: Any, builder: Any, numbers: Any, index: Any) -> Any:
    kind = context.get_value_type(types.int64)
    return builder.gep(builder.inttoptr(numbers, kind.as_pointer()), [index])


@intrinsic
def _load_number(_: Any, numbers: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        return builder.load(_number_at(context, builder, *arguments))

    return types.int64(types.intp, types.intp), lower


@intrinsic
def _store_number(_: Any, numbers: Any, index: Any, value: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _number_at(context, builder, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), lower


# ----------------------------------------------------------------------------------------------------- lanes


@intrinsic
def _zero_of(_: Any, value: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        return cgutils.get_null_value(context.get_value_type(types_of.return_type))

    return (_VECTOR if value == _VECTOR else types.float64)(value), lower


@intrinsic
def _n_lanes(_: Any, value: Any) -> Any:
    count = LANES if value == _VECTOR else 1

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(value), lower


@intrinsic
def _lane(_: Any, value: Any, number: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        vector, index = arguments
        return builder.extract_element(vector, index) if value == _VECTOR else vector

    return types.float64(value, types.intp), lower


@intrinsic
def _with_lane(_: Any, value: Any, number: Any, entry: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        vector, index, one = arguments
        return builder.insert_element(vector, one, index) if value == _VECTOR else one

    return (_VECTOR if value == _VECTOR else types.float64)(value, types.intp, types.float64), lower


@intrinsic
def _all_at_most(_: Any, value: Any, bound: Any) -> Any:
    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        limit = _spread(builder, arguments[1], types.float64) if value == _VECTOR else arguments[1]
        below = builder.fcmp_ordered("<=", arguments[0], limit)
        if value != _VECTOR:
            return below
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("==", builder.bitcast(below, bits), bits(2**LANES - 1))

    return types.boolean(value, types.float64), lower


# ----------------------------------------------------------------------------------------- more arithmetic


def _of_llvm(name: str) -> Any:
    """Return a function of one number or vector that is an instruction of LLVM's."""

    def typed(_: Any, value: Any) -> Any:
        own = _VECTOR if value == _VECTOR else types.float64

        def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
            kind = arguments[0].type
            suffix = f"v{LANES}f64" if own == _VECTOR else "f64"
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.{suffix}"
            )
            return builder.call(function, arguments)

        return own(own), lower

    return intrinsic(typed)


_square_root, _absolute, _rounded_down = _of_llvm("sqrt"), _of_llvm("fabs"), _of_llvm("floor")


@intrinsic
def _two_to(_: Any, exponent: Any) -> Any:
    """Two to a small whole number: the number is written where floating point has its exponent."""
    own, count = (_VECTOR, LANES) if exponent == _VECTOR else (types.float64, 1)

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        def of_width(bits: int) -> Any:
            return ir.VectorType(ir.IntType(bits), LANES) if own == _VECTOR else ir.IntType(bits)

        def equal(number: int) -> Any:
            return ir.Constant(of_width(64), [number] * count if own == _VECTOR else number)

        whole = builder.sext(builder.fptosi(arguments[0], of_width(32)), of_width(64))
        bits = builder.shl(builder.add(whole, equal(1023)), equal(52))
        return builder.bitcast(bits, arguments[0].type)

    return own(own), lower


@intrinsic
def _where_at_least(_: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    given = (a, b, yes, no)
    result = _VECTOR if _VECTOR in given else types.float64

    def lower(context: Any, builder: Any, types_of: Any, arguments: Any) -> Any:
        values = list(arguments)
        if result == _VECTOR:
            values = [_spread(builder, *pair) for pair in zip(arguments, types_of.args, strict=True)]
        return builder.select(builder.fcmp_ordered(">=", values[0], values[1]), values[2], values[3])

    return result(*(_VECTOR if one == _VECTOR else types.float64 for one in given)), lower


# ---------------------------------------------------------------------------------------- without a compiler


def _plain_load(array: Any, indices: Any) -> Any:
    value = array[indices]
    return value.copy() if isinstance(value, np.ndarray) else value


def _plain_store(array: Any, indices: Any, value: Any) -> None:
    array[indices] = value


def _plain_with_lane(value: Any, number: int, entry: float) -> Any:
    if np.ndim(value) == 0:
        return entry
    changed = value.copy()
    changed[number] = entry
    return changed


if config.DISABLE_JIT:
    load, store, with_lane = _plain_load, _plain_store, _plain_with_lane
    zero_of, n_lanes, absolute, rounded_down, two_to = np.zeros_like, np.size, np.abs, np.floor, np.exp2
    load_row, store_row, ADDRESS = _plain_load, _plain_store, object
    load_number, store_number = operator.getitem, operator.setitem

    def fetch_row(rows: Any, index: int) -> None:
        """Bring a row nearer; compiled, the row may lie behind the end."""

    def address_of(array: Any) -> Any:
        """Return the same array; compiled, its address."""
        return array

    def square_root(value: Any) -> Any:
        """Return square roots, NaN of negative numbers."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(value)

    def where_at_least(a: Any, b: Any, yes: Any, no: Any) -> Any:
        """Return `yes` where a >= b; elsewhere, and where one of them is NaN, `no`."""
        return np.where(a >= b, yes, no)

    def lane(value: Any, number: int) -> Any:
        """Return the number of one problem."""
        return value if np.ndim(value) == 0 else value[number]

    def all_at_most(value: Any, bound: float) -> bool:
        """Whether no number is above a bound or NaN."""
        return bool(np.all(value <= bound))

else:
    load, store, with_lane = _load, _store, _with_lane
    zero_of, n_lanes, lane, all_at_most = _zero_of, _n_lanes, _lane, _all_at_most
    square_root, absolute, where_at_least = _square_root, _absolute, _where_at_least
    rounded_down, two_to = _rounded_down, _two_to
    address_of, load_row, store_row = _address_of, _load_row, _store_row
    load_number, store_number, ADDRESS = _load_number, _store_number, np.int64
    fetch_row = _fetch_row

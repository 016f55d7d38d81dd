"""What TVM 0.25, the compiler from source, says otherwise than the release."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

SYMBOL = "__tvm_ffi_"  # before a function's name, where compiled code calls it


NEW: Any = getattr(tvm.ir, "GenericConst", None)
CONSTANT: Any = NEW or relax.Constant
CALL: Any = tvm.ir.Call if NEW else tvm.tirx.Call
LOAD: Any = getattr(tvm.ir, "TensorLoad", None) or tvm.tirx.BufferLoad


def constant_value(expression: Any) -> Any:
    """A constant tensor's value, as an array of its shape and type; None for another expression."""
    if not is_constant(expression):
        return None
    return (expression.value if NEW else expression.data).numpy()


def is_constant(expression: Any) -> bool:
    """Whether an expression is a constant tensor."""
    return isinstance(expression, CONSTANT)


def shape(expression: Any) -> list[int]:
    """The shape of a tensor whose sizes are all known.

    Raises:
        AttributeError, TypeError or ValueError: they are not, or it is no tensor.
    """
    return [int(size) for size in type_of(expression).shape.values]


def with_batch_size(variable: Any, samples: int) -> Any:
    """A new variable like one that is a tensor [N, ...], with so many samples for N."""
    tensor: Any = getattr(relax, "TensorStructInfo", None) or relax.TensorType
    name = variable.name_hint if hasattr(variable, "name_hint") else variable.name
    return relax.Var(name, tensor([samples, *shape(variable)[1:]], element_type(variable)))


def element_type(expression: Any) -> str:
    """The type of a tensor's elements, such as "float32"."""
    return str(type_of(expression).dtype)


def scalar_type(expression: Any) -> str:
    """The type of a scalar expression of a loop, such as "int32"."""
    return str(expression.ty if hasattr(expression, "ty") else expression.dtype)


def prim_func(*, s_tir: bool) -> Callable[[Callable[..., None]], Any]:
    """The decorator of a function in TVM's language; with blocks, if TVM asks for it to be said."""
    decorator: Any = tvm.script.tirx.prim_func
    asks = "s_tir" in inspect.signature(decorator).parameters
    made: Callable[[Callable[..., None]], Any] = decorator(s_tir=s_tir) if asks else decorator
    return made


def type_of(expression: Any) -> Any:
    """What an expression is: a tensor of a shape, or several."""
    return expression.ty if hasattr(expression, "ty") else expression.struct_info


def types_of(expression: Any) -> list[Any]:
    """What each of the tensors is that an expression gives: one, or a tuple's."""
    given = type_of(expression)
    return list(given.fields) if hasattr(given, "fields") else [given]


def argument_shapes(function: tvm.tirx.PrimFunc) -> list[tuple[int, ...]]:
    """The shapes of a function's arguments in their order, the output last; all known."""
    return [tuple(int(size) for size in one.shape) for one in argument_buffers(function)]


def argument_index(function: tvm.tirx.PrimFunc, read: Any) -> int | None:
    """Which argument a block of a function reads there; None for something of its own."""
    source = read.buffer if hasattr(read, "buffer") else read.source
    found = (n for n, one in enumerate(argument_buffers(function)) if one.same_as(source))
    return next(found, None)


def region_type(read: Any) -> str:
    """The type of the elements that a block reads there, such as "int16"."""
    source = read.buffer if hasattr(read, "buffer") else read.source
    return str(source.dtype)


def argument_buffers(function: tvm.tirx.PrimFunc) -> list[Any]:
    """A function's arguments, as the buffers that they are."""
    if hasattr(function, "buffer_map"):
        return [function.buffer_map[one] for one in function.params]
    return list(function.params)


def read_words(address: Any, kind: str, size: int, then: Callable[[Any], Any]) -> Any:
    """A statement that reads what a call of a C function points to.

    Args:
        address: the call.
        kind: the type of what is there, such as "uint32".
        size: how many of these.
        then: given the buffer that they are, what to do.
    """
    if NEW:
        words = tvm.tirx.decl_buffer((size,), kind, "words")
        return tvm.tirx.SeqStmt([tvm.tirx.DeclBuffer(words, data=address), then(words)])
    pointer = tvm.tirx.Var("words", tvm.ir.PointerType(tvm.ir.PrimType(kind)))
    words = tvm.tirx.decl_buffer((size,), kind, "words", data=pointer)
    return tvm.tirx.SeqStmt([tvm.tirx.Bind(pointer, address), then(words)])


def coefficient(index: Any, variable: Any) -> int | None:
    """The c of an index c * variable + rest, without the variable in rest; None for others."""
    algebra: Any = getattr(tvm, "sym", None) or tvm.arith
    found = algebra.detect_linear_equation(index, [variable])
    size = algebra.Analyzer().simplify(found[0]) if found else None
    return int(size) if isinstance(size, tvm.tirx.IntImm) else None


def offset(index: Any, variable: Any) -> int | None:
    """The constant c of an index variable + c; None for others."""
    algebra: Any = getattr(tvm, "sym", None) or tvm.arith
    found = algebra.Analyzer().simplify(index - variable)
    return int(found) if isinstance(found, tvm.tirx.IntImm) else None


def map_parts(body: tvm.tirx.Stmt, kind: type, by: Callable[[Any], Any]) -> tvm.tirx.Stmt:
    """A body whose parts of a kind, from the innermost on, are what a function makes of them."""
    if NEW:
        found: tvm.tirx.Stmt = tvm_ffi.structural_map(body, (kind, by))
        return found
    of: Any = tvm.tirx.stmt_functor
    return of.ir_transform(body, None, by, [f"tirx.{kind.__name__}"])


def tir_pipeline(*then: Any) -> Any:
    """TVM's own lowering of functions and passes after it, as TVM's `build` takes them."""
    default = tvm.tirx.get_tir_pipeline("default")
    if not isinstance(default, tuple):
        return tvm.ir.transform.Sequential([default, *then])
    lower, *finalize = default
    name = "edgewright"
    tvm.tirx.register_tir_pipeline(
        name, lambda: (tvm.ir.transform.Sequential([lower, *then]), *finalize)
    )
    return name


def visit(body: Any, kind: type, by: Callable[[Any], None]) -> None:
    """Show a function each part of a body that is of a kind."""
    if NEW:
        tvm_ffi.structural_walk(body, (kind, by))
        return
    of: Any = tvm.tirx.stmt_functor
    of.post_order_visit(body, lambda part: by(part) if isinstance(part, kind) else None)

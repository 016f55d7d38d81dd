"""A quantised .tflite file to Relax over integers, operator by operator.

Each family of operators is a module with `RULES`: by an operator's name, what emits it. What comes
out of a rule must have the shape and type that the file says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from toolchain.compile import tvm_versions
from toolchain.compile.quantized import (
    elementwise,
    lookup,
    movement,
    pooling,
    products,
    resizing,
    slicing,
)
from toolchain.compile.quantized.emitter import Emitter
from toolchain.core.errors import ModelError
from toolchain.formats.rounding import tflite_network
from toolchain.formats.rounding.tflite_network import Network, NotImportedError
from toolchain.formats.signature import Tensor
from toolchain.targets.instruction_sets import DotProduct

Rule = Callable[[Emitter, tflite_network.Operator], list[Any]]
RULES: Mapping[str, Rule] = {
    name: rule
    for family in (elementwise, lookup, movement, pooling, products, resizing, slicing)
    for name, rule in family.RULES.items()
}


def from_tflite(
    content: bytes,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    orders: tuple[Sequence[str], Sequence[str]],
    dot: DotProduct | None = None,
    *,
    widens: bool = True,
    short: bool = False,
) -> tvm.IRModule | None:
    """A module with one function, `main`, and the weights as its constants.

    Args:
        content: the file's bytes.
        inputs: the network's, in the order of `main`'s parameters.
        outputs: the network's, in the order of what `main` gives.
        orders: the names of both in the file's own order.
        dot: the target's instruction for sums of products of int8, if any.
        widens: whether the target's int8 become float32 as they are loaded; where they don't,
            weights of what is added in float32 are float32 in the library.
        short: whether one instruction of the target adds products of int16 to int32; then sums are
            int32.

    Returns:
        `main`, images in NHWC; None for a network that computes nothing in steps.

    Raises:
        ModelError: the file is damaged, or has quantisation parameters that can't be any.
        NotImportedError: it has what isn't imported here; the error names operator and tensor.
    """
    read = tflite_network.read(content)
    if not read.is_quantised:
        return None
    unknown = sorted({one.name for one in read.operators} - RULES.keys())
    if unknown:
        raise NotImportedError(f"operator {', '.join(unknown)}")
    builder = relax.BlockBuilder()
    parameters = _parameters(read, inputs, orders[0])
    with builder.function("main", [parameters[tensor.name] for tensor in inputs]):
        with builder.dataflow():
            emitter = Emitter(
                network=read, builder=builder, dot=dot, widens=widens, short=short, values={}
            )
            _enter(emitter, inputs, orders[0], parameters)
            for operator in read.operators:
                _emit(emitter, operator)
            made = _made(emitter, outputs, orders[1])
            result = made[0] if len(made) == 1 else relax.Tuple(made)
            given = builder.emit_output(result)
        builder.emit_func_output(given)
    return builder.finalize()


def _parameters(
    read: Network, inputs: Sequence[Tensor], order: Sequence[str]
) -> dict[str, relax.Var]:
    """A parameter for each of the network's inputs, of its own type."""
    if sorted(order) != sorted(t.name for t in inputs) or len(order) != len(read.inputs):
        raise NotImportedError(f"its inputs are {', '.join(order)}")
    shapes = {name: read.tensors[n].shape for name, n in zip(order, read.inputs, strict=True)}
    for tensor in inputs:
        if shapes[tensor.name] != tuple(tensor.shape):
            raise NotImportedError(f"input {tensor.name} is {shapes[tensor.name]}")
    return {t.name: relax.Var(f"input_{n}", _type(t)) for n, t in enumerate(inputs)}


def _type(tensor: Tensor) -> Any:
    kind: Any = getattr(relax, "TensorStructInfo", None) or relax.TensorType
    return kind(list(tensor.shape), tensor.dtype)


def _enter(
    emitter: Emitter,
    inputs: Sequence[Tensor],
    order: Sequence[str],
    parameters: Mapping[str, relax.Var],
) -> None:
    """The file's inputs, of its own types."""
    kinds = {tensor.name: tensor.dtype for tensor in inputs}
    for name, number in zip(order, emitter.network.inputs, strict=True):
        value, own = parameters[name], emitter.network.tensors[number].kind
        if kinds[name] != own:
            value = emitter.emit(relax.op.astype(value, own))
        emitter.values[number] = value


def _emit(emitter: Emitter, operator: tflite_network.Operator) -> None:
    try:
        made = RULES[operator.name](emitter, operator)
    except (ModelError, NotImportedError):
        raise
    except Exception as error:  # what TVM makes of shapes that contradict each other
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NotImportedError(f"{operator.name}: {lines[-1]}") from error
    if len(made) != len(operator.outputs):
        raise NotImportedError(f"{operator.name} has {len(operator.outputs)} outputs")
    for place, value in enumerate(made):
        to = emitter.made(operator, place)
        found = tuple(tvm_versions.shape(value)), tvm_versions.element_type(value)
        if found != (to.shape, to.kind):
            raise NotImportedError(
                f"{operator.name} gives {found[1]} {found[0]}, and tensor {to.name} is "
                f"{to.kind} {to.shape}"
            )
        emitter.values[operator.outputs[place]] = value


def _made(emitter: Emitter, outputs: Sequence[Tensor], order: Sequence[str]) -> list[Any]:
    """The network's outputs, of its own types."""
    read = emitter.network
    if sorted(order) != sorted(t.name for t in outputs) or len(order) != len(read.outputs):
        raise NotImportedError(f"its outputs are {', '.join(order)}")
    numbers = dict(zip(order, read.outputs, strict=True))
    found = []
    for tensor in outputs:
        value = emitter.values.get(numbers[tensor.name])
        if value is None:
            raise NotImportedError(f"nothing makes output {tensor.name}")
        if tvm_versions.element_type(value) != tensor.dtype:
            value = emitter.emit(relax.op.astype(value, tensor.dtype))
        found.append(value)
    return found

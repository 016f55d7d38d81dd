"""What the rules of operators share: tensors as they are computed, limits, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from toolchain.compile.quantized.fixed_point import (
    Channelwise,
    Factor,
    Scale,
    clamped,
    scaling,
)
from toolchain.formats.rounding.tflite_network import (
    ROUNDED,
    Network,
    NotImportedError,
    Operator,
    Tensor,
)
from toolchain.targets.instruction_sets import DotProduct

# ActivationFunctionType of schema.fbs: from, to; None for no end.
ACTIVATIONS: Mapping[int, tuple[float | None, float | None]] = {
    0: (None, None),
    1: (0.0, None),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}
LONG = 1 << 31  # sums beyond it need 64 bits


@dataclass(kw_only=True)
class Emitter:
    """The graph as it is emitted.

    Attributes:
        network: what is imported.
        builder: of Relax.
        dot: the target's instruction for sums of products of int8, if any.
        widens: whether the target's int8 become float32 as they are loaded.
        short: whether one instruction of the target adds products of int16 to int32.
        values: the expression of each tensor that is computed already.
    """

    network: Network
    builder: relax.BlockBuilder
    dot: DotProduct | None
    widens: bool
    short: bool
    values: dict[int, Any]
    _centred: dict[tuple[int, str], Any] = field(default_factory=dict)

    def keeps_weights(self, kind: str) -> bool:
        """Whether weights stay int8 in the library, beside an input of a type."""
        return self.widens or kind == "int16"

    def given(self, operator: Operator, place: int) -> Tensor:
        """An input of an operator.

        Raises:
            NotImportedError: it has none there.
        """
        if not self.has(operator, place):
            raise NotImportedError(f"{operator.name} has no input {place}")
        return self.network.tensors[operator.inputs[place]]

    def has(self, operator: Operator, place: int) -> bool:
        """Whether an operator has an input at a place."""
        return place < len(operator.inputs) and operator.inputs[place] >= 0

    def made(self, operator: Operator, place: int = 0) -> Tensor:
        """An output of an operator.

        Raises:
            NotImportedError: it has none there.
        """
        if place >= len(operator.outputs) or operator.outputs[place] < 0:
            raise NotImportedError(f"{operator.name} has no output {place}")
        return self.network.tensors[operator.outputs[place]]

    def constant(self, operator: Operator, place: int) -> npt.NDArray[Any]:
        """An input that is constant.

        Raises:
            NotImportedError: it is computed.
        """
        tensor = self.given(operator, place)
        if tensor.value is None:
            raise NotImportedError(f"{operator.name}: tensor {tensor.name} is not constant")
        return tensor.value

    def value(self, operator: Operator, place: int) -> Any:
        """The expression of an input.

        Raises:
            NotImportedError: nothing has computed it before.
        """
        tensor, number = self.given(operator, place), operator.inputs[place]
        if number in self.values:
            return self.values[number]
        if tensor.value is None:
            raise NotImportedError(f"{operator.name}: nothing makes tensor {tensor.name}")
        return relax.const(tensor.value, tensor.kind)

    def rounded(self, operator: Operator, place: int, kinds: tuple[str, ...] = ROUNDED) -> Tensor:
        """An input in steps of one scale.

        Raises:
            NotImportedError: it is of another type than these, or has no single scale.
        """
        return _in_steps(operator, self.given(operator, place), kinds)

    def rounded_output(self, operator: Operator, kinds: tuple[str, ...] = ROUNDED) -> Tensor:
        """The output, in steps of one scale; as `rounded`."""
        return _in_steps(operator, self.made(operator), kinds)

    def emit(self, expression: Any) -> Any:
        """A variable of an expression."""
        return self.builder.emit(expression)

    def call(self, function: Callable[..., Any], *arguments: Any, name: str) -> Any:
        """A variable of what a function of tensors gives."""
        made = self.builder.call_te(function, *arguments, primfunc_name_hint=name)
        return self.builder.emit(made)

    def centred(self, operator: Operator, place: int, kind: str) -> Any:
        """An input's steps minus its zero point, as numbers of another type."""
        key = operator.inputs[place], kind
        if key not in self._centred:
            zero = self.given(operator, place).zero
            wide = self.emit(relax.op.astype(self.value(operator, place), kind))
            if zero:
                of = relax.const(np.array(zero, kind), kind)
                wide = self.emit(relax.op.subtract(wide, of))
            self._centred[key] = wide
        return self._centred[key]

    def requantized(
        self,
        sums: Any,
        to: Tensor,
        factor: Factor,
        *,
        bias: npt.NDArray[np.int64] | None = None,
        limits: tuple[int, int],
        long: bool = False,
        scaled: Callable[[Factor, Channelwise], Scale] = scaling,
    ) -> Any:
        """Sums [..., K] of products as steps of a tensor: bias added, scaled, shifted, clamped.

        Args:
            sums: whole numbers, whatever their type.
            to: the tensor.
            factor: one for all, or K.
            bias: the same; 0 where not given.
            limits: of what is computed.
            long: whether TensorFlow Lite has these sums in 64 bits.
            scaled: how they are multiplied by the factor.
        """
        channelwise, kind = Channelwise(), "int64" if long else "int32"
        added = channelwise(bias, kind) if bias is not None and bias.any() else None
        scale = scaled(factor, channelwise)

        def requantize(sums: Any, tables: list[Any]) -> Any:
            def at(*index: Any) -> Any:
                whole = sums[index].astype(kind)
                if added:
                    whole = whole + added(tables, index[-1])
                return clamped(scale(tables, index[-1], whole) + to.zero, *limits, to.kind)

            return _compute(sums.shape, at, "requantize")

        return self.call(requantize, sums, channelwise.constants, name="requantize")


def activation_limits(operator: Operator, field_number: int, to: Tensor) -> tuple[int, int]:
    """Between which steps an operator's fused activation leaves its output.

    CalculateActivationRangeQuantized of kernels/kernel_util.cc.

    Args:
        operator: with the activation at a field of its options.
        field_number: which.
        to: its output.

    Raises:
        NotImportedError: it is an activation of another sort.
    """
    code = operator.option(field_number, "b")
    if code not in ACTIVATIONS:
        raise NotImportedError(f"{operator.name} has activation {code} fused")
    least, most = (None if end is None else steps_of(end, to) for end in ACTIVATIONS[code])
    info = np.iinfo(to.kind)
    low, high = int(info.min), int(info.max)
    return (
        low if least is None else max(low, least),
        high if most is None else min(high, most),
    )


def steps_of(real: float, to: Tensor) -> int:
    """A number in steps of a tensor, not clamped; as C rounds it, halves away from zero."""
    steps = float(np.float32(real) / to.scale)
    return to.zero + int(np.copysign(np.floor(abs(steps) + 0.5), steps))


def _in_steps(operator: Operator, tensor: Tensor, kinds: tuple[str, ...]) -> Tensor:
    if tensor.kind not in kinds:
        raise NotImportedError(f"{operator.name}: tensor {tensor.name} is {tensor.kind}")
    if tensor.rounding is None or tensor.rounding.scale.size != 1:
        raise NotImportedError(f"{operator.name}: tensor {tensor.name} has no single scale")
    return tensor


def _compute(shape: Any, at: Callable[..., Any], name: str) -> Any:
    from tvm import te

    return te.compute(shape, at, name=name)

"""Functions of one step: computed here for each step that there is, and looked up.

RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, HARD_SWISH, LOGISTIC, TANH, EXP, LOG, ... of int8 and uint8,
and SOFTMAX, whose exponentials are of one step too. Those of int16 are computed where they are
needed: tables of 65,536 steps would be no faster.

A quotient of scales is one of float32 where TensorFlow Lite's is: 24 bits of it, not 31, decide
to which side a half is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax, te, tirx

from toolchain.compile.quantized import interpolation
from toolchain.compile.quantized.emitter import ACTIVATIONS, Emitter, steps_of
from toolchain.compile.quantized.fixed_point import Channelwise, Factor, clamped, scaled, scaling
from toolchain.formats.rounding.tflite_network import Operator, Tensor

BYTES = ("int8", "uint8")
RELUS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
FAR = 2.0**20  # steps: further off than any that is clamped
Steps = npt.NDArray[np.int64]
Reals = npt.NDArray[Any]
Rule = Callable[[Emitter, Operator], list[Any]]


def by_kind(of_bytes: Rule, of_shorts: Rule) -> Rule:
    """The rule of an operator that has one for int8 and uint8, and one for int16."""

    def rule(emitter: Emitter, operator: Operator) -> list[Any]:
        is_short = emitter.given(operator, 0).kind == "int16"
        return (of_shorts if is_short else of_bytes)(emitter, operator)

    return rule


def real_function(of: Callable[[Reals], Reals]) -> Rule:
    """The rule of an operator that is a function of real numbers, rounded to the nearest step."""

    def rule(emitter: Emitter, operator: Operator) -> list[Any]:
        x, to = emitter.rounded(operator, 0, BYTES), emitter.rounded_output(operator, BYTES)
        reals = ((_steps(x) - x.zero) * float(x.scale)).astype(np.float64)
        # an infinity is clamped, as all that is too large
        with np.errstate(over="ignore", divide="ignore"):
            steps = np.clip(of(reals) / float(to.scale), -FAR, FAR)
        table = np.floor(steps + 0.5).astype(np.int64) + to.zero
        return [_looked_up(emitter, operator, table, to)]

    return rule


def relu(emitter: Emitter, operator: Operator) -> list[Any]:
    """RELU, RELU6 and RELU_N1_TO_1: requantised, then clamped (activations.cc, ReluPrepare)."""
    x, to = emitter.rounded(operator, 0, BYTES), emitter.rounded_output(operator, BYTES)
    least, most = ACTIVATIONS[RELUS[operator.name]]
    table = scaled(_steps(x) - x.zero, Factor.of(float(x.scale / to.scale))) + to.zero
    if least is not None:
        table = np.maximum(table, steps_of(least, to))
    if most is not None:
        table = np.minimum(table, steps_of(most, to))
    return [_looked_up(emitter, operator, table, to)]


def short_relu(emitter: Emitter, operator: Operator) -> list[Any]:
    """RELU and RELU6 of int16."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    info = np.iinfo(to.kind)
    ends = zip(ACTIVATIONS[RELUS[operator.name]], (int(info.min), int(info.max)), strict=True)
    low, high = (none if end is None else steps_of(end, to) for end, none in ends)
    limits = max(low, int(info.min)), min(high, int(info.max))
    steps, factor = emitter.centred(operator, 0, "int32"), Factor.of(float(x.scale / to.scale))
    return [emitter.requantized(steps, to, factor, limits=limits)]


def leaky_relu(emitter: Emitter, operator: Operator) -> list[Any]:
    """LEAKY_RELU: a factor for each sign (activations.cc, LeakyReluPrepare)."""
    x, to = emitter.rounded(operator, 0, BYTES), emitter.rounded_output(operator, BYTES)
    above, below = _slopes(operator, x, to)
    steps = _steps(x) - x.zero
    slanted = scaled(steps if operator.real(0) >= 0 else -steps, below)
    table = np.where(steps >= 0, scaled(steps, above), slanted) + to.zero
    return [_looked_up(emitter, operator, table, to)]


def short_leaky_relu(emitter: Emitter, operator: Operator) -> list[Any]:
    """The same of int16."""
    x, to = emitter.rounded(operator, 0), emitter.rounded_output(operator)
    alpha, channelwise, info = operator.real(0), Channelwise(), np.iinfo(to.kind)
    above, below = (scaling(factor, channelwise) for factor in _slopes(operator, x, to))

    def bend(steps: te.Tensor) -> te.Tensor:
        def at(*index: Any) -> Any:
            whole = steps[index]
            slanted = below([], None, whole if alpha >= 0 else -whole)
            bent = tirx.Select(whole >= 0, above([], None, whole), slanted)
            return clamped(bent + to.zero, int(info.min), int(info.max), to.kind)

        return te.compute(steps.shape, at, name="bend")

    return [emitter.call(bend, emitter.centred(operator, 0, "int32"), name="leaky_relu")]


def softmax(emitter: Emitter, operator: Operator) -> list[Any]:
    """SOFTMAX over the last axis: exponentials looked up, summed in float32."""
    x, to = emitter.rounded(operator, 0, BYTES), emitter.rounded_output(operator)
    beta = operator.real(0)
    span = np.arange(256)
    table = np.exp(-float(x.scale) * beta * span).astype(np.float32)
    wide = emitter.emit(relax.op.astype(emitter.value(operator, 0), "int32"))
    most = emitter.emit(relax.op.max(wide, axis=-1, keepdims=True))
    below = emitter.emit(relax.op.subtract(most, wide))
    powers = emitter.call(_take, below, relax.const(table), 0, name="exponential")
    total = emitter.emit(relax.op.sum(powers, axis=-1, keepdims=True))
    info = np.iinfo(to.kind)

    def divide(powers: te.Tensor, total: te.Tensor) -> te.Tensor:
        step = tirx.const(float(to.scale), "float32")

        def at(*index: Any) -> Any:
            share = powers[index] / (total[(*index[:-1], 0)] * step)
            whole = (share + tirx.const(0.5, "float32")).astype("int32") + to.zero
            low, high = tirx.const(int(info.min), "int32"), tirx.const(int(info.max), "int32")
            return tirx.Min(tirx.Max(whole, low), high).astype(to.kind)

        return te.compute(powers.shape, at, name="share")

    return [emitter.call(divide, powers, total, name="share")]


def gelu(emitter: Emitter, operator: Operator) -> list[Any]:
    """GELU, by the hyperbolic tangent where its options say approximate."""
    of = _gelu_by_tanh if operator.option(0, "b") else _gelu
    return real_function(of)(emitter, operator)


def _slopes(operator: Operator, x: Tensor, to: Tensor) -> tuple[Factor, Factor]:
    """What LEAKY_RELU multiplies steps by: those above zero, and the size of the others' factor."""
    below = x.scale * np.float32(operator.real(0)) / to.scale
    return Factor.of(float(x.scale / to.scale)), Factor.of(abs(float(below)))


def _steps(x: Tensor) -> Steps:
    """Every step that a tensor can have, from the least."""
    info = np.iinfo(x.kind)
    return np.arange(int(info.min), int(info.max) + 1)


def _looked_up(emitter: Emitter, operator: Operator, table: Steps, to: Tensor) -> Any:
    """The output, by a table of what each step of the input becomes."""
    x, info = emitter.given(operator, 0), np.iinfo(to.kind)
    stored = relax.const(np.clip(table, info.min, info.max).astype(to.kind))
    least = int(np.iinfo(x.kind).min)
    name = operator.name.lower()
    return emitter.call(_take, emitter.value(operator, 0), stored, least, name=name)


def _take(x: te.Tensor, table: te.Tensor, least: int) -> te.Tensor:
    """table[x - least] for each value."""
    return te.compute(x.shape, lambda *index: table[x[index].astype("int32") - least], name="take")


def _sigmoid(x: Reals) -> Reals:
    share: Reals = 1 / (1 + np.exp(-x))
    return share


def _log(x: Reals) -> Reals:
    """Of 0 the least that there is; so of what is below, which has none."""
    logarithm: Reals = np.log(np.maximum(x, 0))
    return logarithm


def _hard_swish(x: Reals) -> Reals:
    swished: Reals = x * np.clip(x + 3, 0, 6) / 6
    return swished


def _gelu(x: Reals) -> Reals:
    upper: Reals = np.array([math.erfc(-value * math.sqrt(0.5)) for value in x])
    half: Reals = x * upper / 2
    return half


def _gelu_by_tanh(x: Reals) -> Reals:
    bent: Reals = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    half: Reals = x * (1 + bent) / 2
    return half


RULES: Mapping[str, Any] = {
    **dict.fromkeys(("RELU", "RELU6"), by_kind(relu, short_relu)),
    "RELU_N1_TO_1": relu,
    "LEAKY_RELU": by_kind(leaky_relu, short_leaky_relu),
    "LOGISTIC": by_kind(real_function(_sigmoid), interpolation.logistic),
    "TANH": by_kind(real_function(np.tanh), interpolation.hyperbolic_tangent),
    "EXP": by_kind(real_function(np.exp), interpolation.by_table(np.exp)),
    "LOG": by_kind(real_function(_log), interpolation.by_table(_log)),
    "GELU": gelu,
    "HARD_SWISH": real_function(_hard_swish),
    "SOFTMAX": by_kind(softmax, interpolation.softmax),
}

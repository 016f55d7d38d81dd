"""Functions of vectors: exponentials as arithmetic, and no call that is taken apart again.

LLVM has no vector form of exp, tanh or erf and calls the C library for each lane: EfficientNet-B0,
whose activations are x * sigmoid(x), spent half its time there. TVM's own polynomials
(`topi.fast_exp`) name their argument some twenty times; when functions are fused, what is computed
before stands in each of these places. Here an argument is bound to a variable.

TVM's vectoriser knows of some functions that they take vectors. For any other, such as an arc
tangent or a test for NaN, it makes a loop over the lanes again, of a body that it has begun to
rewrite: a variable that an exponential binds there is bound twice then, and it fails ("Let cannot
bind the same var to two different values"). To the nearest whole number LLVM rounds vectors; a loop
with another such call and a bound variable is left as one over numbers from the beginning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax, te, tirx

from toolchain.compile import tvm_versions

Expression = Callable[[Any], Any]
Legalised = Callable[[relax.BlockBuilder, Any], Any]

# ln 2 in two parts: the first has so few digits that its product with an exponent is exact.
LN2 = (0.693359375, -2.12194440e-4)
# Above, e^x is more than a float32 holds. Below, 2^(n - 1), with which it is computed, would be no
# normal number: there n is -126, whose bits are those of zero, and so is e^x from -86.99 on. A
# softmax of nothing but -inf, a row that is masked whole, is then NaN, as ONNX has it.
LEAST, MOST = -87.3366, 89.0
# So large that a float32 near it has no fraction, and its last bits are a number of 22 bits.
WHOLE = 1.5 * 2**23
# e^r - 1 - r, divided by r^2, for r within half of ln 2 of zero (Cephes, expf).
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
# tanh(x) - x, divided by x^3, for x within SMALL of zero (Cephes, tanhf).
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
SMALL = 0.625
# (1 - erf(x)) e^(x^2), as a polynomial without constant term in 1 / (1 + P x), for x from 0 on
# (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
P = 0.3275911
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)

TAKES_VECTORS = "TVectorizable"  # TVM's attribute of a function
EFFECT, PURE = "TCallEffectKind", 1  # TVM's of one that only gives a value
ROUND, LLVM_ROUND = "tirx.nearbyint", "llvm.nearbyint"
LEFT = ("tirx.reinterpret",)  # that it does know how to make vectors of


def _number(value: float) -> Any:
    return tirx.const(value, "float32")


def _bound(value: Any, body: Expression) -> Any:
    """An expression of a value that is computed once, however often the expression names it."""
    name = tirx.Var("bound", "float32")
    return tirx.Let(name, value, body(name))


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Its value by Horner's rule; the first coefficient is that of the highest power."""
    value = _number(coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + _number(coefficient)
    return value


def exp(x: Any) -> Any:
    """e^x of a float32, off by some 1e-7 of it; infinity and NaN where they belong.

    x is n ln 2 + r with a whole n: e^x = 2^n e^r. The sum of n and WHOLE is n in the last bits of a
    float32, to which it was rounded: no instruction for a floor or an integer, which RVV has not.
    """

    def of_argument(x: Any) -> Any:
        # what is not a number is neither less nor more, and stays
        more = tirx.Select(x < _number(LEAST), _number(LEAST), x)
        return _bound(
            more, lambda x: _bound(tirx.Select(x > _number(MOST), _number(MOST), x), of_bounded)
        )

    def of_bounded(x: Any) -> Any:
        return _bound(x * _number(1 / math.log(2)) + _number(WHOLE), lambda n: of_rounded(x, n))

    def of_rounded(x: Any, shifted: Any) -> Any:
        # 2^(n - 1), by its bits: n is up to 128, where 2^n is none
        bits = (tirx.reinterpret("int32", shifted) << 23) + (126 << 23)
        power = tirx.reinterpret("float32", bits)
        return _bound(
            shifted - _number(WHOLE),
            lambda n: _bound(
                x - n * _number(LN2[0]) - n * _number(LN2[1]),
                lambda r: (_polynomial(EXP, r) * r * r + r + _number(1)) * _number(2) * power,
            ),
        )

    return _bound(x, of_argument)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x) of a float32."""
    return _number(1) / (_number(1) + exp(-x))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent of a float32, off by some 1e-7 of it."""

    def of_argument(x: Any) -> Any:
        size = tirx.abs(x)
        large = _number(1) - _number(2) / (exp(size * _number(2)) + _number(1))
        small = _bound(x * x, lambda square: _polynomial(TANH, square) * square * x + x)
        return tirx.Select(size < _number(SMALL), small, _with_sign_of(x, large))

    return _bound(x, of_argument)


def erf(x: Any) -> Any:
    """The error function of a float32, off by some 5e-7."""

    def of_argument(x: Any) -> Any:
        rest = _bound(
            _number(1) / (_number(1) + _number(P) * tirx.abs(x)), lambda t: _polynomial(ERF, t) * t
        )
        return _with_sign_of(x, _number(1) - rest * exp(-(x * x)))

    return _bound(x, of_argument)


def _with_sign_of(x: Any, size: Any) -> Any:
    return _bound(size, lambda size: tirx.Select(x < _number(0), -size, size))


def _by(function: Expression) -> Legalised:
    def legalised(builder: relax.BlockBuilder, call: Any) -> Any:
        (given,) = call.args
        if tvm_versions.element_type(given) != "float32":
            return call.op.get_attr("FLegalize")(builder, call)
        return builder.call_te(lambda x: te.compute(x.shape, lambda *at: function(x(*at))), given)

    return legalised


# For relax.transform.LegalizeOps.
VECTORISED = {
    "relax.erf": _by(erf),
    "relax.exp": _by(exp),
    "relax.sigmoid": _by(sigmoid),
    "relax.tanh": _by(tanh),
}


def for_vectors(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A scheduled function, not lowered yet, whose vectorised loops TVM can vectorise.

    Args:
        function: it is not changed.
    """
    body = tvm_versions.map_parts(function.body, tvm_versions.CALL, _rounded)
    if _binds(body):
        body = tvm_versions.map_parts(body, tirx.Cast, _chosen)
    return function.with_body(tvm_versions.map_parts(body, tirx.For, _over_numbers))


def _rounded(call: Any) -> Any:
    if not _is(call, ROUND):
        return call
    return tirx.call_llvm_pure_intrin(tvm_versions.scalar_type(call), LLVM_ROUND, *call.args)


def _chosen(cast: Any) -> Any:
    """A truth as a number by a choice: TVM can't look at a cast of several in a bound variable."""
    if tvm_versions.scalar_type(cast.value) != "bool":
        return cast
    kind = tvm_versions.scalar_type(cast)
    return tirx.Select(cast.value, tirx.const(1, kind), tirx.const(0, kind))


def _over_numbers(loop: Any) -> Any:
    if loop.kind != tirx.ForKind.VECTORIZED or not _binds(loop) or not _has_alone(loop):
        return loop
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)


def _binds(part: Any) -> bool:
    found: list[Any] = []
    tvm_versions.visit(part, tirx.Let, found.append)
    return bool(found)


def _has_alone(part: Any) -> bool:
    """Whether a function is called that takes one number at a time."""
    found: list[Any] = []

    def look(call: Any) -> None:
        of = call.op
        if isinstance(of, tvm.ir.Op) and of.name not in LEFT and of.get_attr(EFFECT) == PURE:
            found.extend([] if of.get_attr(TAKES_VECTORS) else [call])

    tvm_versions.visit(part, tvm_versions.CALL, look)
    return bool(found)


def _is(call: Any, name: str) -> bool:
    return isinstance(call.op, tvm.ir.Op) and call.op.name == name

"""Images with channels last: by TVM's ConvertLayout, or, for graphs that it refuses, by our own.

TVM's pass ends in an internal error for operators that it has no rule for, and for some that it has
one for (a maximum of three ranks, a Split that a Concat and a Resize read). In ours each operator
that computes images takes them with channels last and gives them so; what follows asks for the form
that it can use. An operator without a rule here reads channels first, as it was written, so that no
graph is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tvm
from tvm import relax
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import main_rewriting_pass

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
AXES = {first: last for last, first in enumerate(TO_LAST)}  # N C H W -> their place in N H W C
RANK = 4


def ignore(_line: str) -> None:
    """What is done with a line that nobody asks for."""


UNARY = {
    f"relax.{name}"
    for name in (
        "abs", "astype", "ceil", "clip", "cos", "erf", "exp", "floor", "log", "negative", "nn.gelu",
        "nn.leakyrelu", "nn.relu", "nn.selu", "nn.silu", "round", "rsqrt", "sigmoid", "sign", "sin",
        "sqrt", "square", "tanh",
    )
}  # fmt: skip
BROADCAST = {
    f"relax.{name}"
    for name in (
        "add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "maximum",
        "minimum", "multiply", "power", "subtract", "where",
    )
}  # fmt: skip
POOLS = {"relax.nn.avg_pool2d", "relax.nn.max_pool2d"}
REDUCTIONS = {f"relax.{name}" for name in ("max", "mean", "min", "sum")}


def convert_images(
    layouts: Mapping[str, list[str]],
    on_left_out: Callable[[str], None] = ignore,
    attempt: Callable[[Callable[[], object]], str] | None = None,
) -> Pass:
    """ConvertImages: TVM's ConvertLayout, or ChannelsLast where that refuses the graph.

    Needs: `main` with convolutions in NCHW and OIHW, of known shapes. Leaves: those in the layouts
    given, transposes around what could not be turned, nothing nested and nothing dead; a graph that
    has none of those operators with nothing turned.

    Args:
        layouts: of each operator, as ConvertLayout takes them.
        on_left_out: called with a line about a pass that was left out.
        attempt: runs ConvertLayout first, where it may take the process down; gives why it failed.
    """
    transform = relax.transform
    # Both leave nested expressions, and transposes that cancel.
    after = [
        transform.Normalize(),
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(["main"]),
    ]

    def convert(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        sequential = tvm.transform.Sequential
        if not _calls_any(module, layouts):
            return sequential(after)(module)
        theirs = sequential([transform.ConvertLayout(dict(layouts)), *after])
        last = "" if attempt is None else attempt(lambda: theirs(module))
        if not last:
            try:
                return theirs(module)
            except Exception as error:  # noqa: BLE001 # internal errors of many kinds
                last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        on_left_out(f"ConvertLayout is left out for ChannelsLast: {last}")
        return sequential([transform.Normalize(), channels_last(), *after])(module)

    return tvm.transform.module_pass(convert, opt_level=2, name="ConvertImages")


def _calls_any(module: tvm.IRModule, operators: Mapping[str, list[str]]) -> bool:
    """Whether `main` calls one of these operators."""
    found: list[Any] = []

    def visit(expression: Any) -> None:
        if _is_operator(expression) and expression.op.name in operators:
            found.append(expression)

    relax.analysis.post_order_visit(module["main"], visit)
    return bool(found)


def channels_last() -> Pass:
    """ChannelsLast: `main` with images in NHWC wherever an operator has a rule.

    Needs: convolutions in NCHW and OIHW, of known shapes, in normal form. Leaves: these in NHWC and
    HWIO; turns that nobody reads, which are dead code.
    """
    return main_rewriting_pass(_ChannelsLast, name="ChannelsLast", opt_level=2)


@mutator
class _ChannelsLast(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.last: dict[Any, Any] = {}  # a variable with channels first -> its form with them last
        self.rules: dict[str, Callable[[Any], Any]] = {
            "relax.nn.conv2d": self._convolution,
            "relax.concat": self._concat,
            "relax.nn.pad": self._pad,
            "relax.nn.softmax": self._softmax,
            "relax.nn.adaptive_avg_pool2d": self._adaptive,
            "relax.image.resize2d": self._resize,
            "relax.take": self._take,
            "relax.split": self._split,
            **dict.fromkeys(UNARY, self._unary),
            **dict.fromkeys(BROADCAST, self._broadcast),
            **dict.fromkeys(POOLS, self._pool),
            **dict.fromkeys(REDUCTIONS, self._reduction),
        }
        self.parts: dict[Any, Any] = {}  # a tuple's variable -> the tuple of its parts' last forms

    def visit_var_binding_(self, binding: Any) -> None:
        value = self.visit_expr(binding.value)
        rule = self.rules.get(value.op.name) if _is_operator(value) else None
        if rule is not None:
            made = rule(value)
            if made is not None:
                made = self.builder_.emit(made)
                if isinstance(tvm_versions.type_of(made), _tuples()):
                    self._of_tuple(binding, made)
                    return
                back = self.builder_.emit(relax.op.permute_dims(made, TO_FIRST))
                self.last[back] = made
                self._bind(binding, back)
                return
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.parts:
            made = self.builder_.emit(
                relax.TupleGetItem(self.parts[value.tuple_value], value.index)
            )
            back = self.builder_.emit(relax.op.permute_dims(made, TO_FIRST))
            self.last[back] = made
            self._bind(binding, back)
            return
        super().visit_var_binding_(binding)

    def _bind(self, binding: Any, value: Any) -> None:
        """Let all that reads a binding's variable read a value instead."""
        if isinstance(binding.var, relax.DataflowVar):
            self.set_var_remap(binding.var, value)
            return
        out = self.builder_.emit_output(value)
        if value in self.last:
            self.last[out] = self.last[value]
        self.set_var_remap(binding.var, out)

    def _of_tuple(self, binding: Any, made: Any) -> None:
        """A split: what reads its parts finds them with channels last."""
        fields = len(tvm_versions.type_of(made).fields)
        turned = [
            self.builder_.emit(
                relax.op.permute_dims(self.builder_.emit(relax.TupleGetItem(made, n)), TO_FIRST)
            )
            for n in range(fields)
        ]
        whole = self.builder_.emit(relax.Tuple(turned))
        self.parts[whole] = made
        self._bind(binding, whole)

    def _known(self, value: Any) -> Any:
        """A value's form with channels last, when there is one already."""
        return self.last.get(value) if isinstance(value, relax.Var) else None

    def _turned(self, value: Any) -> Any:
        """A value of four axes with channels last."""
        known = self._known(value)
        return (
            known
            if known is not None
            else self.builder_.emit(relax.op.permute_dims(value, TO_LAST))
        )

    def _convolution(self, call: Any) -> Any:
        of = call.attrs
        if str(of.data_layout) != "NCHW" or str(of.kernel_layout) != "OIHW":
            return None
        weights = self.builder_.emit(relax.op.permute_dims(call.args[1], [2, 3, 1, 0]))
        return relax.op.nn.conv2d(
            self._turned(call.args[0]), weights, strides=list(of.strides),
            padding=list(of.padding), dilation=list(of.dilation), groups=int(of.groups),
            data_layout="NHWC", kernel_layout="HWIO", out_layout="NHWC", out_dtype=of.out_dtype,
        )  # fmt: skip

    def _pool(self, call: Any) -> Any:
        of = call.attrs
        make = (
            relax.op.nn.max_pool2d
            if call.op.name.endswith("max_pool2d")
            else relax.op.nn.avg_pool2d
        )
        if str(of.layout) != "NCHW":
            return None
        return make(
            self._turned(call.args[0]), pool_size=list(of.pool_size), strides=list(of.strides),
            padding=list(of.padding), dilation=list(of.dilation), ceil_mode=bool(of.ceil_mode),
            count_include_pad=bool(of.count_include_pad), layout="NHWC", out_layout="NHWC",
        )  # fmt: skip

    def _adaptive(self, call: Any) -> Any:
        size = None if call.attrs.output_size is None else list(call.attrs.output_size)
        return relax.op.nn.adaptive_avg_pool2d(self._turned(call.args[0]), size, layout="NHWC")

    def _unary(self, call: Any) -> Any:
        known = self._known(call.args[0])
        if known is None:
            return None
        return relax.Call(call.op, [known, *call.args[1:]], call.attrs)

    def _broadcast(self, call: Any) -> Any:
        if all(self._known(argument) is None for argument in call.args):
            return None
        if any(_rank(argument) > RANK for argument in call.args):
            return None
        arguments = [self._aligned(argument) for argument in call.args]
        return relax.Call(call.op, arguments, call.attrs)

    def _aligned(self, value: Any) -> Any:
        """An operand of a broadcast with channels last."""
        rank = _rank(value)
        if rank == 0:
            return value
        if rank < RANK:
            shape = [1] * (RANK - rank) + tvm_versions.shape(value)
            value = self.builder_.emit(relax.op.reshape(value, shape))
        return self._turned(value)

    def _concat(self, call: Any) -> Any:
        fields = self._fields(call.args[0])
        if fields is None or all(self._known(part) is None for part in fields):
            return None
        axis = _axis(call.attrs.axis)
        return relax.op.concat([self._turned(part) for part in fields], axis=AXES[axis])

    def _fields(self, value: Any) -> Sequence[Any] | None:
        if isinstance(value, relax.Var):
            value = self.lookup_binding(value)
        return list(value.fields) if isinstance(value, relax.Tuple) else None

    def _pad(self, call: Any) -> Any:
        known = self._known(call.args[0])
        widths = [int(size) for size in call.attrs.pad_width]
        if known is None or len(widths) != 2 * RANK:
            return None
        pairs = [widths[2 * axis : 2 * axis + 2] for axis in TO_LAST]
        moved = [size for pair in pairs for size in pair]
        return relax.op.nn.pad(
            known, moved, pad_mode=call.attrs.pad_mode, pad_value=float(call.attrs.pad_value)
        )

    def _softmax(self, call: Any) -> Any:
        known = self._known(call.args[0])
        return None if known is None else relax.op.nn.softmax(known, AXES[_axis(call.attrs.axis)])

    def _resize(self, call: Any) -> Any:
        known, of = self._known(call.args[0]), call.attrs
        if known is None or str(of.layout) != "NCHW":
            return None
        return relax.op.image.resize2d(
            known, call.args[1], roi=list(of.roi), layout="NHWC", method=of.method,
            coordinate_transformation_mode=of.coordinate_transformation_mode,
            rounding_method=of.rounding_method, cubic_alpha=float(of.cubic_alpha),
            cubic_exclude=int(of.cubic_exclude), extrapolation_value=float(of.extrapolation_value),
        )  # fmt: skip

    def _take(self, call: Any) -> Any:
        known = self._known(call.args[0])
        if known is None or _rank(call.args[1]) != 1 or call.attrs.axis is None:
            return None
        axis = AXES[_axis(call.attrs.axis)]
        return relax.op.take(known, call.args[1], axis=axis, mode=str(call.attrs.mode))

    def _split(self, call: Any) -> Any:
        known = self._known(call.args[0])
        if known is None:
            return None
        sections = call.attrs.indices_or_sections
        given = (
            int(sections)
            if isinstance(sections, tvm.tirx.IntImm | int)
            else [int(i) for i in sections]
        )
        return relax.op.split(known, given, axis=AXES[_axis(call.attrs.axis)])

    def _reduction(self, call: Any) -> Any:
        known, of = self._known(call.args[0]), call.attrs
        if known is None or not of.keepdims or of.axis is None:
            return None
        axes = [AXES[_axis(axis)] for axis in of.axis]
        return getattr(relax.op, call.op.name.removeprefix("relax."))(known, axes, keepdims=True)


def _is_operator(value: Any) -> bool:
    return isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op)


def _rank(value: Any) -> int:
    return int(tvm_versions.type_of(value).ndim)


def _axis(axis: Any) -> int:
    return int(axis) % RANK


def _tuples() -> tuple[Any, ...]:
    return tuple(
        kind for name in ("TupleType", "TupleStructInfo") if (kind := getattr(relax, name, None))
    )

"""A batch, one sample after another: a network whose values for the whole batch leave the caches.

Operator by operator, each layer's values of all samples go to memory and come back from there. One
sample's whole way through the network keeps much of them in the caches, and the weights are read
again for each, which costs little where many positions of the sample use each of them. Measured on
x86-64 alone (benchmarks/README.md, batch 8).

A network is taken apart only when every operator is known to work on each sample by itself
(`_RULES`, and the shapes that come out); all others stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import tvm
from tvm import relax

from toolchain.compile import tvm_versions

SAMPLES = "edgewright.samples"  # attribute of a module whose `main` computes one of so many
ONE = "one_sample"  # its function beside the `main` that calls it for each
FEW = 16  # positions: a weight that fewer use in a sample costs more to read than to use
MOST = 8  # samples: joining large outputs of 16 costs more than is gained (by hand, x86-64)
SHARE = 1 / 20  # of all multiply-adds: those in layers of few positions, at most


class _NotApart(Exception):  # not an error: it stays whole
    """An operator may look at several samples at once."""


def apart(module: tvm.IRModule, kept: int) -> tvm.IRModule:
    """The module with `main` for one sample, marked with how many there are; or as it was.

    Args:
        module: Relax as imported, one function of one tensor.
        kept: bytes of values that stay in the caches from one operator to the next.
    """
    main = module["main"]
    try:
        size = _size(main)
        if not 2 <= size <= MOST or not _worth(main, size, kept):
            return module
        one = _OneSample(main, size).function()
    except _NotApart:
        return module
    alone = module.clone()
    alone.update_func(alone.get_global_var("main"), one)
    return alone.with_attr(SAMPLES, size)


def samples(module: tvm.IRModule) -> int:
    """How many samples an inference computes one after another."""
    return int((module.attrs or {}).get(SAMPLES, 1))


def together(module: tvm.IRModule) -> tvm.IRModule:
    """A module that `apart` took apart, optimised since, with a `main` for the whole batch."""
    size = samples(module)
    if size == 1:
        return module
    name = module.get_global_var("main")
    one = module["main"].with_attr("global_symbol", ONE)
    whole = module.clone()
    del whole[name]
    builder = relax.BlockBuilder(whole)
    callee = builder.add_func(one, ONE)
    batch = tvm_versions.resized(one.params[0], size)
    with builder.function("main", [batch]):
        found = []
        for number in range(size):
            sample = builder.emit(relax.op.strided_slice(batch, [0], [number], [number + 1]))
            found.append(builder.emit(relax.Call(callee, [sample])))
        builder.emit_func_output(_joined(builder, found))
    return builder.get()


def _joined(builder: Any, found: list[Any]) -> Any:
    """The outputs of all samples as those of the batch: a tensor, or several."""
    described = tvm_versions.described(found[0])
    if not hasattr(described, "fields"):
        return builder.emit(relax.op.concat(found, axis=0))
    joined = []
    for number in range(len(described.fields)):
        parts = [builder.emit(relax.TupleGetItem(one, number)) for one in found]
        joined.append(builder.emit(relax.op.concat(parts, axis=0)))
    return relax.Tuple(joined)


def _size(main: Any) -> int:
    """The batch size of a function of one tensor."""
    if len(main.params) != 1:
        raise _NotApart
    shape = _shape(main.params[0])
    return shape[0] if shape else 1


def _shape(value: Any) -> list[int]:
    """A tensor's shape, all of it known."""
    try:
        return tvm_versions.shape(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise _NotApart from error


def _worth(main: Any, size: int, kept: int) -> bool:
    """Whether a batch's values leave the cache, and the work is not in layers of few positions."""
    calls: list[Any] = []
    # an error raised in the visitor would lose its kind on its way through TVM
    relax.analysis.post_order_visit(main, calls.append)
    largest = total = few = 0
    for call in calls:
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op):
            continue
        if call.op.name in _INNER:
            made, channels, inner = _INNER[call.op.name](call)
            positions = math.prod(made) // (size * channels)
            largest = max(largest, 4 * math.prod(made))
            total += positions * channels * inner
            few += positions * channels * inner if positions < FEW else 0
    return largest > kept and few <= SHARE * total


# the shape of what is made, its channels, and the multiply-adds of each value
_Inner = tuple[list[int], int, int]


def _of_convolution(call: Any) -> _Inner:
    made, weights = _shape(call), _shape(call.args[1])
    channels = made[str(call.attrs.out_layout or call.attrs.data_layout).index("C")]
    _sure(channels > 0)
    return made, channels, math.prod(weights) // channels


def _of_product(call: Any) -> _Inner:
    made, left = _shape(call), _shape(call.args[0])
    _sure(len(made) > 0 and made[-1] > 0)
    return made, made[-1], left[-1]


_INNER: dict[str, Callable[[Any], _Inner]] = {
    "relax.nn.conv2d": _of_convolution,
    "relax.matmul": _of_product,
}


class _OneSample:
    """A function of a batch, written again for one sample.

    Args:
        main: the function.
        size: its batch size.
    """

    def __init__(self, main: Any, size: int) -> None:
        self.main, self.size = main, size
        self.builder = relax.BlockBuilder()
        # what a value is for one sample, by its variable in the whole batch's function
        self.values: dict[Any, Any] = {}

    def function(self) -> Any:
        """The function of one sample.

        Raises:
            _NotApart: there is none that is known to be the same.
        """
        (batch,) = self.main.params
        one = tvm_versions.resized(batch, 1)
        self.values[batch] = one
        found = one
        with self.builder.function("main", [one]):
            with self.builder.dataflow():
                # the builder wants its blocks ended, also where there is none of one sample
                with suppress(_NotApart):
                    for block in self.main.body.blocks:
                        for binding in block.bindings:
                            self._bound(binding)
                    found = self._output(self.main.body.body)
                made = self.builder.emit_output(found)
            self.builder.emit_func_output(made)
        if found is one:
            raise _NotApart
        return self.builder.get()["main"]

    def _output(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._output(field) for field in value.fields])
        if not self.varies(value):
            raise _NotApart
        return self.values[value]

    def varies(self, value: Any) -> bool:
        """Whether a value has a part for each sample; one that has not is the same for all."""
        return isinstance(value, relax.Var) and value in self.values

    def _bound(self, binding: Any) -> None:
        """Write a binding again; what is the same for all samples stays as it is."""
        value = binding.value
        if not any(self.varies(one) for one in relax.analysis.free_vars(value)):
            self.builder.emit_normalized(binding)
        elif isinstance(value, relax.Var | relax.Tuple):
            self.values[binding.var] = self._output(value)
        else:
            self.values[binding.var] = self._made(value, _shape(binding.var))

    def _made(self, call: Any, shape: list[int]) -> Any:
        """What a call makes for one sample, where it makes a tensor of that shape for all."""
        operator = isinstance(call, relax.Call) and isinstance(call.op, tvm.ir.Op)
        rule = _KNOWN.get(call.op.name) if operator else None
        if rule is None:
            raise _NotApart
        arguments = [self._one(argument) for argument in rule(self, call)]
        made = self.builder.emit(relax.Call(call.op, arguments, call.attrs))
        first, *rest = shape
        if first != self.size or _shape(made) != [1, *rest]:
            raise _NotApart
        return made

    def _one(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._one(field) for field in value.fields])
        return self.values.get(value, value) if isinstance(value, relax.Var) else value


def _sure(true: bool) -> None:
    if not true:
        raise _NotApart


def _not_first(axes: Any, rank: int) -> None:
    """Axes, or one, that are given and not the samples'."""
    _sure(axes is not None)
    listed = list(axes) if hasattr(axes, "__len__") else [axes]
    _sure(all(int(axis) % rank != 0 for axis in listed))


def _first_alone(one: _OneSample, call: Any) -> list[Any]:
    """Of the arguments only the first has samples."""
    data, *others = call.args
    _sure(one.varies(data) and not any(one.varies(other) for other in others))
    return list(call.args)


def _each_value(one: _OneSample, call: Any) -> list[Any]:
    """Value by value: what has no samples is the same for each of them."""
    rank = len(_shape(call))
    for argument in call.args:
        if not isinstance(argument, relax.Var) and not tvm_versions.is_constant(argument):
            continue  # a bound of clip: a number
        shape = _shape(argument)
        if one.varies(argument):
            _sure(len(shape) == rank)
        else:
            _sure(len(shape) < rank or shape[0] == 1)
    return list(call.args)


def _image(one: _OneSample, call: Any) -> list[Any]:
    """Windows over images, samples being the first axis."""
    layouts = [str(getattr(call.attrs, name, "")) for name in ("data_layout", "layout")]
    _sure(any(layout.startswith("N") for layout in layouts))
    return _first_alone(one, call)


def _product(one: _OneSample, call: Any) -> list[Any]:
    """Matrices of samples, or their rows, times one matrix for all; or matrices by matrices."""
    left, right = call.args
    if one.varies(right):
        _sure(one.varies(left) and len(_shape(left)) == len(_shape(right)) > 2)
    else:
        _sure(len(_shape(left)) > 1 and len(_shape(right)) == 2)
    return list(call.args)


def _along(one: _OneSample, call: Any) -> list[Any]:
    """Along axes that are not the samples'."""
    arguments = _first_alone(one, call)
    axes = call.attrs.axes if call.op.name == "relax.nn.layer_norm" else call.attrs.axis
    _not_first(axes, len(_shape(arguments[0])))
    return arguments


def _added_axis(one: _OneSample, call: Any) -> list[Any]:
    _not_first(call.attrs.axis, len(_shape(call)))
    return _first_alone(one, call)


def _joining(one: _OneSample, call: Any) -> list[Any]:
    _sure(isinstance(call.args[0], relax.Tuple))
    fields = call.args[0].fields
    _sure(all(one.varies(field) for field in fields))
    _not_first(call.attrs.axis, len(_shape(fields[0])))
    return list(call.args)


def _turned(one: _OneSample, call: Any) -> list[Any]:
    axes = call.attrs.axes
    _sure(axes is not None and int(axes[0]) % len(axes) == 0)
    return _first_alone(one, call)


def _reshaped(one: _OneSample, call: Any) -> list[Any]:
    """Each sample by itself: the first axis is the samples' before and after."""
    data, _ = call.args
    made = _shape(call)
    _sure(one.varies(data) and made[0] == one.size)
    return [data, relax.ShapeExpr([1, *made[1:]])]


_Rule = Callable[[_OneSample, Any], list[Any]]
_RULES: dict[_Rule, str] = {
    _each_value: (
        "abs add astype ceil clip cos divide equal erf exp floor greater greater_equal isfinite "
        "isinf isnan less less_equal log logical_and logical_not logical_or maximum minimum "
        "multiply negative nn.gelu nn.leakyrelu nn.relu nn.silu not_equal power round rsqrt "
        "sigmoid sign sin sqrt square subtract tanh where"
    ),
    _image: (
        "image.resize2d nn.adaptive_avg_pool2d nn.avg_pool2d nn.conv2d nn.conv2d_transpose "
        "nn.max_pool2d"
    ),
    _along: (
        "dequantize max mean min nn.layer_norm nn.log_softmax nn.prelu nn.softmax quantize "
        "squeeze sum"
    ),
    _joining: "concat",
    _added_axis: "expand_dims",
    _product: "matmul",
    _turned: "permute_dims",
    _reshaped: "reshape",
}
_KNOWN = {f"relax.{name}": rule for rule, names in _RULES.items() for name in names.split()}

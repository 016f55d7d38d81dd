"""A batch, one sample after another: a network whose values for the whole batch leave the caches.

Operator by operator, each layer's values of all samples go to memory and come back from there. One
sample's whole way through the network keeps much of them in the caches, and the weights are read
again for each, which costs little where many positions of the sample use each of them. Measured on
x86-64 alone (benchmarks/README.md, batch 8).

A network is split only when every operator is known to work on each sample by itself (`_RULES`,
and the shapes that come out); all others stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import tvm
from tvm import relax
from tvm.ir.transform import Pass

from toolchain.compile import tvm_versions

SAMPLES = "edgewright.samples"  # attribute of a module whose `main` computes one of so many
ONE = "one_sample"  # its function beside the `main` that calls it for each
FEW = 16  # positions: a weight that fewer use in a sample costs more to read than to use
MOST = 8  # samples: joining large outputs of 16 costs more than is gained (by hand, x86-64)
SHARE = 1 / 20  # of all multiply-adds: those in layers of few positions, at most


class _NotSeparableError(Exception):
    """An operator may look at several samples at once: the batch stays whole."""


def split_batch(kept: int) -> Pass:
    """SplitBatch: `main` for one sample, the module marked with how many there are.

    `main` takes one tensor [N, ...], its first axis the samples', with N from 2 to `MOST`. It is
    split where each operator is known to work on each sample by itself (`_RULES`), the largest
    value of the batch is above `kept`, and at most `SHARE` of the multiply-adds are in layers that
    use a weight for fewer than `FEW` positions of a sample.

    Needs: Relax as imported, in ONNX's layouts, before any pass changes it. Leaves: `main` with N
    of 1 everywhere, of which every later pass makes what it makes of a batch of 1; the attribute
    `SAMPLES` of the module, for JoinBatch. Another module stays as it was.

    Args:
        kept: bytes of values that stay in the caches from one operator to the next.
    """

    def split(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        main = module["main"]
        try:
            size = _batch_size(main)
            if not 2 <= size <= MOST or not _worth(main, size, kept):
                return module
            one = _OneSample(main, size).function()
        except _NotSeparableError:
            return module
        alone = module.clone()
        alone.update_func(alone.get_global_var("main"), one)
        return alone.with_attr(SAMPLES, size)

    return tvm.transform.module_pass(split, opt_level=2, name="SplitBatch")


def samples_per_inference(module: tvm.IRModule) -> int:
    """How many times an inference runs a module's `main`: 1, or what SplitBatch split."""
    return int((module.attrs or {}).get(SAMPLES, 1))


def join_batch() -> Pass:
    """JoinBatch: what SplitBatch split gets a `main` for the whole batch again.

    Needs: SplitBatch, and all that optimises one sample's `main`: its loops are scheduled and its
    weights prepacked. Leaves: that function under the name `ONE`, and a `main` [N, ...] which
    calls it with [1, ...] of each sample and concatenates the outputs along their first axis.
    Another module stays as it was.
    """

    def join(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        size = samples_per_inference(module)
        return module if size == 1 else _joined(module, size)

    return tvm.transform.module_pass(join, opt_level=2, name="JoinBatch")


def _joined(module: tvm.IRModule, size: int) -> tvm.IRModule:
    name = module.get_global_var("main")
    one = module["main"].with_attr("global_symbol", ONE)
    whole = module.clone()
    del whole[name]
    builder = relax.BlockBuilder(whole)
    callee = builder.add_func(one, ONE)
    batch = tvm_versions.with_batch_size(one.params[0], size)
    with builder.function("main", [batch]):
        outputs = []
        for number in range(size):
            sample = builder.emit(relax.op.strided_slice(batch, [0], [number], [number + 1]))
            outputs.append(builder.emit(relax.Call(callee, [sample])))
        builder.emit_func_output(_concatenated(builder, outputs))
    return builder.get()


def _concatenated(builder: Any, found: list[Any]) -> Any:
    """The outputs of all samples as those of the batch: a tensor, or several."""
    described = tvm_versions.type_of(found[0])
    if not hasattr(described, "fields"):
        return builder.emit(relax.op.concat(found, axis=0))
    joined = []
    for number in range(len(described.fields)):
        parts = [builder.emit(relax.TupleGetItem(one, number)) for one in found]
        joined.append(builder.emit(relax.op.concat(parts, axis=0)))
    return relax.Tuple(joined)


def _batch_size(main: Any) -> int:
    """The batch size of a function of one tensor."""
    if len(main.params) != 1:
        raise _NotSeparableError
    shape = _shape(main.params[0])
    return shape[0] if shape else 1


def _shape(value: Any) -> list[int]:
    """A tensor's shape, all of it known."""
    try:
        return tvm_versions.shape(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise _NotSeparableError from error


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
    _require(channels > 0)
    return made, channels, math.prod(weights) // channels


def _of_product(call: Any) -> _Inner:
    made, left = _shape(call), _shape(call.args[0])
    _require(len(made) > 0 and made[-1] > 0)
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
            _NotSeparableError: there is none that is known to be the same.
        """
        (batch,) = self.main.params
        one = tvm_versions.with_batch_size(batch, 1)
        self.values[batch] = one
        found = one
        with self.builder.function("main", [one]):
            with self.builder.dataflow():
                # the builder wants its blocks ended, also where there is none of one sample
                with suppress(_NotSeparableError):
                    for block in self.main.body.blocks:
                        for binding in block.bindings:
                            self._bound(binding)
                    found = self._output(self.main.body.body)
                made = self.builder.emit_output(found)
            self.builder.emit_func_output(made)
        if found is one:
            raise _NotSeparableError
        return self.builder.get()["main"]

    def _output(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._output(field) for field in value.fields])
        if not self.varies(value):
            raise _NotSeparableError
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
            raise _NotSeparableError
        arguments = [self._one(argument) for argument in rule(self, call)]
        made = self.builder.emit(relax.Call(call.op, arguments, call.attrs))
        first, *rest = shape
        if first != self.size or _shape(made) != [1, *rest]:
            raise _NotSeparableError
        return made

    def _one(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._one(field) for field in value.fields])
        return self.values.get(value, value) if isinstance(value, relax.Var) else value


def _require(true: bool) -> None:
    if not true:
        raise _NotSeparableError


def _not_first(axes: Any, rank: int) -> None:
    """Axes, or one, that are given and not the samples'."""
    _require(axes is not None)
    listed = list(axes) if hasattr(axes, "__len__") else [axes]
    _require(all(int(axis) % rank != 0 for axis in listed))


def _first_alone(one: _OneSample, call: Any) -> list[Any]:
    """Of the arguments only the first has samples."""
    data, *others = call.args
    _require(one.varies(data) and not any(one.varies(other) for other in others))
    return list(call.args)


def _each_value(one: _OneSample, call: Any) -> list[Any]:
    """Value by value: what has no samples is the same for each of them."""
    rank = len(_shape(call))
    for argument in call.args:
        if not isinstance(argument, relax.Var) and not tvm_versions.is_constant(argument):
            continue  # a bound of clip: a number
        shape = _shape(argument)
        if one.varies(argument):
            _require(len(shape) == rank)
        else:
            _require(len(shape) < rank or shape[0] == 1)
    return list(call.args)


def _image(one: _OneSample, call: Any) -> list[Any]:
    """Windows over images, samples being the first axis."""
    layouts = [str(getattr(call.attrs, name, "")) for name in ("data_layout", "layout")]
    _require(any(layout.startswith("N") for layout in layouts))
    return _first_alone(one, call)


def _product(one: _OneSample, call: Any) -> list[Any]:
    """Matrices of samples, or their rows, times one matrix for all; or matrices by matrices."""
    left, right = call.args
    if one.varies(right):
        _require(one.varies(left) and len(_shape(left)) == len(_shape(right)) > 2)
    else:
        _require(len(_shape(left)) > 1 and len(_shape(right)) == 2)
    return list(call.args)


def _along_other_axes(one: _OneSample, call: Any) -> list[Any]:
    """Along axes that are not the samples'."""
    arguments = _first_alone(one, call)
    axes = call.attrs.axes if call.op.name == "relax.nn.layer_norm" else call.attrs.axis
    _not_first(axes, len(_shape(arguments[0])))
    return arguments


def _added_axis(one: _OneSample, call: Any) -> list[Any]:
    _not_first(call.attrs.axis, len(_shape(call)))
    return _first_alone(one, call)


def _concatenation(one: _OneSample, call: Any) -> list[Any]:
    _require(isinstance(call.args[0], relax.Tuple))
    fields = call.args[0].fields
    _require(all(one.varies(field) for field in fields))
    _not_first(call.attrs.axis, len(_shape(fields[0])))
    return list(call.args)


def _transposed(one: _OneSample, call: Any) -> list[Any]:
    axes = call.attrs.axes
    _require(axes is not None and int(axes[0]) % len(axes) == 0)
    return _first_alone(one, call)


def _reshaped(one: _OneSample, call: Any) -> list[Any]:
    """Each sample by itself: the first axis is the samples' before and after."""
    data, _ = call.args
    made = _shape(call)
    _require(one.varies(data) and made[0] == one.size)
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
    _along_other_axes: (
        "dequantize max mean min nn.layer_norm nn.log_softmax nn.prelu nn.softmax quantize "
        "squeeze sum"
    ),
    _concatenation: "concat",
    _added_axis: "expand_dims",
    _product: "matmul",
    _transposed: "permute_dims",
    _reshaped: "reshape",
}
_KNOWN = {f"relax.{name}": rule for rule, names in _RULES.items() for name in names.split()}

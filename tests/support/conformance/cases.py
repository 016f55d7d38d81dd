"""ONNX's own backend cases, as a real graph holds them: axes, shapes and sizes as constants.

What is no inference of tensors is left out, by what stands in the graph: training, sequences, maps,
strings, optionals, and outputs that are drawn at random.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from toolchain.formats import onnx_reference

Array = npt.NDArray[Any]

# Inputs that exporters write as constants, by their index: what they say decides shapes.
CONSTANT_INPUTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
} | {f"Reduce{kind}": (1,) for kind in (
    "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
)}  # fmt: skip
TRAINING = {"Adagrad", "Adam", "Gradient", "Momentum", "NegativeLogLikelihoodLoss",
            "SoftmaxCrossEntropyLoss"}  # fmt: skip
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
          "RandomUniformLike"}  # fmt: skip
OTHER_VALUES = {"ImageDecoder", "StringConcat", "StringNormalizer", "StringSplit",
                "RegexFullMatch", "TfIdfVectorizer", "LabelEncoder"}  # fmt: skip

# ONNX's reference divides by a size that is no whole number there; ONNX Runtime, by which networks
# are checked, and PyTorch, from which they come, by the size that the output has.
BY_ONNX_RUNTIME = {"test_resize_downsample_scales_cubic_align_corners",
                   "test_resize_downsample_scales_linear_align_corners"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        name: as ONNX names it.
        operator: of its first node, before anything was taken apart.
        model: with constants where exporters have them.
        inputs: those that are left, by name, in the graph's order.
        outputs: what is right, in the graph's order.
        rtol: relative tolerance of the case itself.
        atol: absolute tolerance of the case itself.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: dict[str, Array]
    outputs: list[Array]
    rtol: float
    atol: float


@functools.cache
def every() -> tuple[Case, ...]:
    """The cases of inference, sorted by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX makes infinities on purpose
        tests = load_model_tests(kind="node")
    return tuple(sorted(_cases(tests), key=lambda case: case.name))


@functools.cache
def _by_name() -> dict[str, Case]:
    return {case.name: case for case in every()}


def named(name: str) -> Case:
    """The case of that name."""
    return _by_name()[name]


def _cases(tests: list[Any]) -> Iterator[Case]:
    for test in tests:
        model: onnx.ModelProto = test.model
        if not is_inference(model):
            continue
        given, right = test.data_sets[0]
        names = [value.name for value in model.graph.input]
        inputs = dict(zip(names, map(_array, given), strict=False))
        outputs = [_array(value) for value in right]
        if test.name in BY_ONNX_RUNTIME:
            outputs = list(onnx_reference.run(model, inputs))
        yield with_constants(test.name, model, inputs, outputs, test.rtol, test.atol)


def _array(value: Any) -> Array:
    """A value of a case, which holds types that NumPy lacks as tensors of ONNX."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    array: Array = np.asarray(value)
    return array


def is_inference(model: onnx.ModelProto) -> bool:
    """Whether a graph computes tensors of tensors, the same each time."""
    graph = model.graph
    nodes = list(_nodes(graph))
    kinds = {node.op_type for node in nodes}
    if kinds & (TRAINING | RANDOM | OTHER_VALUES) or any(_of_sequences(kind) for kind in kinds):
        return False
    if any(node.domain not in ("", "ai.onnx") for node in nodes):
        return False
    values = [*graph.input, *graph.output]
    if any(not value.type.HasField("tensor_type") for value in values):
        return False
    if any(value.type.tensor_type.elem_type == TensorProto.STRING for value in values):
        return False
    return not any(_trains(node, model) for node in nodes)


def _of_sequences(kind: str) -> bool:
    return ("Sequence" in kind and kind != "ReverseSequence") or "Optional" in kind


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _trains(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Dropout that drops, and batch norm that learns."""
    if node.op_type == "BatchNormalization":
        return any(a.name == "training_mode" and a.i for a in node.attribute)
    return node.op_type == "Dropout" and len(node.input) == 3 and bool(node.input[2])


def with_constants(
    name: str,
    model: onnx.ModelProto,
    inputs: dict[str, Array],
    outputs: list[Array],
    rtol: float,
    atol: float,
) -> Case:
    """A case whose shape-deciding inputs are initializers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    fixed = {
        node.input[index]
        for node in graph.node
        for index in CONSTANT_INPUTS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in inputs
    }
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        fixed |= {n for node in graph.node for n in list(node.input)[1:3] if n in inputs}
    # through the nodes of an expanded function: a constant input reaches what decides shapes
    fixed |= _shape_inputs(changed, inputs)
    for value in [value for value in graph.input if value.name in fixed]:
        graph.initializer.append(numpy_helper.from_array(inputs[value.name], value.name))
        graph.input.remove(value)
    return Case(
        name=name,
        operator=_operator(name, model),
        model=changed,
        inputs={n: v for n, v in inputs.items() if n not in fixed},
        outputs=outputs,
        rtol=rtol,
        atol=atol,
    )


def _shape_inputs(model: onnx.ModelProto, inputs: dict[str, Array]) -> set[str]:
    """Small inputs from which a shape is computed: a few integers, or a number."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()

    def follow(name: str, seen: set[str]) -> None:
        if name in seen:
            return
        seen.add(name)
        if name in inputs:
            whole = inputs[name].dtype.kind in "iub"
            if inputs[name].size <= (8 if whole else 1):
                found.add(name)
        elif name in makers and makers[name].op_type != "Shape":
            for source in makers[name].input:
                follow(source, seen)

    for node in model.graph.node:
        for index in CONSTANT_INPUTS.get(node.op_type, ()):
            if index < len(node.input):
                follow(node.input[index], set())
    return found


def _operator(name: str, model: onnx.ModelProto) -> str:
    """What a case is of: an expanded function's name stands in the case's name alone."""
    if "_expanded" not in name:
        return str(model.graph.node[0].op_type) if model.graph.node else "Identity"
    return "functions, expanded"

"""An ONNX graph: read, refused where it can't be used, its batch fixed, run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import shape_inference
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from toolchain.core.errors import ModelError
from toolchain.formats import onnx_reference
from toolchain.formats.network import Network, Shape
from toolchain.formats.shapes import fixed_shape, refuse_unless_one


class OnnxNetwork(Network):
    """An ONNX graph that was read.

    Args:
        model: from `load`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.shape: Shape = tuple(_described(model.graph.input[0])[1])

    def run(self, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """All samples through it, by ONNX Runtime."""
        return run(self.model, x, batch)

    def to_onnx(self, shape: tuple[int, ...], name: str) -> onnx.ModelProto:
        """The graph with its batch fixed, under its own name."""
        del name
        return with_batch(self.model, shape[0])


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its weights.

    Raises:
        ModelError: it isn't one, breaks ONNX's rules, or has several inputs or outputs.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own, which differs with its implementation
        raise _not_onnx(path, str(error)) from error
    if not model.graph.node:
        raise _not_onnx(path, "it has no operators")
    model = shape_inference.infer_shapes(model)  # an output's shape may be left out
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{path.name} breaks ONNX's rules",
            detail=str(error).strip(),
            resolution="export the model again; an operator of your own can't be used",
        ) from error
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    refuse_unless_one("input", [_described(value) for value in model.graph.input])
    refuse_unless_one("output", [_described(value) for value in model.graph.output])
    return model


def rounds(model: onnx.ModelProto) -> bool:
    """Whether it rounds activations to integers while it runs."""
    return any(n.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for n in model.graph.node)


def external_weights(path: Path) -> list[Path]:
    """The files that hold an ONNX model's weights, in its folder or below it, sorted.

    Raises:
        ModelError: it is no ONNX model, or one of them isn't there or is outside of the folder.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, which differs with its implementation
        raise _not_onnx(path, str(error)) from error
    names = {
        ExternalDataInfo(tensor).location
        for tensor in _tensors(model.graph)
        if uses_external_data(tensor)
    }
    files = sorted(path.parent / name for name in names)
    for file in files:
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise ModelError(
                f"{path.name} names a file outside of its folder",
                detail=f"its weights would be read from {file}",
                resolution="a model's files stand beside it; take one from somebody that you trust",
            )
        if not file.is_file():
            raise ModelError(
                f"{path.name}: its weights are in {file.name}, which isn't beside it",
                resolution=f"copy {file.name} into the folder of {path.name}",
            )
    return files


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        yield from ([attribute.t] if attribute.HasField("t") else attribute.tensors)
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _tensors(inner)


def _not_onnx(path: Path, detail: str) -> ModelError:
    """The error for a file that no ONNX model can be read from."""
    return ModelError(
        f"{path.name} is not an ONNX model, or was cut short",
        detail=detail,
        resolution="copy it again, or export the model again; onnx.checker.check_model says more",
    )


def _described(value: onnx.ValueInfoProto) -> tuple[str, Sequence[int | str | None], str]:
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return value.name, [d or None for d in dims], {"float": "float32"}.get(kind, kind)


def input_shape(model: onnx.ModelProto, batch: int) -> tuple[int, ...]:
    """The input's shape with the batch filled in, as `shapes.fixed_shape`."""
    return fixed_shape(_described(model.graph.input[0])[1], batch)


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy whose input, and all that follows from it, has that batch.

    Raises:
        ModelError: as `input_shape`, or the output's shape doesn't follow from the input's.
    """
    fixed = copy.deepcopy(model)
    shape = input_shape(model, batch)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    # Shapes that were recorded with an open batch would contradict it.
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(fixed, data_prop=True)
    if not inferred.graph.output[0].type.tensor_type.HasField("shape"):
        return _with_output_shape(inferred, shape)
    if not all(isinstance(d, int) for d in _described(inferred.graph.output[0])[1]):
        return _with_output_shape(inferred, shape)
    return inferred


def _with_output_shape(model: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model with the output's shape as found by running it."""
    found = run(model, np.zeros(shape, np.float32), shape[0]).shape
    output = model.graph.output[0]
    output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, found))
    return model


def run(model: onnx.ModelProto, x: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
    """All samples through an ONNX model, by ONNX Runtime on one thread.

    Raises:
        ModelError: ONNX Runtime can't run it.
    """
    name = model.graph.input[0].name
    try:
        session = onnx_reference.session(model)
        pieces = [
            session.run(None, {name: x[start : start + batch]})[0]
            for start in range(0, len(x), batch)
        ]
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ModelError(
            "ONNX Runtime can't run the model",
            detail=str(error),
            resolution="export it again with a newer exporter or an opset of at most 21, or with "
            "a batch fixed at the one asked for",
        ) from error
    return np.concatenate(pieces)

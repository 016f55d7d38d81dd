"""An ONNX graph: read, refused where it can't be used, its batch fixed, run."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import shape_inference
from onnx.external_data_helper import uses_external_data

from toolchain.core.errors import ModelError
from toolchain.formats import half_floats, onnx_reference
from toolchain.formats.graphs import onnx_constants, onnx_values
from toolchain.formats.network import Network
from toolchain.formats.rounding import onnx_parameters
from toolchain.formats.shapes import Shapes
from toolchain.formats.signature import Signature, Tensor

if TYPE_CHECKING:
    import onnxruntime

    from toolchain.formats.network import Array, Arrays

# operators that round while they run, or take what is rounded; beside all named QLinear...
ROUNDING = {
    *("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
    *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat", "QGemm"),
}
ROUNDS = "edgewright.rounds"  # metadata of a graph that was made of one that rounds

INTEGERS, FLOAT32 = "integers", "float32"

LARGEST = 2**31 - 1  # bytes of one protocol buffer, which every library takes a graph as
# What ONNX and its tensors raise where a node has too few inputs, or a constant too few bytes.
UNREADABLE = (
    AttributeError, IndexError, TypeError, ValueError, shape_inference.InferenceError,
)  # fmt: skip


class OnnxNetwork(Network):
    """An ONNX graph that was read.

    Args:
        model: from `load`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.signature = signature(model)
        self._session: onnxruntime.InferenceSession | None = None

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """By ONNX Runtime."""
        if self._session is None:
            self._session = session(self.model)
        return run(self._session, feeds)

    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """The graph with its shapes fixed, under its own name.

        Where ONNX Runtime takes it only as it is, it stays so: an exporter's If has a branch for
        each rank, and ONNX Runtime refuses the one that contradicts what is known.
        """
        del name
        try:
            fixed = with_shapes(self.model, inputs)
            session(fixed)
        except ModelError:
            session(self.model)
            return self.model
        return fixed

    def holding(self, constants: Mapping[str, Any]) -> OnnxNetwork:
        """The graph with these inputs as constants of their own type."""
        return OnnxNetwork(onnx_constants.held(self.model, constants))

    def known_shapes(self, batch: int) -> Shapes:
        """Of a detector that Ultralytics exported: it says the size of its images."""
        return exported_size(self.model, self.signature, batch)


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its weights.

    Raises:
        ModelError: it isn't one, breaks ONNX's rules, or has a quantisation parameter that can't be
            one.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own, which differs with its implementation
        raise _not_onnx(path, str(error)) from error
    if not model.graph.node:
        raise _not_onnx(path, "it has no operators")
    try:
        model = shape_inference.infer_shapes(model)  # an output's shape may be left out
        onnx_parameters.check(model, path.name)
    except UNREADABLE as error:
        raise _not_onnx(path, str(error)) from error
    try:
        _check(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{path.name} breaks ONNX's rules",
            detail=str(error).strip(),
            resolution="export the model again; an operator of your own can't be used",
        ) from error
    _describe_outputs(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def _check(model: onnx.ModelProto) -> None:
    """Hold a model to ONNX's rules, but for outputs whose shape is not said.

    Exporters leave it out where arithmetic over shapes makes it, and ONNX's checker alone minds.

    Raises:
        onnx.checker.ValidationError: it breaks them.
    """
    unsaid = _outputs_without_shape(model)
    for value in unsaid:
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(model)
    for value in unsaid:
        value.type.tensor_type.ClearField("shape")


def _outputs_without_shape(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [
        value
        for value in model.graph.output
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]


def _describe_outputs(model: onnx.ModelProto) -> None:
    """Give outputs without a shape the one that ONNX Runtime finds by folding, where it finds one.

    Raises:
        ModelError: ONNX Runtime can't load the model; the error names the node.
    """
    unsaid = _outputs_without_shape(model)
    if not unsaid:
        return
    found = {output.name: output.shape for output in session(model).get_outputs()}
    for value in unsaid:
        if found[value.name]:  # else a scalar, or what only an inference shows
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, found[value.name]))


def rounds(model: onnx.ModelProto) -> bool:
    """Whether it rounds activations to integers while it runs, or works on rounded ones."""
    said = any(one.key == ROUNDS for one in model.metadata_props)
    return said or any(
        node.op_type in ROUNDING or node.op_type.startswith("QLinear") for node in model.graph.node
    )


def arithmetic(model: onnx.ModelProto) -> str:
    """What the activations of a graph are: "integers", "float32", "float16" or "bfloat16"."""
    return INTEGERS if rounds(model) else half_floats.kind(model) or FLOAT32


def say_rounds(model: onnx.ModelProto) -> None:
    """Write into a graph that its source rounds, where its own operators may not say so."""
    if not any(one.key == ROUNDS for one in model.metadata_props):
        model.metadata_props.add(key=ROUNDS, value="1")


def external_weights(path: Path) -> list[Path]:
    """The files that hold an ONNX model's weights, in its folder or below it, sorted.

    Raises:
        ModelError: it is no ONNX model, or one of them isn't there or is outside of the folder, or
            all are more than an ONNX file can hold.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, which differs with its implementation
        raise _not_onnx(path, str(error)) from error
    # by the raw entries: onnx's own reader of them fails on numbers that are none
    names = {
        entry.value
        for tensor in _tensors(model)
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = sorted(_beside(path, name) for name in names)
    sizes = {file: file.stat().st_size for file in (path, *files)}
    if sum(sizes.values()) > LARGEST:
        raise ModelError(
            f"{path.name}: a network of more than 2 GiB can't be converted",
            detail="\n".join(f"{f.name}: {size / 2**30:.2f} GiB" for f, size in sizes.items()),
            resolution="make it smaller; ONNX and TensorFlow Lite hold no more in a file",
        )
    return files


def _beside(path: Path, name: str | bytes) -> Path:
    """The file of a name that stands in a model, which may be any bytes."""
    try:
        file = path.parent / str(name)
        inside = file.resolve().is_relative_to(path.parent.resolve())
        there = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # no name at all, or links in a circle
        raise ModelError(
            f"{path.name} names a file that can't be there",
            detail=repr(name)[:200],
            resolution="copy it again, or export the model again",
        ) from error
    if not inside:
        raise ModelError(
            f"{path.name} names a file outside of its folder",
            detail=f"its weights would be read from {file}",
            resolution="a model's files stand beside it; take one from somebody that you trust",
        )
    if not there:
        raise ModelError(
            f"{path.name}: its weights are in {file.name}, which isn't beside it",
            resolution=f"copy {file.name} into the folder of {path.name}",
        )
    return file


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, wherever it stands: graphs in nodes, functions, sparse ones too."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(inner)


def _not_onnx(path: Path, detail: str) -> ModelError:
    """The error for a file that no ONNX model can be read from."""
    return ModelError(
        f"{path.name} is not an ONNX model, or was cut short",
        detail=detail,
        resolution="copy it again, or export the model again; onnx.checker.check_model says more",
    )


def signature(model: onnx.ModelProto) -> Signature:
    """A graph's inputs and outputs.

    Raises:
        ModelError: one is no tensor, of no type that a runtime takes, or an input's rank is open.
    """
    for value in model.graph.input:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"the model's input {value.name} has no fixed number of dimensions",
                resolution="export it with a shape for each input; sizes may be open",
            )
    return Signature(
        inputs=tuple(onnx_values.described(value) for value in model.graph.input),
        outputs=tuple(onnx_values.described(value) for value in model.graph.output),
    )


def exported_size(model: onnx.ModelProto, of: Signature, batch: int) -> dict[str, tuple[int, ...]]:
    """The shape of the image that Ultralytics' exporter wrote into its metadata (`imgsz`).

    Where the graph has one image as its input, channels first, of an open height and width.
    """
    said = {p.key: p.value for p in model.metadata_props}.get("imgsz", "")
    sides = [int(number) for number in re.findall(r"\d+", said)]
    if len(of.inputs) != 1 or len(of.inputs[0].dims) != 4 or len(sides) != 2:
        return {}
    image = of.inputs[0]
    if all(isinstance(d, int) for d in image.dims[2:]) or not isinstance(image.dims[1], int):
        return {}
    first = image.dims[0] if isinstance(image.dims[0], int) else batch
    return {image.name: (first, image.dims[1], *sides)}


def with_shapes(model: onnx.ModelProto, inputs: Sequence[Tensor]) -> onnx.ModelProto:
    """A copy whose inputs, and all that follows from them, have these shapes.

    Args:
        model: the graph.
        inputs: all of its inputs, in its order.

    Raises:
        ModelError: a node contradicts the shapes; the error names it.
    """
    inferred = shape_inference.infer_shapes(sized(model, inputs), data_prop=True)
    if all(_is_fixed(value) for value in inferred.graph.output):
        return inferred
    return _with_output_shapes(inferred, inputs)


def sized(model: onnx.ModelProto, inputs: Sequence[Tensor]) -> onnx.ModelProto:
    """A copy whose inputs have these shapes, with nothing said of what follows from them.

    Args:
        model: the graph.
        inputs: some of its inputs, by name.
    """
    shapes = {tensor.name: tensor.shape for tensor in inputs}
    fixed = copy.deepcopy(model)
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes.get(value.name, ()), strict=value.name in shapes):
            dim.dim_value = size
    # Shapes that were recorded with open sizes would contradict these.
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return fixed


def is_open(model: onnx.ModelProto) -> bool:
    """Whether a graph leaves a size of an input open."""
    return not all(_is_fixed(value) for value in model.graph.input)


def _is_fixed(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.HasField("shape") and all(
        isinstance(d, int) for d in onnx_values.described(value).dims
    )


def _with_output_shapes(model: onnx.ModelProto, inputs: Sequence[Tensor]) -> onnx.ModelProto:
    """The model with its outputs' shapes as found by running it."""
    zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in inputs}
    found = run(session(model), zeros)
    for output in model.graph.output:
        array = found[output.name]
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, array.shape))
    return model


def ordered(
    model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """The graph with its inputs and outputs in the order of these names, all of which it has."""
    for values, names in ((model.graph.input, inputs), (model.graph.output, outputs)):
        by = {value.name: value for value in map(copy.deepcopy, values)}
        del values[:]
        values.extend(by[name] for name in names)
    return model


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime's session of a graph, on one thread.

    Raises:
        ModelError: ONNX Runtime can't load it; the error names the node.
    """
    try:
        return onnx_reference.session(model)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise onnx_values.cant_run(error) from error


def run(of: onnxruntime.InferenceSession, feeds: Arrays) -> dict[str, Array]:
    """One inference.

    Args:
        of: from `session`.
        feeds: an array for each input.

    Returns:
        an array for each output.

    Raises:
        ModelError: ONNX Runtime can't run it; the error names the node.
    """
    names = [output.name for output in of.get_outputs()]
    try:
        return dict(zip(names, map(np.asarray, of.run(names, dict(feeds))), strict=True))
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise onnx_values.cant_run(error) from error

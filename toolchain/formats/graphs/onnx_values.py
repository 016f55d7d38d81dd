"""Inputs and outputs of an ONNX graph as it says them, and what ONNX Runtime says of a graph."""

from __future__ import annotations

import re

import onnx

from toolchain.core.errors import ModelError
from toolchain.formats.signature import OpenTensor


def described(value: onnx.ValueInfoProto) -> OpenTensor:
    """An input or output, with the type that it has however it is called."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return OpenTensor(name=value.name, dims=(), dtype=f"a {str(kind).removesuffix('_type')}")
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    dtype = {"float": "float32", "double": "float64"}.get(name, name)
    known = tuple(None if _is_unknown(d) else d for d in dims)
    return OpenTensor(name=value.name, dims=known, dtype=dtype)


def _is_unknown(dim: int | str) -> bool:
    """Whether a size is one that an exporter didn't know: 0, -1, "?", and tf2onnx's numbers.

    tf2onnx gives each a name of its own (unk__12), also where two are always the same, as batches.
    """
    return dim <= 0 if isinstance(dim, int) else re.fullmatch(r"\??|unk__\d+", dim) is not None


def cant_run(error: Exception) -> ModelError:
    """The error of a graph that ONNX Runtime doesn't take, which names the node."""
    return ModelError(
        "ONNX Runtime can't run the model",
        detail=str(error),
        resolution="where a node contradicts the sizes, give others with --shape or --batch; else "
        "export the model again with a newer exporter or an opset of at most 21",
    )

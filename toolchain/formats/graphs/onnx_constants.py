"""Inputs of an ONNX graph that are held at a value, and the branches that they choose."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from toolchain.core.errors import UsageError
from toolchain.formats import onnx_reference
from toolchain.formats.graphs import onnx_values


def held(model: onnx.ModelProto, constants: Mapping[str, Any]) -> onnx.ModelProto:
    """A copy of a graph in which inputs are constants, and branches that they choose are chosen.

    ONNX Runtime 1.31 dies of a graph in which a branch that is never taken contradicts known sizes,
    so no such branch is left.

    Args:
        model: the graph.
        constants: a number, a truth value or nested lists for each input, by name.

    Raises:
        UsageError: there is no such input, or it takes no such value.
    """
    made = copy.deepcopy(model)
    by = {value.name: value for value in made.graph.input}
    for name, value in constants.items():
        if name not in by:
            raise UsageError(
                f"[constants] {name}: the model has no such input",
                resolution=f"it has: {', '.join(by)}",
            )
        kind = by[name].type.tensor_type
        dims = onnx_values.described(by[name]).dims
        try:
            array = np.array(value, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            if array.ndim == 0 and all(isinstance(dim, int) for dim in dims):
                array = np.full([dim for dim in dims if isinstance(dim, int)], array)
        except (TypeError, ValueError, OverflowError, KeyError) as error:
            raise UsageError(f"[constants] {name} can't be {value}", detail=str(error)) from error
        fits = len(dims) == array.ndim and all(
            not isinstance(dim, int) or dim == size
            for dim, size in zip(dims, array.shape, strict=False)
        )
        if not fits:
            shape = "x".join(map(str, array.shape)) or "scalar"
            raise UsageError(
                f"[constants] {name} is {shape}, and the model's input is "
                f"{'x'.join('?' if d is None else str(d) for d in dims) or 'scalar'}"
            )
        made.graph.initializer.append(numpy_helper.from_array(array, name))
        made.graph.input.remove(by[name])
    return _chosen(made) if any(node.op_type == "If" for node in made.graph.node) else made


def _chosen(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without its branches of a known condition, by ONNX Runtime.

    Raises:
        ModelError: ONNX Runtime can't load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simplified.onnx"
        try:
            onnx_reference.session(model, path)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise onnx_values.cant_run(error) from error
        return onnx.load(path)

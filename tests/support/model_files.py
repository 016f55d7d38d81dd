"""Model files that look like what they say, and are none inside."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def a_keras_file(path: Path, content: str = "a") -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", content)
    path.write_bytes(buffer.getvalue())
    return path


def an_onnx_model(location: str = "net.data", **more: str) -> onnx.ModelProto:
    """A graph with weights beside it, in a constant of a graph inside a node too."""

    def weights() -> onnx.TensorProto:
        tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
        for key, value in more.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        return tensor

    constant = helper.make_node("Constant", [], ["c"], value=weights())
    inner = helper.make_graph([constant], "inner", [], [], [weights()])
    node = helper.make_node("Relu", ["x"], ["y"])
    node.attribute.append(helper.make_attribute("body", inner))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", 4)) for n in "xy")
    return helper.make_model(helper.make_graph([node], "net", [x], [y], [weights()]))


def a_program() -> bytes:
    """An archive as .pt2 files are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/weight_0", bytes(64))
    return buffer.getvalue()

"""A made-up kind of model file: one matrix in an .npz, which its input is multiplied by."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.formats import Format
from toolchain.formats.network import Network
from toolchain.formats.signature import OpenTensor, Signature, Tensor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

    from toolchain.formats.network import Array, Arrays


@dataclass(frozen=True, kw_only=True)
class _Matrix(Format):
    def begins_right(self, path: Path, head: bytes) -> bool:
        del head
        return zipfile.is_zipfile(path)

    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        import numpy as np

        self.refuse_signature(signature)
        progress("reading the matrix")
        with np.load(path, allow_pickle=False) as arrays:
            return MatrixNetwork(arrays["matrix"])


class MatrixNetwork(Network):
    """The matrix that was read, (inputs, outputs)."""

    def __init__(self, matrix: npt.NDArray[np.float32]) -> None:
        self.matrix = matrix
        rows, columns = matrix.shape
        self.signature = Signature(
            inputs=(OpenTensor(name="input", dims=(None, rows)),),
            outputs=(OpenTensor(name="output", dims=(None, columns)),),
        )

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """One product."""
        return {"output": feeds["input"] @ self.matrix}

    def to_onnx(self, inputs: Sequence[Tensor], name: str) -> onnx.ModelProto:
        """One MatMul."""
        from onnx import TensorProto, checker, helper, numpy_helper

        shape = inputs[0].shape
        outputs = (shape[0], self.matrix.shape[1])
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["input", "matrix"], ["output"])],
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)],
            [numpy_helper.from_array(self.matrix, "matrix")],
        )
        opsets = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        checker.check_model(made)
        return made


FORMAT = _Matrix(
    name="npznet",
    title=".npznet",
    suffixes=(".npznet",),
    export="save it with numpy.savez: one array, named matrix",
)

"""Whether the compiler imports a graph, in the worker: TVM is imported there alone."""

from __future__ import annotations

import onnx

from toolchain.compile import onnx_import, onnx_simplify
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.inspection.requests import ImportRequest


def check(request: ImportRequest, progress: Progress) -> str:
    """Why the graph is not imported, by operator and node; empty when it is."""
    progress("importing the ONNX graph")
    try:
        onnx_import.from_onnx(onnx_simplify.simplify(onnx.load(request.graph)))
    except ModelError as error:
        return f"{error.brief}: {error.detail.partition(chr(10))[0]}"
    return ""

"""The work of one preparation, in the worker: a graph in operators that TVM's importer knows."""

from __future__ import annotations

import onnx

from toolchain.compile.importing.preparation import PREPARED, PreparationRequest
from toolchain.compile.operators.prepare import prepare
from toolchain.core.errors import EdgewrightError, ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import onnx_graph


def prepare_graph(request: PreparationRequest, progress: Progress) -> None:
    """Fill `folder` with the graph that is imported; the worker's entry.

    Raises:
        ModelError: the graph's shapes or types contradict each other, or a node can't be compiled
            rightly.
    """
    progress("preparing the ONNX graph")
    model = onnx.load(request.onnx)
    if onnx_graph.is_open(model):
        model = onnx_graph.sized(model, request.inputs)
    try:
        prepared = prepare(model)
        if onnx_graph.rounds(model):  # what rounded may be taken apart by now
            onnx_graph.say_rounds(prepared)
    except EdgewrightError:
        raise
    except Exception as error:  # ONNX's own errors have no base of their own
        lines = str(error).strip().splitlines()
        raise ModelError(
            "the ONNX graph contradicts itself",
            detail="\n".join(lines[-3:]),
            resolution="export it again, or use TensorFlow Lite for this model",
        ) from error
    onnx.save(prepared, request.folder / PREPARED)

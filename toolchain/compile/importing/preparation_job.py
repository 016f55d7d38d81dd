"""The work of one preparation, in the worker: a graph in operators that TVM's importer knows."""

from __future__ import annotations

from pathlib import Path

import onnx

from toolchain.compile.importing import dynamic_range
from toolchain.compile.importing.preparation import PREPARED, PreparationRequest
from toolchain.compile.operators.prepare import prepare
from toolchain.core.errors import EdgewrightError, ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.rounding import tflite_network
from toolchain.formats.rounding.tflite_network import NotImportedError


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
    if request.flatbuffer is not None:
        _write_out(model, request.flatbuffer)
    try:
        prepared = prepare(model)
        dynamic_range.carry(model, prepared)
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


def _write_out(model: onnx.ModelProto, flatbuffer: Path) -> None:
    """Write out what the file's hybrid kernels compute, in place, where it can be read."""
    try:
        network = tflite_network.read(flatbuffer.read_bytes())
    except NotImportedError:
        return
    if not network.is_quantised and network.hybrid_layers:
        dynamic_range.write_out(model, network)

"""ONNX to TFLite by onnx2tf, an extra, as a program of its own environment."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from toolchain.core import process
from toolchain.core.errors import CommandError, ModelError
from toolchain.workstation import extras

NAME = "graph"
NESTED = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
# onnx2tf runs each operator on sample images of its own, which it fetches where they are not in its
# folder; what they show doesn't matter
IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"
# a name that onnx2tf finds again: in any other it puts underscores, and then transposes the input
PLAIN = re.compile(r"[A-Za-z]\w*", re.ASCII)


def convert(model: onnx.ModelProto) -> bytes:
    """A graph with a fixed batch as a float32 TFLite model that takes the same inputs.

    What has a name that TensorFlow can't have is called otherwise in it.

    Raises:
        ModelError: onnx2tf isn't installed or can't convert it; the error names the operator.
    """
    python = extras.python("onnx2tf")
    with tempfile.TemporaryDirectory(prefix=f"edgewright-{process.own_name()}-") as folder:
        source = Path(folder) / f"{NAME}.onnx"
        model = plainly_named(model)
        onnx.save(model, source)
        command = [str(python), "-m", "onnx2tf", "-i", str(source), "-o", folder, "--non_verbose"]
        # the inputs as they are: onnx2tf would make them channels-last
        names = [value.name for value in model.graph.input]
        command += ["--keep_shape_absolutely_input_names", *names]
        # its simplifier is another program, which it looks for on the PATH
        command += ["--not_use_onnxsim"]
        images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
        np.save(Path(folder) / IMAGES, images, allow_pickle=False)
        try:
            process.run(command, cwd=Path(folder), env={"PYTHONPATH": ""})
        except CommandError as error:
            raise _failed(model, error.output) from error
        made = Path(folder) / f"{NAME}_float32.tflite"
        if not made.is_file():
            raise _failed(model, "it ended without a file")
        return made.read_bytes()


def plainly_named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose inputs and outputs have names that TensorFlow takes; the same if it has."""
    ends = [
        *(("input", v) for v in model.graph.input),
        *(("output", v) for v in model.graph.output),
    ]
    names = {
        value.name: f"{end}_number_{number}"
        for number, (end, value) in enumerate(ends)
        if not PLAIN.fullmatch(value.name)
    }
    if not names:
        return model
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    _rename(renamed.graph, names)
    return renamed


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values of a graph, in place, and where bodies within it read them."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for used in (node.input, node.output):
            used[:] = [names.get(name, name) for name in used]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.type in NESTED else ():
                _rename(body, names)


def _failed(model: onnx.ModelProto, output: str) -> ModelError:
    """The error for what onnx2tf printed; it names the last operator that it was at."""
    lines = [line for line in output.splitlines() if line.strip()]
    operators = {node.op_type for node in model.graph.node}
    named = [
        word.strip("'\",:;()")
        for line in lines
        for word in line.split()
        if word.strip("'\",:;()") in operators
    ]
    what = f"operator {named[-1]}" if named else "the graph"
    return ModelError(
        f"onnx2tf can't convert {what}",
        detail="\n".join(lines[-8:]),
        resolution="use TVM for this model, or replace that operator",
    )

"""A network run by reference kernels, in the worker: TensorFlow starts there alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.compile.importing.reference_kernels import GIVEN, ReferenceRequest
from toolchain.core.worker import Progress
from toolchain.formats.rounding import tflite_network
from toolchain.formats.rounding.tflite_network import NotImportedError
from toolchain.models import samples_file
from toolchain.samples.sets import Sets, stacked


def run_reference(request: ReferenceRequest, progress: Progress) -> None:
    """Fill `folder`; the worker's entry.

    Raises:
        ModelError: the file is damaged.
    """
    form = request.source.flatbuffer
    assert form is not None
    content = form.file.read_bytes()
    try:
        read = tflite_network.read(content)
        if not (read.is_quantised or read.hybrid_layers):
            return
    except NotImportedError:
        return
    progress("running TensorFlow Lite's reference kernels")
    import tensorflow as tf

    from toolchain.formats.graphs import tensorflow_graph, tflite_graph

    tensorflow_graph.settle()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will be removed in a later TensorFlow
        interpreter = tf.lite.Interpreter(
            model_content=content,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
            num_threads=1,
        )
    try:
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        progress(f"there is no reference kernel: {str(error).strip()}")
        return

    def infer(given: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        made = tflite_graph.run(interpreter, [given[name] for name in form.inputs])
        return dict(zip(form.outputs, made, strict=True))

    arrays = samples_file.inputs(request.samples, request.source.inputs)
    made = stacked(Sets(arrays=arrays, state=request.state).run(infer))
    kept = samples_file.keyed(samples_file.OUTPUT, made)
    np.savez(request.folder / GIVEN, allow_pickle=False, **kept)

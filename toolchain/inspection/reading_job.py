"""Reading a model for an inspection, in the worker: nothing of it is run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx

from toolchain import formats
from toolchain.convert.conversion_job import fixed_inputs
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.worker import Progress
from toolchain.formats import state
from toolchain.inspection import graph_costs
from toolchain.inspection.requests import FILE, FLATBUFFER, Reading, ReadingRequest
from toolchain.models.manifest import GRAPH, TFLITE

if TYPE_CHECKING:
    from toolchain.formats.network import Network
    from toolchain.formats.signature import Tensor


def read(request: ReadingRequest, progress: Progress) -> Reading:
    """Say what a model is; forms that can be imported go to `folder`. The worker's entry.

    Raises:
        UsageError: the kind of file has no such signature, or the model no such state.
        ModelError: the file can't be read.
    """
    spec = request.spec
    assert spec.path is not None
    network = formats.all_formats()[spec.kind].load(spec.path, progress, spec.signature)
    if spec.own is not None and spec.own.constants:
        network = network.holding(spec.own.constants)
    own = None if spec.own is None else spec.own.state
    known = state.known(network.signature, own)
    found = Reading(
        inputs=network.signature.inputs,
        outputs=network.signature.outputs,
        described=network.described(),
        state="" if known is None else str(known),
    )
    try:
        inputs, _ = fixed_inputs(network, spec, request.batch, progress)
    except (ModelError, UsageError) as error:
        said = (error.brief, error.resolution)
        return replace(found, sizes="; ".join(part for part in said if part))
    return _converted(network, found, inputs, request, progress)


def _converted(
    network: Network,
    found: Reading,
    inputs: tuple[Tensor, ...],
    request: ReadingRequest,
    progress: Progress,
) -> Reading:
    """What its forms say, beside what was found."""
    missing, operators, costs, tflite = {}, Counter[str](), None, None
    progress("converting to TensorFlow Lite")
    try:
        tflite = network.to_tflite(inputs)
    except ModelError as error:
        missing[TFLITE] = _why(error)
    progress("converting to ONNX")
    try:
        graph = network.to_onnx(inputs, request.spec.name)
    except ModelError as error:
        missing[GRAPH] = _why(error)
    else:
        onnx.save(graph, request.folder / FILE)
        costs = graph_costs.costs(graph)
        operators = Counter(node.op_type for node in graph.graph.node)
    if network.is_tflite and tflite is not None:
        from toolchain.formats.graphs import tflite_operators  # TensorFlow runs already

        operators = tflite_operators.counted(tflite)
        (request.folder / FLATBUFFER).write_bytes(tflite)
    return replace(
        found,
        fixed=inputs,
        operators=dict(operators.most_common()),
        costs=costs,
        missing=missing,
        by_graph=tflite is None and TFLITE not in missing,
    )


def _why(error: ModelError) -> str:
    reason = error.detail.strip().partition("\n")[0]
    return "; ".join(part for part in (error.brief, reason) if part)

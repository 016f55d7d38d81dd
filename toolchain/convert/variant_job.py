"""The work of making one variant of a network, in the worker.

One of TensorFlow is trained on where it must be, converted to TFLite and compared with the source;
then to ONNX, which is compared with the TFLite form: what that changed is the variant's, what ONNX
changes is a fault. Of any other the ONNX graph is rounded, and compared with the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from toolchain.convert import parity, tflite_binding, tflite_metadata_writer
from toolchain.convert.conversion_job import (
    Reference,
    fixed_inputs,
    opened,
    run_all,
    run_graph,
)
from toolchain.convert.network_metadata import Known
from toolchain.convert.requests import Part, VariantRequest
from toolchain.convert.training import (
    batch_norm_folding,
    pruning_and_clustering,
    quantization_aware,
    weights_file,
)
from toolchain.convert.variants import onnx_halves, onnx_quantization, tflite_settings
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats import keras_file
from toolchain.formats.graphs import onnx_graph, onnx_uses, tensorflow_graph, tflite_graph
from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork
from toolchain.formats.network import Network
from toolchain.formats.signature import Signature, Tensor
from toolchain.models import manifest, samples_file
from toolchain.models.checks import Check
from toolchain.models.manifest import VariantPart
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import VARIANTS, Variant
from toolchain.samples import selection
from toolchain.samples.sets import Sets


def make(request: VariantRequest, progress: Progress) -> None:
    """Fill `folder` with one variant of `spec`; the worker's entry.

    Raises:
        ModelError: it can't be made.
    """
    network, _ = opened(request.spec, request.weights, progress)
    inputs, batch = fixed_inputs(network, request.spec, request.batch, progress)
    source = Reference(
        inputs=inputs,
        samples=Sets(arrays=samples_file.inputs(request.samples, inputs), state=request.state),
        outputs=parity.Outputs(
            tensors=request.outputs,
            arrays=samples_file.outputs(request.samples, request.outputs),
            batch=batch,
        ),
    )
    made = _of_tensorflow if isinstance(network, TensorFlowNetwork) else _of_a_graph
    part = made(request, network, source, progress)
    (request.folder / manifest.VARIANT_FILE).write_text(part.model_dump_json(exclude_none=True))


def _of_a_graph(
    request: VariantRequest, network: Network, source: Reference, progress: Progress
) -> VariantPart:
    """A variant of the ONNX graph, which is compared with the source itself."""
    variant, folder = VARIANTS[request.variant], request.folder
    graph = network.to_onnx(source.inputs, request.spec.name)
    known = None
    if variant.calibrated:
        known = _calibration(request, network, source, onnx_uses.index_limits(graph))
    progress(f"rounding, {variant.name}")
    rounded = (
        onnx_quantization.quantized(graph, variant, source.inputs, known)
        if variant.rounded
        else onnx_halves.halved(graph)
    )
    progress("running it")
    found = run_graph(rounded, source)
    name = f"{variant.name}.onnx"
    (folder / name).write_bytes(rounded.SerializeToString(deterministic=True))
    return VariantPart(
        reference=_kept(folder, variant, found),
        graph=manifest.record(folder, name),
        checks=[parity.measure("onnx", source.outputs, found, variant=variant.name)],
    )


def _of_tensorflow(
    request: VariantRequest, network: Network, source: Reference, progress: Progress
) -> VariantPart:
    """A variant of TensorFlow's own converter, and the graph that is made of it."""
    assert isinstance(network, TensorFlowNetwork)
    spec, variant, inputs = request.spec, VARIANTS[request.variant], source.inputs
    folder = request.folder
    if variant.tuned:
        network = _tuned(spec, network, variant, inputs[0].shape, request.tuned, progress)
    limits: dict[str, int] = {}
    if variant.calibrated and any(not tensor.dtype.startswith("float") for tensor in inputs):
        limits = onnx_uses.index_limits(network.to_onnx(inputs, spec.name))
    known = _calibration(request, network, source, limits) if variant.calibrated else None
    progress(f"converting to TensorFlow Lite, {variant.name}")
    settings = tflite_settings.settings(variant.name, inputs, known)
    tflite = tensorflow_graph.to_tflite(network.graph(inputs), settings)
    name = f"{variant.name}.tflite"
    progress("running it")
    bound = tflite_binding.run(tflite, inputs, source.samples, source.outputs)
    known_of = Known.of(spec, network, inputs, source.outputs)
    (folder / name).write_bytes(
        tflite_metadata_writer.described(tflite, known_of, source.outputs.tensors, bound)
    )
    checks = [parity.measure(manifest.TFLITE, source.outputs, bound.found, variant=variant.name)]
    missing: dict[str, str] = {}
    made = None
    progress("converting to ONNX")
    try:
        model = _graph(spec, network, inputs, variant, folder / name, bound)
        given = replace(source, outputs=replace(source.outputs, arrays=bound.found))
        checks.append(_compared(model, given, variant))
        made = f"{variant.name}.onnx"
        (folder / made).write_bytes(model.SerializeToString(deterministic=True))
    except ModelError as error:
        key = manifest.missing_key(manifest.GRAPH, variant.name)
        missing[key] = f"{error.brief}: {error.detail}".rstrip(": ")
    return VariantPart(
        tflite=manifest.record_tflite(folder, name, bound.inputs, bound.outputs),
        reference=_kept(folder, variant, bound.found),
        graph=manifest.record(folder, made) if made else None,
        checks=checks,
        missing=missing,
    )


def _kept(folder: Path, variant: Variant, found: Mapping[str, Any]) -> manifest.File:
    """What a variant gave here, as a file."""
    arrays = samples_file.keyed(samples_file.OUTPUT, found)
    np.savez(folder / reference_name(variant.name), allow_pickle=False, **arrays)
    return manifest.record(folder, reference_name(variant.name))


def _calibration(
    request: VariantRequest,
    network: Network,
    source: Reference,
    limits: Mapping[str, int],
) -> Sets:
    """What ranges are measured on; a state's are those of what the network gives."""
    inputs, batch = source.inputs, source.batch
    known = selection.calibration(request.spec, inputs, batch, limits, request.state)
    return known if known.state is None else known.fed(run_all(network, known, batch).arrays)


def _graph(
    spec: ModelSpec,
    network: TensorFlowNetwork,
    inputs: tuple[Tensor, ...],
    variant: Variant,
    tflite: Path,
    bound: tflite_binding.Bound,
) -> onnx.ModelProto:
    """A variant's ONNX graph: of its TFLite form where that alone has its numbers.

    Raises:
        ModelError: it can't be made.
    """
    if not variant.rounded and variant.name != "float16":
        return network.to_onnx(inputs, spec.name)
    own = network.signature
    given = {tensor.name: tensor for tensor in own.inputs}
    made = {tensor.name: tensor for tensor in own.outputs}
    in_file = Signature(
        inputs=tuple(given[name] for name in bound.inputs or given),
        outputs=tuple(made[name] for name in bound.outputs or made),
    )
    graph = tflite_graph.to_onnx(tflite, spec.name, in_file)
    return onnx_graph.ordered(graph, list(given), list(made))


def reference_name(variant: str) -> str:
    """The file of what a variant's TFLite form gave here."""
    return f"reference-{variant}.npz"


def _compared(model: onnx.ModelProto, given: Reference, variant: Variant) -> Check:
    found = run_graph(model, given)
    arithmetic = onnx_graph.INTEGERS if variant.rounded else onnx_graph.arithmetic(model)
    return parity.compare("onnx", given.outputs, found, variant=variant.name, arithmetic=arithmetic)


def _tuned(
    spec: ModelSpec,
    network: TensorFlowNetwork,
    variant: Variant,
    shape: tuple[int, ...],
    part: Part,
    progress: Progress,
) -> TensorFlowNetwork:
    """The network trained on; its weights are taken from or put into a folder of their own."""
    assert network.model is not None, spec.kind
    model = batch_norm_folding.fold(network.model)
    if part.found is not None:
        model = quantization_aware.wrapped(model) if variant.name == "qat" else model
        weights_file.read(model, part.found)
    else:
        known = selection.training(spec, shape)
        progress(f"training on: {variant.title}")
        if variant.name == "qat":
            model = quantization_aware.trained(model, known, spec.seed)
        elif variant.name == "pruned":
            pruning_and_clustering.prune(model, known, spec.seed)
        else:
            pruning_and_clustering.cluster(model, known, spec.seed)
        assert part.wanted is not None
        weights_file.write(model, part.wanted)
    return keras_file.network(model)

"""The work of making one variant of a network, in the worker.

Trained on where it must be, converted to TFLite and compared with the source; then to ONNX, which
is compared with the TFLite form: what that changed is the variant's, what ONNX changes is a fault.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolchain.convert import parity, tflite_variants
from toolchain.convert.conversion_job import opened
from toolchain.convert.requests import Part, VariantRequest
from toolchain.convert.training import (
    batch_norm_folding,
    pruning_and_clustering,
    quantization_aware,
    weights_file,
)
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.worker import Progress
from toolchain.formats import keras_file
from toolchain.formats.graphs import onnx_graph, tensorflow_graph, tflite_graph
from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork
from toolchain.formats.shapes import fixed_shape
from toolchain.models import manifest
from toolchain.models.manifest import VariantPart
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import VARIANTS, Variant
from toolchain.samples import selection


def make(request: VariantRequest, progress: Progress) -> None:
    """Fill `folder` with one variant of `spec`; the worker's entry.

    Raises:
        ModelError: it can't be made.
    """
    spec, variant = request.spec, VARIANTS[request.variant]
    batch, folder = request.batch, request.folder
    network, _ = opened(spec, request.weights, progress)
    assert isinstance(network, TensorFlowNetwork)  # as all formats with `has_variants` give
    shape = fixed_shape(network.shape, batch)
    with np.load(request.samples) as arrays:
        x, reference = arrays["x"], arrays["reference"]
    if variant.tuned:
        network = _tuned(spec, network, variant, shape, request.tuned, progress)
    calibration = selection.calibration(spec, shape).x if variant.calibrated else None
    progress(f"converting to TensorFlow Lite, {variant.name}")
    settings = tflite_variants.settings(variant.name, batch, calibration)
    tflite = tensorflow_graph.to_tflite(network.graph(shape), settings)
    name = f"{variant.name}.tflite"
    (folder / name).write_bytes(tflite)
    progress("running it")
    given = tflite_graph.run(tflite, x, batch)
    checks = [parity.measure(manifest.TFLITE, reference, given, variant=variant.name)]
    np.save(folder / reference_name(variant.name), given, allow_pickle=False)
    missing: dict[str, str] = {}
    made = None
    progress("converting to ONNX")
    try:
        model = (
            tflite_graph.to_onnx(folder / name, spec.name)
            if variant.rounded or variant.name == "float16"
            else network.to_onnx(shape, spec.name)
        )
        checks.append(_compared(given, onnx_graph.run(model, x, batch), variant))
        made = f"{variant.name}.onnx"
        (folder / made).write_bytes(model.SerializeToString(deterministic=True))
    except ModelError as error:
        key = manifest.missing_key(manifest.GRAPH, variant.name)
        missing[key] = f"{error.brief}: {error.detail}".rstrip(": ")
    part = VariantPart(
        tflite=manifest.record_tflite(folder, name),
        reference=manifest.record(folder, reference_name(variant.name)),
        graph=manifest.record(folder, made) if made else None,
        checks=checks,
        missing=missing,
    )
    (folder / manifest.VARIANT_FILE).write_text(part.model_dump_json(exclude_none=True))


def reference_name(variant: str) -> str:
    """The file of what a variant's TFLite form gave here."""
    return f"reference-{variant}.npy"


def _compared(
    given: npt.NDArray[np.float32], found: npt.NDArray[np.float32], variant: Variant
) -> manifest.Check:
    return parity.compare("onnx", given, found, variant=variant.name, rounded=variant.rounded)


def _tuned(
    spec: ModelSpec,
    network: TensorFlowNetwork,
    variant: Variant,
    shape: tuple[int, ...],
    part: Part,
    progress: Progress,
) -> TensorFlowNetwork:
    """The network trained on; its weights are taken from or put into a folder of their own."""
    if network.model is None:
        raise UsageError(
            f"{spec.name}: a {spec.kind} can't be trained on, as variant {variant.name} is",
            resolution="give the model as a .keras file",
        )
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

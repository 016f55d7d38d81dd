"""The work of making one variant of a network, in the worker.

Trained on where it must be, converted to TFLite and compared with the source; then to ONNX, which
is compared with the TFLite form: what that changed is the variant's, what ONNX changes is a fault.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.convert import parity
from toolchain.convert.requests import Part, VariantRequest
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.worker import Progress
from toolchain.formats import onnx_file
from toolchain.formats.shapes import fixed_shape
from toolchain.models import manifest
from toolchain.models.manifest import VariantPart
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import VARIANTS, Variant
from toolchain.samples import selection

PART = "variant.json"


def make(request: VariantRequest, progress: Progress) -> None:
    """Fill `folder` with one variant of `spec`; the worker's entry.

    Raises:
        ModelError: it can't be made.
    """
    spec, variant = request.spec, VARIANTS[request.variant]
    batch, folder = request.batch, request.folder
    progress("starting TensorFlow")
    from toolchain.convert import tensorflow_graph
    from toolchain.formats import tensorflow, tflite_file

    tensorflow.settle_tensorflow()
    source = tensorflow.load(spec, request.weights.found, request.weights.wanted)
    shape = fixed_shape(source.shape, batch)
    with np.load(request.samples) as arrays:
        x, reference = arrays["x"], arrays["reference"]
    if variant.tuned:
        source = _tuned(spec, source, variant, shape, request.tuned, progress)
    calibration = selection.calibration(spec, shape).x if variant.calibrated else None
    progress(f"converting to TensorFlow Lite, {variant.name}")
    graph = tensorflow_graph.freeze(source, shape)
    tflite = tensorflow_graph.to_tflite(graph, variant.name, calibration)
    name = f"{variant.name}.tflite"
    (folder / name).write_bytes(tflite)
    progress("running it")
    given = tensorflow_graph.run_tflite(tflite, x, batch)
    checks = [parity.measure("tflite", reference, given, variant=variant.name)]
    np.save(folder / reference_name(variant.name), given, allow_pickle=False)
    missing: dict[str, str] = {}
    made = None
    progress("converting to ONNX")
    try:
        model = (
            tflite_file.to_onnx(folder / name, spec.name)
            if variant.rounded or variant.name == "float16"
            else tensorflow_graph.to_onnx(graph, spec.name)
        )
        checks.append(_compared(given, onnx_file.run(model, x, batch), variant))
        made = f"{variant.name}.onnx"
        (folder / made).write_bytes(model.SerializeToString(deterministic=True))
    except ModelError as error:
        missing[f"tvm {variant.name}"] = f"{error.brief}: {error.detail}".rstrip(": ")
    part = VariantPart(
        tflite=manifest.record_tflite(folder, name),
        reference=manifest.record(folder, reference_name(variant.name)),
        graph=manifest.record(folder, made) if made else None,
        checks=checks,
        missing=missing,
    )
    (folder / PART).write_text(part.model_dump_json(exclude_none=True))


def reference_name(variant: str) -> str:
    """The file of what a variant's TFLite form gave here."""
    return f"reference-{variant}.npy"


def _compared(
    given: npt.NDArray[np.float32], found: npt.NDArray[np.float32], variant: Variant
) -> manifest.Check:
    return parity.compare("onnx", given, found, variant=variant.name, rounded=variant.rounded)


def _tuned(
    spec: ModelSpec,
    source: Any,
    variant: Variant,
    shape: tuple[int, ...],
    part: Part,
    progress: Progress,
) -> Any:
    """The network trained on; its weights are taken from or put into a folder of their own."""
    from toolchain.convert.training import (
        batch_norm_folding,
        pruning_and_clustering,
        quantization_aware,
    )
    from toolchain.formats import tensorflow

    if source.model is None:
        raise UsageError(
            f"{spec.name}: a {spec.kind} can't be trained on, as variant {variant.name} is",
            resolution="give the model as a .keras file",
        )
    model = batch_norm_folding.fold(source.model)
    if part.found is not None:
        model = quantization_aware.wrapped(model) if variant.name == "qat" else model
        tensorflow.read_weights(model, part.found)
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
        tensorflow.write_weights(model, part.wanted)
    return tensorflow.of_keras(model, source.weights)

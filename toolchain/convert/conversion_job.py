"""The work of one conversion, in the worker: read, convert, run, compare, write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from toolchain.convert import onnx2tf, parity
from toolchain.convert.requests import ConversionRequest, Part
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats import onnx_file
from toolchain.formats.shapes import fixed_shape
from toolchain.models.manifest import (
    Check,
    ModelManifest,
    Samples,
    Source,
    Tensor,
    Tflite,
    record,
    record_tflite,
)
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import PLAIN
from toolchain.samples import public_images
from toolchain.samples import selection as inputs

TFLITE_FILE, ONNX_FILE, SAMPLES_FILE = "fp32.tflite", "model.onnx", "samples.npz"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What one kind of source gives; the manifest and samples.npz are made of it."""

    source: Source
    onnx_model: onnx.ModelProto
    tflite: bytes | None
    inputs: public_images.Inputs
    reference: npt.NDArray[np.float32]
    checks: list[Check]
    missing: dict[str, str]


def convert(request: ConversionRequest, progress: Progress) -> None:
    """Fill `folder` with the conversions of `spec`; the worker's entry.

    Raises:
        ModelError: the model can't be read or converted.
    """
    spec, batch, folder = request.spec, request.batch, request.folder
    if spec.kind == "onnx":
        made = _from_onnx(spec, batch, progress)
    elif spec.kind == "pytorch":
        made = _from_pytorch(spec, batch, progress)
    elif spec.kind == "tflite":
        made = _from_tflite(spec, batch, progress)
    else:
        made = _from_tensorflow(spec, batch, progress, request.weights)
    (folder / ONNX_FILE).write_bytes(made.onnx_model.SerializeToString(deterministic=True))
    if made.tflite is not None:
        (folder / TFLITE_FILE).write_bytes(made.tflite)
    _card(spec, batch, folder, made).save(folder)


def _from_tensorflow(
    spec: ModelSpec,
    batch: int,
    progress: Progress,
    weights: Part,
) -> Converted:
    progress("starting TensorFlow")
    from toolchain.convert import tensorflow_graph
    from toolchain.formats import tensorflow

    tensorflow.settle_tensorflow()
    progress("reading the model")
    if weights.wanted is not None and spec.kind == "digits":
        progress("training on scikit-learn's digits")
    source = tensorflow.load(spec, weights.found, weights.wanted)
    shape = fixed_shape(source.shape, batch)
    given = inputs.checked(spec, shape)
    progress("running the source model")
    reference = tensorflow_graph.run_source(source, given.x, batch)
    progress("converting to TensorFlow Lite")
    graph = tensorflow_graph.freeze(source, shape)
    tflite = tensorflow_graph.to_tflite(graph)
    checks = [
        parity.compare("tflite", reference, tensorflow_graph.run_tflite(tflite, given.x, batch))
    ]
    progress("converting to ONNX")
    model = tensorflow_graph.to_onnx(graph, spec.name)
    progress("checking against the source")
    checks.append(parity.compare("onnx", reference, onnx_file.run(model, given.x, batch)))
    return Converted(
        source=Source.model_validate({"kind": source.kind, "weights": source.weights}),
        onnx_model=model,
        tflite=tflite,
        inputs=given,
        reference=reference,
        checks=checks,
        missing={},
    )


def _from_onnx(spec: ModelSpec, batch: int, progress: Progress) -> Converted:
    assert spec.path is not None
    progress("reading the model")
    source = onnx_file.load(spec.path)
    given = inputs.checked(spec, onnx_file.input_shape(source, batch))
    progress("running the source model")
    reference = onnx_file.run(source, given.x, batch)
    return _of_graph(spec, source, batch, given, reference, progress)


def _from_pytorch(spec: ModelSpec, batch: int, progress: Progress) -> Converted:
    assert spec.path is not None
    from toolchain.formats import pytorch_file

    progress("starting PyTorch")
    program = pytorch_file.load(spec.path)
    given = inputs.checked(spec, fixed_shape(pytorch_file.shape(program), batch))
    progress("running the source model")
    reference = pytorch_file.run(program, given.x, batch)
    progress("converting to ONNX")
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        source = pytorch_file.to_onnx(program, Path(scratch))
    return _of_graph(spec, source, batch, given, reference, progress)


def _of_graph(
    spec: ModelSpec,
    source: onnx.ModelProto,
    batch: int,
    given: public_images.Inputs,
    reference: npt.NDArray[np.float32],
    progress: Progress,
) -> Converted:
    """An ONNX graph with its batch fixed, and its TFLite form where that can be made."""
    progress("fixing the batch")
    model = onnx_file.with_batch(source, batch)
    progress("checking against the source")
    rounded = parity.rounds(model)
    found = onnx_file.run(model, given.x, batch)
    checks = [parity.compare("onnx", reference, found, rounded=rounded)]
    missing: dict[str, str] = {}
    tflite = None
    progress("converting to TensorFlow Lite")
    try:
        made = onnx2tf.convert(model)
        checks.append(_of_tflite(made, given, reference, batch, rounded))
        tflite = made
    except ModelError as error:  # it still runs under TVM
        missing["tflite"] = "; ".join(part for part in (error.brief, error.resolution) if part)
    kind = "pytorch" if spec.kind == "pytorch" else "onnx"
    return Converted(
        source=Source(kind=kind, weights=f"file:{spec.digest}"),
        onnx_model=model,
        tflite=tflite,
        inputs=given,
        reference=reference,
        checks=checks,
        missing=missing,
    )


def _of_tflite(
    tflite: bytes,
    given: public_images.Inputs,
    reference: npt.NDArray[np.float32],
    batch: int,
    rounded: bool,
) -> Check:
    from toolchain.convert import tensorflow_graph

    found = tensorflow_graph.run_tflite(tflite, given.x, batch)
    return parity.compare("tflite", reference, found, rounded=rounded)


def _from_tflite(spec: ModelSpec, batch: int, progress: Progress) -> Converted:
    assert spec.path is not None
    progress("starting TensorFlow")
    from toolchain.convert import tensorflow_graph
    from toolchain.formats import tensorflow, tflite_file

    tensorflow.settle_tensorflow()
    progress("reading the model")
    tflite = spec.path.read_bytes()
    shape = fixed_shape(tflite_file.described(tflite), batch)
    tflite = tflite_file.with_batch(tflite, batch)
    given = inputs.checked(spec, shape)
    progress("running the source model")
    reference = tensorflow_graph.run_tflite(tflite, given.x, batch)
    progress("converting to ONNX")
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        Path(file.name).write_bytes(tflite)
        model = tflite_file.to_onnx(Path(file.name), spec.name)
    progress("checking against the source")
    found = onnx_file.run(model, given.x, batch)
    rounded = tflite_file.has_integers(model)
    return Converted(
        source=Source(kind="tflite", weights=f"file:{spec.digest}"),
        onnx_model=model,
        tflite=tflite,
        inputs=given,
        reference=reference,
        checks=[parity.compare("onnx", reference, found, rounded=rounded)],
        missing={},
    )


def _card(spec: ModelSpec, batch: int, folder: Path, made: Converted) -> ModelManifest:
    if len(made.reference) != len(made.inputs.x):
        raise ModelError(
            "the model's output doesn't have its batch first",
            detail=f"{len(made.inputs.x)} inputs gave an output of shape {made.reference.shape}",
            resolution="export it with one row of scores an input",
        )
    arrays: dict[str, npt.NDArray[np.generic]] = {"x": made.inputs.x, "reference": made.reference}
    if made.inputs.labels is not None:
        arrays["labels"] = made.inputs.labels
    np.savez(folder / SAMPLES_FILE, allow_pickle=False, **arrays)
    sampled = record(folder, SAMPLES_FILE)
    tflite: dict[str, Tflite] = {}
    if made.tflite is not None:
        tflite[PLAIN] = record_tflite(folder, TFLITE_FILE)
    _refuse_other_labels(spec, made.reference)
    graph = made.onnx_model.graph
    given = Tensor(name=graph.input[0].name, shape=(batch, *made.inputs.x.shape[1:]))
    return ModelManifest(
        model=spec.name,
        title=_title(spec),
        batch=batch,
        source=made.source,
        input=given,
        output=Tensor(name=graph.output[0].name, shape=(batch, *made.reference.shape[1:])),
        tvm_input=given,
        tflite=tflite,
        onnx=record(folder, ONNX_FILE),
        samples=Samples(
            **sampled.model_dump(),
            count=len(made.inputs.x),
            labelled=made.inputs.labels is not None,
        ),
        checks=sorted(made.checks, key=lambda c: c.stage),
        missing=made.missing,
    )


def _title(spec: ModelSpec) -> str:
    if spec.entry is not None:
        return spec.entry.title
    return spec.own.title if spec.own is not None and spec.own.title else spec.name


def _refuse_other_labels(spec: ModelSpec, reference: npt.NDArray[np.float32]) -> None:
    """Refuse a list of labels that has another length than the model's output."""
    if spec.own is None or spec.own.labels is None:
        return
    names = spec.own.labels.read_text().strip().splitlines()
    scores = int(np.prod(reference.shape[1:]))
    if len(names) != scores:
        raise ModelError(
            f"{spec.own.labels.name}: its labels don't match the model",
            detail=f"{len(names)} labels, the model gives {scores} scores",
            resolution="give one name a line, in the order of the model's output",
        )

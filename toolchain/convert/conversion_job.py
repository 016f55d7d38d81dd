"""The work of one conversion, in the worker: read, run, convert, compare, write.

What differs between kinds of model file stands in `toolchain.formats`; no library is imported here
that the kind at hand doesn't need.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from toolchain import formats
from toolchain.convert import onnx2tf, parity
from toolchain.convert.requests import ConversionRequest, Part
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.network import Network
from toolchain.formats.shapes import fixed_shape
from toolchain.models.manifest import (
    TFLITE,
    Check,
    ModelManifest,
    Samples,
    Source,
    Tensor,
    missing_key,
    record,
    record_tflite,
)
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import PLAIN
from toolchain.samples import selection
from toolchain.samples.public_images import Inputs

TFLITE_FILE, ONNX_FILE, SAMPLES_FILE = "fp32.tflite", "model.onnx", "samples.npz"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The samples, and what the source gives for them: what every form is compared with.

    Attributes:
        inputs: x (samples, ...), whole batches.
        output: (samples, ...).
        shape: of the network's input, batch first.
    """

    inputs: Inputs
    output: Array
    shape: tuple[int, ...]

    @property
    def batch(self) -> int:
        """The batch that the graphs are fixed at."""
        return self.shape[0]


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What a network was converted to; `missing` says of a form that was not made why."""

    graph: onnx.ModelProto
    tflite: bytes | None
    checks: list[Check]
    missing: dict[str, str]


def convert(request: ConversionRequest, progress: Progress) -> None:
    """Fill `folder` with the conversions of `spec`; the worker's entry.

    Raises:
        ModelError: the model can't be read or converted.
    """
    spec, folder = request.spec, request.folder
    network, source = opened(spec, request.weights, progress)
    shape = fixed_shape(network.shape, request.batch)
    inputs = selection.checked(spec, shape)
    progress("running the source model")
    reference = Reference(inputs=inputs, output=network.run(inputs.x, shape[0]), shape=shape)
    forms = _converted(network, spec.name, reference, progress)
    _refuse_other_labels(spec, reference.output)
    _write(folder, reference, forms)
    _manifest(spec, source, reference, forms, folder).save(folder)


def opened(spec: ModelSpec, weights: Part, progress: Progress) -> tuple[Network, Source]:
    """A model that was read, and where it came from.

    Args:
        spec: the model.
        weights: of a catalogue model.
        progress: called with each step.

    Raises:
        ModelError: it can't be read or used.
    """
    if spec.path is not None:
        network = formats.all_formats()[spec.kind].load(spec.path, progress)
        return network, Source(kind=spec.kind, weights=f"file:{spec.digest}")
    progress("starting TensorFlow")
    from toolchain.convert import catalogue_networks

    return catalogue_networks.load(spec, weights, progress)


def _converted(network: Network, name: str, reference: Reference, progress: Progress) -> Forms:
    """A network in both forms, each compared with it.

    Where a kind of file isn't made TFLite by itself, the ONNX graph is; without that form the
    network still runs under TVM.

    Raises:
        ModelError: ONNX, or TFLite by the kind itself, lacks an operator, or a form disagrees.
    """
    progress("converting to TensorFlow Lite")
    tflite = network.to_tflite(reference.shape)
    progress("converting to ONNX")
    graph = network.to_onnx(reference.shape, name)
    progress("checking against the source")
    rounded = onnx_graph.rounds(graph)
    found = onnx_graph.run(graph, reference.inputs.x, reference.batch)
    checks = [parity.compare("onnx", reference.output, found, rounded=rounded)]
    missing: dict[str, str] = {}
    if tflite is None:
        progress("converting to TensorFlow Lite")
        try:
            made = onnx2tf.convert(graph)
            checks.append(_check_of_tflite(made, reference, rounded=rounded))
            tflite = made
        except ModelError as error:
            why = "; ".join(part for part in (error.brief, error.resolution) if part)
            missing[missing_key(TFLITE)] = why
    elif not network.is_tflite:
        checks.append(_check_of_tflite(tflite, reference, rounded=rounded))
    return Forms(graph=graph, tflite=tflite, checks=checks, missing=missing)


def _check_of_tflite(tflite: bytes, reference: Reference, *, rounded: bool) -> Check:
    from toolchain.formats.graphs import tflite_graph  # starts TensorFlow

    found = tflite_graph.run(tflite, reference.inputs.x, reference.batch)
    return parity.compare(TFLITE, reference.output, found, rounded=rounded)


def _write(folder: Path, reference: Reference, forms: Forms) -> None:
    """Write the forms, and samples.npz: x, reference and, where they are known, labels."""
    x, labels = reference.inputs.x, reference.inputs.labels
    if len(reference.output) != len(x):
        raise ModelError(
            "the model's output doesn't have its batch first",
            detail=f"{len(x)} inputs gave an output of shape {reference.output.shape}",
            resolution="export it with one row of scores an input",
        )
    arrays: dict[str, npt.NDArray[np.generic]] = {"x": x, "reference": reference.output}
    if labels is not None:
        arrays["labels"] = labels
    np.savez(folder / SAMPLES_FILE, allow_pickle=False, **arrays)
    (folder / ONNX_FILE).write_bytes(forms.graph.SerializeToString(deterministic=True))
    if forms.tflite is not None:
        (folder / TFLITE_FILE).write_bytes(forms.tflite)


def _manifest(
    spec: ModelSpec, source: Source, reference: Reference, forms: Forms, folder: Path
) -> ModelManifest:
    """The manifest of a folder that holds all files already."""
    graph = forms.graph.graph
    given = Tensor(name=graph.input[0].name, shape=reference.shape)
    scores = (reference.batch, *reference.output.shape[1:])
    return ModelManifest(
        model=spec.name,
        title=_title(spec),
        batch=reference.batch,
        source=source,
        input=given,
        output=Tensor(name=graph.output[0].name, shape=scores),
        tvm_input=given,
        tflite={} if forms.tflite is None else {PLAIN: record_tflite(folder, TFLITE_FILE)},
        onnx=record(folder, ONNX_FILE),
        samples=Samples(
            **record(folder, SAMPLES_FILE).model_dump(),
            count=len(reference.inputs.x),
            labelled=reference.inputs.labels is not None,
        ),
        checks=sorted(forms.checks, key=lambda c: c.stage),
        missing=forms.missing,
    )


def _title(spec: ModelSpec) -> str:
    if spec.entry is not None:
        return spec.entry.title
    return spec.own.title if spec.own is not None and spec.own.title else spec.name


def _refuse_other_labels(spec: ModelSpec, output: Array) -> None:
    """Refuse a list of labels that has another length than the model's output."""
    if spec.own is None or spec.own.labels is None:
        return
    names = spec.own.labels.read_text().strip().splitlines()
    scores = int(np.prod(output.shape[1:]))
    if len(names) != scores:
        raise ModelError(
            f"{spec.own.labels.name}: its labels don't match the model",
            detail=f"{len(names)} labels, the model gives {scores} scores",
            resolution="give one name a line, in the order of the model's output",
        )

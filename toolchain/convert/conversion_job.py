"""The work of one conversion, in the worker: read, run, convert, compare, write.

What differs between kinds of model file stands in `toolchain.formats`; no library is imported here
that the kind at hand doesn't need.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from toolchain import formats
from toolchain.convert import network_metadata, onnx2tf, parity
from toolchain.convert.network_metadata import Known
from toolchain.convert.parity import Outputs
from toolchain.convert.requests import ConversionRequest, Part
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats import half_floats, shapes, state
from toolchain.formats.graphs import onnx_graph, onnx_uses
from toolchain.formats.network import Network
from toolchain.formats.signature import Tensor
from toolchain.models import samples_file
from toolchain.models.checks import Check
from toolchain.models.manifest import (
    GRAPH,
    TFLITE,
    ModelManifest,
    Samples,
    Source,
    missing_key,
    record,
    record_tflite,
)
from toolchain.models.samples_file import keyed
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import PLAIN
from toolchain.samples import selection
from toolchain.samples.sets import Sets, stacked

if TYPE_CHECKING:
    from toolchain.convert import tflite_binding

TFLITE_FILE, ONNX_FILE, SAMPLES_FILE = "fp32.tflite", "model.onnx", "samples.npz"
REASON = 200  # characters of an error's detail that a manifest keeps


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The samples, and what the source gives for them: what every form is compared with.

    Attributes:
        inputs: the network's, their shapes fixed.
        samples: what it is given; a state's inputs, what it gave an inference before.
        outputs: what it gives for them.
    """

    inputs: tuple[Tensor, ...]
    samples: Sets
    outputs: Outputs

    @property
    def batch(self) -> int:
        """Samples of an inference."""
        return self.outputs.batch


@dataclass(kw_only=True)
class Forms:
    """What a network was converted to; `missing` says of a form that was not made why."""

    graph: onnx.ModelProto | None = None
    tflite: bytes | None = None
    bound: tflite_binding.Bound | None = None
    checks: list[Check] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    errors: list[ModelError] = field(default_factory=list)

    @contextlib.contextmanager
    def unless_refused(self, form: str) -> Iterator[None]:
        """Within the block a form is made; where it can't be, the others still are."""
        try:
            yield
        except ModelError as error:
            self.errors.append(error)
            reason = error.detail.strip().partition("\n")[0][:REASON]
            parts = (error.brief, reason, error.resolution)
            self.missing[missing_key(form)] = "; ".join(part for part in parts if part)


def convert(request: ConversionRequest, progress: Progress) -> None:
    """Fill `folder` with the conversions of `spec`; the worker's entry.

    Raises:
        UsageError: a shape or a state that was asked for is none of the model's.
        ModelError: the model can't be read, or be converted to any form.
    """
    spec, folder = request.spec, request.folder
    network, source = opened(spec, request.weights, progress)
    inputs, batch = fixed_inputs(network, spec, request.batch, progress)
    forms = _converted(network, spec.name, inputs, progress)
    limits = {} if forms.graph is None else onnx_uses.index_limits(forms.graph)
    samples = _samples(network, spec, inputs, batch, limits)
    if samples.state is not None:
        progress(f"state: {samples.state}")
    progress("running the source model")
    outputs = run_all(network, samples, batch)
    reference = Reference(inputs=inputs, samples=samples.fed(outputs.arrays), outputs=outputs)
    _refuse_other_labels(spec, reference.outputs)
    _check(network, reference, forms, progress)
    known = Known.of(spec, network, inputs, reference.outputs)
    if forms.tflite is not None:
        from toolchain.convert import tflite_metadata_writer  # starts TensorFlow

        forms.tflite = tflite_metadata_writer.described(
            forms.tflite, known, reference.outputs.tensors, forms.bound
        )
    _write(folder, reference, forms)
    _manifest(known, source, reference, forms, folder).save(folder)


def fixed_inputs(
    network: Network, spec: ModelSpec, batch: int, progress: Progress
) -> tuple[tuple[Tensor, ...], int]:
    """A network's inputs with all their sizes, and its batch.

    Raises:
        UsageError: a shape that was asked for is none of the model's.
        ModelError: sizes are left open that neither the user nor the file says.
    """
    asked = dict(spec.shapes)
    known = network.known_shapes(batch) if not asked else {}
    for name, shape in known.items():
        progress(f"{name} is {'x'.join(map(str, shape))}, as the file says")
    return shapes.fixed(network.signature, batch, {**known, **asked})


def _samples(
    network: Network,
    spec: ModelSpec,
    inputs: tuple[Tensor, ...],
    batch: int,
    limits: Mapping[str, int],
) -> Sets:
    """What a network is given, with the state that the user says, or that its names say.

    Raises:
        UsageError: what the user says is no state of the network.
        ModelError: the user's samples can't be used.
    """
    own = None if spec.own is None else spec.own.state
    known = state.known(network.signature, own)
    samples = selection.checked(spec, inputs, batch, limits, known)
    if known is None:
        return samples
    made = network.run(next(iter(samples)))
    outputs = tensors_of(network, made)
    if own is not None:
        state.refuse_misfit(known, inputs, outputs)
        return samples
    fitting = state.what_fits(known, inputs, outputs)
    return samples if fitting == known else selection.checked(spec, inputs, batch, limits, fitting)


def tensors_of(network: Network, made: Mapping[str, npt.NDArray[Any]]) -> list[Tensor]:
    """A network's outputs with the shapes and types that they came out with in one inference."""
    return [
        replace(output, dtype=made[output.name].dtype.name).fixed(made[output.name].shape)
        for output in network.signature.outputs
    ]


def run_all(network: Network, samples: Sets, batch: int) -> Outputs:
    """What a network gives for samples, by the library of its kind.

    Raises:
        ModelError: it can't be run, or its outputs' shapes depend on values.
    """
    try:
        arrays = stacked(samples.run(network.run))
    except ValueError as error:
        raise ModelError(
            "an output of the model has another size from one inference to the next",
            detail=network.signature.listed(),
            resolution="export it without what leaves values out, such as NonMaxSuppression or "
            "NonZero at its end",
        ) from error
    tensors = tensors_of(network, {name: array[0] for name, array in arrays.items()})
    return Outputs(tensors=tensors, arrays=arrays, batch=batch)


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
        network = formats.all_formats()[spec.kind].load(spec.path, progress, spec.signature)
        if spec.own is not None and spec.own.constants:
            network = network.holding(spec.own.constants)
        return network, Source(kind=spec.kind, weights=f"file:{spec.digest}")
    progress("starting TensorFlow")
    from toolchain.convert import catalogue_networks

    return catalogue_networks.load(spec, weights, progress)


def _converted(
    network: Network, name: str, inputs: tuple[Tensor, ...], progress: Progress
) -> Forms:
    """A network in both forms.

    Where a kind of file isn't made TFLite by itself, the ONNX graph is. Without one of the forms
    the network still runs under the runtimes that take the other.

    Raises:
        ModelError: neither form can be made.
    """
    forms = Forms()
    progress("converting to TensorFlow Lite")
    with forms.unless_refused(TFLITE):
        forms.tflite = network.to_tflite(inputs)
    progress("converting to ONNX")
    with forms.unless_refused(GRAPH):
        forms.graph = network.to_onnx(inputs, name)
    if forms.tflite is None and forms.graph is None:
        raise forms.errors[0]
    return forms


def _check(network: Network, reference: Reference, forms: Forms, progress: Progress) -> None:
    """Compare each form with the source; one that disagrees is not kept.

    Raises:
        ModelError: no form is left.
    """
    progress("checking against the source")
    graph, arithmetic = forms.graph, onnx_graph.FLOAT32
    if graph is not None:
        arithmetic = onnx_graph.arithmetic(graph)
        forms.graph = None
        with forms.unless_refused(GRAPH):
            forms.checks.append(_check_of_onnx(graph, reference, arithmetic))
            forms.graph = graph
    tflite = forms.tflite
    if graph is not None and tflite is None and missing_key(TFLITE) not in forms.missing:
        progress("converting to TensorFlow Lite")
        with forms.unless_refused(TFLITE):
            tflite = onnx2tf.convert(half_floats.widened(graph))
    forms.tflite = None
    if network.is_tflite:
        forms.tflite = tflite
    elif tflite is not None:
        with forms.unless_refused(TFLITE):
            forms.bound = bound_tflite(tflite, reference.inputs, reference)
            forms.checks.append(
                parity.compare(TFLITE, reference.outputs, forms.bound.found, arithmetic=arithmetic)
            )
            forms.tflite = tflite
    if forms.tflite is None and forms.graph is None:
        raise forms.errors[0]


def bound_tflite(
    tflite: bytes, inputs: tuple[Tensor, ...], reference: Reference
) -> tflite_binding.Bound:
    """A TFLite form run on the samples, and the order of its inputs and outputs."""
    from toolchain.convert import tflite_binding  # starts TensorFlow

    return tflite_binding.run(tflite, inputs, reference.samples, reference.outputs)


def _check_of_onnx(graph: onnx.ModelProto, reference: Reference, arithmetic: str) -> Check:
    found = run_graph(graph, reference)
    return parity.compare("onnx", reference.outputs, found, arithmetic=arithmetic)


def run_graph(graph: onnx.ModelProto, reference: Reference) -> dict[str, npt.NDArray[Any]]:
    """The samples through an ONNX form, whose inputs and outputs stand in the network's order.

    Raises:
        ModelError: it can't be run, or has others than the network.
    """
    session = onnx_graph.session(graph)
    given = [value.name for value in graph.graph.input]
    made = [value.name for value in graph.graph.output]
    names = [tensor.name for tensor in reference.outputs.tensors]
    if len(given) != len(reference.inputs) or len(made) != len(names):
        raise ModelError(
            "the ONNX form has other inputs or outputs than the model",
            detail=f"inputs {', '.join(given)}\noutputs {', '.join(made)}",
            resolution="run it by TensorFlow Lite alone, or export the model to ONNX yourself",
        )

    def infer(one: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        feeds = {to: one[t.name] for to, t in zip(given, reference.inputs, strict=True)}
        found = onnx_graph.run(session, feeds)
        return {to: found[name] for to, name in zip(names, made, strict=True)}

    return stacked(reference.samples.run(infer))


def _write(folder: Path, reference: Reference, forms: Forms) -> None:
    """Write the forms, and samples.npz, as `manifest.Samples` has it."""
    arrays: dict[str, npt.NDArray[Any]] = {
        **keyed(samples_file.INPUT, reference.samples.arrays),
        **keyed(samples_file.OUTPUT, reference.outputs.arrays),
    }
    if reference.samples.labels is not None:
        arrays["labels"] = reference.samples.labels
    np.savez(folder / SAMPLES_FILE, allow_pickle=False, **arrays)
    if forms.graph is not None:
        (folder / ONNX_FILE).write_bytes(forms.graph.SerializeToString(deterministic=True))
    if forms.tflite is not None:
        (folder / TFLITE_FILE).write_bytes(forms.tflite)


def _manifest(
    known: Known, source: Source, reference: Reference, forms: Forms, folder: Path
) -> ModelManifest:
    """The manifest of a folder that holds all files already."""
    order, spec = forms.bound, known.spec
    tflite = {}
    if forms.tflite is not None:
        tflite[PLAIN] = record_tflite(
            folder,
            TFLITE_FILE,
            inputs=order.inputs if order else None,
            outputs=order.outputs if order else None,
        )
    samples = reference.samples
    return ModelManifest(
        model=spec.name,
        title=network_metadata.title(spec),
        batch=reference.batch,
        source=source,
        inputs=list(reference.inputs),
        outputs=list(reference.outputs.tensors),
        state=samples.state,
        metadata=network_metadata.of_model(known),
        labels=network_metadata.write_labels(known, folder),
        tflite=tflite,
        onnx=None if forms.graph is None else record(folder, ONNX_FILE),
        samples=Samples(
            **record(folder, SAMPLES_FILE).model_dump(),
            count=len(samples) * reference.batch,
            labelled=samples.labels is not None,
            origins=dict(samples.origins),
        ),
        checks=sorted(forms.checks, key=lambda c: c.stage),
        missing=forms.missing,
    )


def _refuse_other_labels(spec: ModelSpec, outputs: Outputs) -> None:
    """Refuse a list of labels that has another length than the model's output."""
    if spec.own is None or spec.own.labels is None or not outputs.is_classification:
        return
    names = network_metadata.listed(spec.own.labels)
    scores = outputs.tensors[0].shape[1]
    if len(names) != scores:
        raise ModelError(
            f"{spec.own.labels.name}: its labels don't match the model",
            detail=f"{len(names)} labels, the model gives {scores} scores",
            resolution="give one name a line, in the order of the model's output",
        )

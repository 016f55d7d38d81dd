"""A network as TensorFlow.js has it: read here, and written by the extra's converter.

In a process that the kernel confines: a model file is what others made.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.convert import conversion_job
from toolchain.convert.tfjs import topology
from toolchain.convert.tfjs.request import GRAPH, MODEL, TfjsRequest
from toolchain.core import process
from toolchain.core.errors import CommandError, ModelError
from toolchain.core.worker import Progress
from toolchain.models.manifest import ModelManifest
from toolchain.workstation import extras

if TYPE_CHECKING:
    import keras

    from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork
    from toolchain.formats.signature import Tensor

EXTRA = "tfjs"
WRITING = Path(__file__).with_name("writing.py")
OPERATORS = re.compile(r"Unsupported Ops in the model[^\n]*\n([^\n]+)")


def make(request: TfjsRequest, progress: Progress) -> None:
    """Put a network of TensorFlow.js into the request's folder.

    Raises:
        ModelError: the file is none that TensorFlow reads, the extra isn't installed, or the
            network has what TensorFlow.js lacks.
    """
    network = _read(request, progress)
    manifest = ModelManifest.load(request.network.folder)
    asked: dict[str, Any] = {"form": request.form, "weights": request.weights}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if request.form == GRAPH:
            _save(network, manifest, folder / "network")
        else:
            assert network.model is not None
            asked["topology"] = _describe(network.model, folder / "weights.npz")
        (folder / "asked.json").write_text(json.dumps(asked))
        progress("TensorFlow.js's converter")
        _write(folder, request.folder)
    if request.form == GRAPH:
        _name(request.folder / MODEL, manifest)


def _read(request: TfjsRequest, progress: Progress) -> TensorFlowNetwork:
    spec = request.network.spec
    network, _ = conversion_job.opened(spec, request.network.weights, progress)
    if not hasattr(network, "call"):
        raise ModelError(
            f"{spec.name} is no network of TensorFlow's: TensorFlow.js's are made of Keras models, "
            "SavedModels and frozen graphs",
            resolution="give such a file; for others see docs/how-to/in-a-browser.md",
        )
    if request.form != GRAPH and getattr(network, "model", None) is None:
        raise ModelError(
            f"{spec.name} has a graph alone, no layers", resolution="leave --form layers out"
        )
    found: TensorFlowNetwork = network  # type: ignore[assignment]  # what has `call` is one
    return found


def _keys(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    """What tensors are called in a SavedModel, which puts them into the order of these words."""
    return [f"{kind}_{index:04}" for index in range(len(tensors))]


def _save(network: TensorFlowNetwork, manifest: ModelManifest, folder: Path) -> None:
    """Write the frozen graph as a SavedModel."""
    import tensorflow as tf

    frozen = network.graph(manifest.inputs)
    asked = [
        tf.TensorSpec(t.shape, tf.as_dtype(t.dtype), name=key)
        for t, key in zip(manifest.inputs, _keys("input", manifest.inputs), strict=True)
    ]

    @tf.function(input_signature=asked, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*given: Any) -> dict[str, Any]:
        found = frozen(*given)
        flat = list(found) if isinstance(found, list | tuple) else [found]
        keys = _keys("output", manifest.outputs)
        return {key: tf.identity(t) for key, t in zip(keys, flat, strict=True)}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def _name(path: Path, manifest: ModelManifest) -> None:
    """Have a graph's signature say the network's own names of its inputs and outputs.

    The converter calls an output after its node, all but the first one, and the nodes are numbered
    in the outputs' order.

    Raises:
        ModelError: the converter left one out.
    """
    described = json.loads(path.read_text())
    signature = described["signature"]
    nodes = [
        f"Identity_{index}:0" if index else "Identity:0" for index, _ in enumerate(manifest.outputs)
    ]
    named = {}
    for kind, tensors, others in (
        ("inputs", manifest.inputs, []),
        ("outputs", manifest.outputs, nodes),
    ):
        found = {row["name"]: row for row in signature[kind].values()} | signature[kind]
        keys = _keys(kind.removesuffix("s"), tensors)
        rows = [
            found.get(key) or found.get(other)
            for key, other in itertools.zip_longest(keys, others, fillvalue="")
        ]
        if None in rows:
            raise ModelError(f"TensorFlow.js's converter left out some of the network's {kind}")
        named[kind] = {t.name: row for t, row in zip(tensors, rows, strict=True)}
    path.write_text(json.dumps({**described, "signature": named}))


def _describe(model: keras.Model, weights: Path) -> dict[str, Any]:
    """Write the layers' weights, in order; returns the model's description and their names.

    Raises:
        ModelError: layers are given what TensorFlow.js's can't be, or two weights have one name.
    """
    names, arrays = [], []
    for layer in _leaves(model):
        for variable in layer.weights:
            names.append(topology.weight_name(layer.name, type(layer).__name__, variable.name))
            arrays.append(np.asarray(variable))
    if len(set(names)) != len(names):
        raise ModelError(
            "the network has layers within layers, whose weights TensorFlow.js calls the same",
            resolution="leave --form layers out",
        )
    np.savez(weights, *arrays)
    described = json.loads(model.to_json())
    return {
        "model": topology.of({key: described[key] for key in ("class_name", "config")}),
        "weights": names,
    }


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model, those of models within it in their places."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def _write(folder: Path, made: Path) -> None:
    """Have the extra write the network.

    Raises:
        ModelError: it can't, and what it stumbled over.
    """
    try:
        process.run([extras.python(EXTRA), "-P", WRITING, folder, made], env={"PYTHONPATH": ""})
    except CommandError as error:
        lacking = OPERATORS.search(error.output)
        raise ModelError(
            f"TensorFlow.js lacks operators of the network: {lacking[1].strip()}"
            if lacking
            else "TensorFlow.js's converter fails with this network",
            detail=error.output,
            resolution="use a runtime for devices for this model",
        ) from error
    if not (made / MODEL).is_file():
        raise ModelError("TensorFlow.js's converter wrote no model.json")

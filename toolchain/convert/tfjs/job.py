"""A network as TensorFlow.js has it: read here, and written by the extra's converter.

In a process that the kernel confines: a model file is what others made.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
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

EXTRA = "tfjs"
WRITING = Path(__file__).with_name("writing.py")
SIGNATURE = "signature.json"
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
            asked["signature"] = _save(network, manifest, folder / "network")
        else:
            assert network.model is not None
            asked["topology"] = _describe(network.model, folder / "weights.npz")
            asked["signature"] = {
                kind: [{"name": t.name, "key": ""} for t in tensors]
                for kind, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs))
            }
        (folder / "asked.json").write_text(json.dumps(asked))
        progress("TensorFlow.js's converter")
        _write(folder, request.folder)
    (request.folder / SIGNATURE).write_text(json.dumps(asked["signature"], indent=1) + "\n")


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


def _save(network: TensorFlowNetwork, manifest: ModelManifest, folder: Path) -> dict[str, Any]:
    """Write the frozen graph as a SavedModel; returns the key of each input and output in it."""
    import tensorflow as tf

    frozen = network.graph(manifest.inputs)
    keys = {
        "inputs": [f"input_{index}" for index in range(len(manifest.inputs))],
        "outputs": [f"output_{index}" for index in range(len(manifest.outputs))],
    }
    asked = [
        tf.TensorSpec(t.shape, tf.as_dtype(t.dtype), name=key)
        for t, key in zip(manifest.inputs, keys["inputs"], strict=True)
    ]

    @tf.function(input_signature=asked, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*given: Any) -> dict[str, Any]:
        found = frozen(*given)
        flat = list(found) if isinstance(found, list | tuple) else [found]
        return {key: tf.identity(t) for key, t in zip(keys["outputs"], flat, strict=True)}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    tensors = {"inputs": manifest.inputs, "outputs": manifest.outputs}
    return {
        kind: [
            {"name": t.name, "key": key} for t, key in zip(tensors[kind], keys[kind], strict=True)
        ]
        for kind in keys
    }


def _describe(model: keras.Model, weights: Path) -> dict[str, Any]:
    """Write the layers' weights, in order; returns the model's description and their names."""
    names, arrays = [], []
    for layer in _leaves(model):
        for variable in layer.weights:
            names.append(topology.weight_name(layer.name, type(layer).__name__, variable.name))
            arrays.append(np.asarray(variable))
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

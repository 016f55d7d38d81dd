"""A Keras model or SavedModel, read and refused where it can't be converted.

Runs in the worker: TensorFlow is imported here. Weights that the catalogue's networks get when the
user has none are made in `seeded` and `digits`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolchain.convert.training import digits_network, seeded_weights
from toolchain.core import store
from toolchain.core.errors import ModelError
from toolchain.formats.shapes import refuse_unless_one
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.specification import ModelSpec
from toolchain.samples import public_images

WEIGHTS = "weights.npz"
SIGNATURE = "serving_default"


@dataclass(frozen=True, kw_only=True)
class Network:
    """What conversion needs of a model.

    Attributes:
        call: one batch through it, for inference.
        shape: of its input, batch first; None where it is open.
        kind: as `manifest.Source`.
        weights: as `manifest.Source`.
        model: the Keras model, which can be trained on; None for a SavedModel.
    """

    call: Callable[[Any], Any]
    shape: tuple[int | None, ...]
    kind: str
    weights: str
    model: keras.Model | None = None


def settle_tensorflow() -> None:
    """One thread and only deterministic kernels: the same weights in, the same bytes out."""
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)


def load(spec: ModelSpec, weights_in: Path | None, weights_out: Path | None) -> Network:
    """Read a model.

    Args:
        spec: which; not an ONNX file.
        weights_in: folder of weights made for it before.
        weights_out: folder where weights made for it now are put.

    Raises:
        ModelError: it can't be read or used.
    """
    if spec.kind == "savedmodel":
        return _saved_model(spec)
    if spec.kind == "frozen":
        return _frozen_graph(spec)
    if spec.entry is None:
        assert spec.path is not None
        return of_keras(_keras_file(spec.path), f"file:{spec.digest}")
    model = _architecture(spec.entry)
    if spec.weights is not None:
        _load_weights(model, spec.weights)
        return of_keras(model, f"file:{store.digest_file(spec.weights)}")
    if weights_in is not None:
        read_weights(model, weights_in)
        file = weights_in / WEIGHTS
    else:
        assert weights_out is not None
        if spec.entry.source == "digits":
            digits_network.train(model, spec.seed)
        else:
            seeded_weights.fill(model, spec.seed, public_images.of_entry(spec.entry, 1).x)
        write_weights(model, weights_out)
        file = weights_out / WEIGHTS
    trained = spec.entry.source == "digits"
    return of_keras(
        model, f"trained:{store.digest_file(file)}" if trained else f"seeded:{spec.seed}"
    )


def read_weights(model: keras.Model, folder: Path) -> None:
    """Give a model the weights that `write_weights` put into a folder."""
    with np.load(folder / WEIGHTS) as arrays:
        model.set_weights([arrays[name] for name in sorted(arrays.files)])


def write_weights(model: keras.Model, folder: Path) -> None:
    """Put a model's weights into a folder, in their order."""
    arrays = {f"{i:05}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    np.savez(folder / WEIGHTS, allow_pickle=False, **arrays)


def _architecture(entry: CatalogueEntry) -> keras.Model:
    if entry.source == "digits":
        return digits_network.architecture(entry.shape, entry.classes)
    assert entry.constructor is not None
    make = getattr(keras.applications, entry.constructor)
    made: keras.Model = make(
        weights=None, input_shape=entry.shape, classes=entry.classes, **entry.arguments
    )
    return made


def _load_weights(model: keras.Model, path: Path) -> None:
    try:
        if path.suffix == ".keras":
            model.set_weights(_keras_file(path).get_weights())
        else:
            model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{path.name}: these weights don't fit {model.name}",
            detail=str(error),
            resolution="give weights saved from the same keras.applications architecture, "
            "with its top",
        ) from error


def _keras_file(path: Path) -> keras.Model:
    try:
        # safe_mode refuses Lambda layers: loading one would run code from the file.
        loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that it can't read
        # Keras puts the whole configuration before the reason.
        reason = str(error).rpartition("Exception encountered:")[2].strip()
        raise _unreadable(path, reason[:1000]) from error
    if not isinstance(loaded, keras.Model):
        raise _unreadable(path, f"it holds a {type(loaded).__name__}, not a model")
    return loaded


def _unreadable(path: Path, detail: str) -> ModelError:
    lowered = detail.lower()
    if "lambda" in lowered:
        return ModelError(
            f"{path.name} has a Lambda layer, which is code inside the file",
            detail=detail,
            resolution="export the model with model.export('FOLDER') and give that folder",
        )
    if any(t in lowered for t in ("could not locate class", "unknown layer", "custom object")):
        return ModelError(
            f"{path.name} has a custom layer, whose code isn't in the file",
            detail=detail,
            resolution="export the model with model.export('FOLDER') where its code is, and give "
            "that folder",
        )
    return ModelError(
        f"{path.name} can't be read as a Keras model, or was cut short",
        detail=detail,
        resolution="copy it again, or save the model again with model.save()",
    )


def of_keras(model: keras.Model, weights: str) -> Network:
    """A Keras model as a network.

    Raises:
        ModelError: it has several inputs or outputs, or not float32.
    """
    named = [(t.name, tuple(t.shape), str(t.dtype)) for t in model.inputs]
    refuse_unless_one("input", named)
    refuse_unless_one("output", [(t.name, tuple(t.shape), str(t.dtype)) for t in model.outputs])
    return Network(
        call=lambda x: _only(model(x, training=False)),
        shape=named[0][1],
        kind="keras",
        weights=weights,
        model=model,
    )


def _only(outputs: Any) -> Any:
    """The one tensor of what a model returns, which may be in a list or dictionary."""
    while isinstance(outputs, dict | list | tuple):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs


def _saved_model(spec: ModelSpec) -> Network:
    assert spec.path is not None
    try:
        loaded = tf.saved_model.load(os.fspath(spec.path))
    except Exception as error:  # TensorFlow raises many kinds for a folder that it can't read
        raise ModelError(
            f"{spec.path.name} can't be read as a SavedModel, or is not complete",
            detail=str(error),
            resolution="copy the whole folder again (saved_model.pb, variables/)",
        ) from error
    signatures = dict(getattr(loaded, "signatures", {}))
    function = signatures.get(SIGNATURE)
    if function is None:
        raise ModelError(
            f"{spec.path.name} has no signature {SIGNATURE}",
            detail=f"it has: {', '.join(sorted(signatures)) or 'none'}",
            resolution="export the model with model.export('FOLDER')",
        )
    inputs = function.structured_input_signature[1]
    named = [(name, _dims(t.shape), t.dtype.name) for name, t in sorted(inputs.items())]
    refuse_unless_one("input", named)
    outputs = function.structured_outputs
    refuse_unless_one(
        "output", [(name, _dims(t.shape), t.dtype.name) for name, t in sorted(outputs.items())]
    )
    name = named[0][0]

    def call(x: Any) -> Any:
        _ = loaded  # its variables live as long as it does
        return _only(function(**{name: x}))

    return Network(call=call, shape=named[0][1], kind="savedmodel", weights=f"file:{spec.digest}")


def _frozen_graph(spec: ModelSpec) -> Network:
    """A GraphDef whose weights are constants; what it takes and gives are found in it."""
    assert spec.path is not None
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(spec.path.read_bytes())
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(definition, name=""), []
        )
    except Exception as error:  # protobuf's own, and what an operator of another TensorFlow raises
        raise ModelError(
            f"{spec.path.name} can't be read as a frozen graph, or was cut short",
            detail=str(error)[:1000],
            resolution="copy it again; a SavedModel's saved_model.pb is read by its folder",
        ) from error
    operators = wrapped.graph.get_operations()
    used = {source.op.name for op in operators for source in op.inputs}
    taken = [op.outputs[0] for op in operators if op.type == "Placeholder"]
    given = [
        op.outputs[0]
        for op in operators
        if op.outputs and op.name not in used and op.type not in ("Placeholder", "Const")
    ]
    for what, tensors in (("input", taken), ("output", given)):
        refuse_unless_one(what, [(t.op.name, _dims(t.shape), t.dtype.name) for t in tensors])
    function = wrapped.prune(taken[0], given[0])
    return Network(
        call=lambda x: _only(function(x)),
        shape=_dims(taken[0].shape),
        kind="frozen",
        weights=f"file:{spec.digest}",
    )


def _dims(shape: tf.TensorShape) -> tuple[int | None, ...]:
    if shape.rank is None:
        raise ModelError(
            "the model's input or output has no fixed number of dimensions",
            resolution="export it with a fixed height, width and channels",
        )
    return tuple(shape.as_list())

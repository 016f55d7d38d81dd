"""A Keras model (.keras), or one in the HDF5 form of before (.h5, .hdf5)."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import ModelError
from toolchain.formats import Format, half_floats
from toolchain.formats.shapes import tensors_of
from toolchain.formats.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

    from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork

HDF5 = (".h5", ".hdf5")
HALF_POLICIES = {f"{how}{name}" for how in ("", "mixed_") for name in half_floats.KINDS.values()}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class _Keras(Format):
    def begins_right(self, path: Path, head: bytes) -> bool:
        return head == HDF5_MAGIC if path.suffix in HDF5 else zipfile.is_zipfile(path)

    def load(
        self, path: Path, progress: Callable[[str], None], signature: str = ""
    ) -> TensorFlowNetwork:
        self.refuse_signature(signature)
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph

        tensorflow_graph.settle()
        progress("reading the model")
        return network(read(path))


def read(path: Path) -> keras.Model:
    """The model of a file, not compiled; of one that computes in 16-bit floats, it in float32.

    Raises:
        ModelError: it can't be read, or has code in it or layers whose code it lacks.
    """
    import keras

    try:
        # safe_mode refuses Lambda layers: loading one would run code from the file.
        loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that it can't read
        # Keras puts the whole configuration before the reason.
        reason = str(error).rpartition("Exception encountered:")[2].strip()
        raise _refusal(path, reason[:1000]) from error
    if not isinstance(loaded, keras.Model):
        raise _refusal(path, f"it holds a {type(loaded).__name__}, not a model")
    return _in_float32(loaded)


def _in_float32(model: keras.Model) -> keras.Model:
    """The model with layers that compute as their weights are kept, whatever policy trained it.

    A policy of 16-bit floats is for training on a GPU; TensorFlow Lite has no such operators.
    """
    layers = model._flatten_layers()  # noqa: SLF001 (Keras lists only the outermost)
    if HALF_POLICIES.isdisjoint(layer.compute_dtype for layer in layers):
        return model
    wide = type(model).from_config(_with_float32_policies(model.get_config()))
    wide.set_weights(model.get_weights())
    return wide


def _with_float32_policies(config: Any) -> Any:
    """A configuration of layers in which each policy of 16-bit floats is float32's."""
    if isinstance(config, dict):
        return {key: _with_float32_policies(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_float32_policies(value) for value in config)
    return "float32" if isinstance(config, str) and config in HALF_POLICIES else config


def _refusal(path: Path, detail: str) -> ModelError:
    lowered = detail.lower()
    if "lambda" in lowered:
        return ModelError(
            f"{path.name} has a Lambda layer, which is code inside the file",
            detail=detail,
            resolution="put layers of Keras or operators of keras.ops in its place, and save the "
            "model again",
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


def network(model: keras.Model) -> TensorFlowNetwork:
    """A Keras model as a network.

    Its recurrent layers are unrolled when it is run: TensorFlow Lite has no lists of tensors, which
    their loops keep their outputs in.

    Raises:
        ModelError: an input or output is of a type that no runtime takes.
    """
    from toolchain.formats.graphs.tensorflow_graph import INPUT, OUTPUT
    from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork, described

    for layer in model._flatten_layers():  # noqa: SLF001 (Keras lists only the outermost)
        if hasattr(layer, "unroll"):
            layer.unroll = True

    def call(*given: Any) -> Any:
        found = tensors_of(model(list(given) if len(given) > 1 else given[0], training=False))
        return found[0][1] if len(found) == 1 else [tensor for _, tensor in found]

    # a Sequential has no names of its outputs
    names = getattr(model, "output_names", [tensor.name for tensor in model.outputs])
    outputs = list(zip(names, model.outputs, strict=True))
    return TensorFlowNetwork(
        call=call,
        signature=Signature(
            inputs=described([(t.name, t) for t in model.inputs], INPUT),
            outputs=described(outputs, OUTPUT),
        ),
        model=model,
    )


FORMAT = _Keras(
    name="keras",
    title=".keras, .h5, .hdf5",
    suffixes=(".keras", *HDF5),
    has_variants=True,
    has_layers=True,
)

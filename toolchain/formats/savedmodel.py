"""A TensorFlow SavedModel: a folder with a graph, its weights and its signatures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import ModelError
from toolchain.formats import Format
from toolchain.formats.shapes import only_tensor, refuse_unless_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolchain.formats.network import Network

SIGNATURE = "serving_default"


@dataclass(frozen=True, kw_only=True)
class _SavedModel(Format):
    def load(self, path: Path, progress: Callable[[str], None]) -> Network:
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph
        from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork, dims

        tensorflow_graph.settle()
        progress("reading the model")
        loaded = _loaded(path)
        function = _signature(path, loaded)
        inputs = function.structured_input_signature[1]
        named = [(name, dims(t.shape), t.dtype.name) for name, t in sorted(inputs.items())]
        refuse_unless_one("input", named)
        outputs = function.structured_outputs
        refuse_unless_one(
            "output", [(name, dims(t.shape), t.dtype.name) for name, t in sorted(outputs.items())]
        )
        name = named[0][0]

        def call(x: Any) -> Any:
            _ = loaded  # its variables live as long as it does
            return only_tensor(function(**{name: x}))

        return TensorFlowNetwork(call=call, shape=named[0][1])


def _loaded(path: Path) -> Any:
    import tensorflow as tf
    from tensorflow.python.saved_model import loader_impl

    from toolchain.formats.graphs import tensorflow_operators

    folder = os.fspath(path)
    try:
        stored = loader_impl.parse_saved_model(folder)
        tensorflow_operators.refuse_other_in_saved_model(stored, path.name)
        return tf.saved_model.load(folder)
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds for a folder that it can't read
        raise ModelError(
            f"{path.name} can't be read as a SavedModel, or is not complete",
            detail=str(error),
            resolution="copy the whole folder again (saved_model.pb, variables/)",
        ) from error


def _signature(path: Path, loaded: Any) -> Any:
    signatures = dict(getattr(loaded, "signatures", {}))
    if SIGNATURE not in signatures:
        raise ModelError(
            f"{path.name} has no signature {SIGNATURE}",
            detail=f"it has: {', '.join(sorted(signatures)) or 'none'}",
            resolution="export the model with model.export('FOLDER')",
        )
    return signatures[SIGNATURE]


FORMAT = _SavedModel(
    name="savedmodel",
    title="SavedModel folders",
    marker="saved_model.pb",
    export="give the folder that model.export() or tf.saved_model.save() made",
    has_variants=True,
)

"""A TensorFlow SavedModel: a folder with a graph, its weights and its signatures."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.core import process
from toolchain.core.errors import ModelError
from toolchain.formats import Format
from toolchain.formats.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolchain.formats.network import Network

SIGNATURE = "serving_default"


@dataclass(frozen=True, kw_only=True)
class _SavedModel(Format):
    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph
        from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork, described

        tensorflow_graph.settle()
        progress("reading the model")
        loaded = _loaded(path)
        function = _signature(path, loaded, signature or SIGNATURE)
        inputs = sorted(function.structured_input_signature[1].items())
        outputs = sorted(function.structured_outputs.items())

        def call(*given: Any) -> Any:
            _ = loaded  # its variables live as long as it does
            found = function(**dict(zip((name for name, _ in inputs), given, strict=True)))
            tensors = [tensor for _, tensor in sorted(found.items())]
            return tensors[0] if len(tensors) == 1 else tensors

        return TensorFlowNetwork(
            call=call,
            signature=Signature(
                inputs=described(inputs, tensorflow_graph.INPUT),
                outputs=described(outputs, tensorflow_graph.OUTPUT),
            ),
        )


def _loaded(path: Path) -> Any:
    import tensorflow as tf
    from tensorflow.python.saved_model import loader_impl

    from toolchain.formats.graphs import tensorflow_operators

    folder = os.fspath(path)
    try:
        stored = loader_impl.parse_saved_model(folder)
        tensorflow_operators.refuse_other_in_saved_model(stored, path.name)
        with _without_optimizer(path, stored) as plain:
            return tf.saved_model.load(os.fspath(plain))
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds for a folder that it can't read
        raise ModelError(
            f"{path.name} can't be read as a SavedModel, or is not complete",
            detail=str(error),
            resolution="copy the whole folder again (saved_model.pb, variables/)",
        ) from error


@contextlib.contextmanager
def _without_optimizer(path: Path, stored: Any) -> Iterator[Path]:
    """The folder, or one like it whose model keeps no values of an optimizer.

    What training kept for each weight is no part of the network, and restoring it takes the class
    of the optimizer, which a later Keras may have no more.

    Args:
        path: the folder.
        stored: its protocol buffer.
    """
    objects = [node for meta in stored.meta_graphs for node in meta.object_graph_def.nodes]
    if not any(node.slot_variables for node in objects):
        yield path
        return
    for node in objects:
        node.ClearField("slot_variables")
    with tempfile.TemporaryDirectory(prefix=f"edgewright-{process.own_name()}-") as folder:
        plain = Path(folder) / path.name
        for file in (one for one in path.rglob("*") if one.is_file()):
            copy = plain / file.relative_to(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # a confined process may not change modes, as copytree does
        (plain / FORMAT.marker).write_bytes(stored.SerializeToString())
        yield plain


def _signature(path: Path, loaded: Any, name: str) -> Any:
    signatures = dict(getattr(loaded, "signatures", {}))
    if name not in signatures:
        known = ", ".join(sorted(signatures))
        raise ModelError(
            f"{path.name} has no signature {name}",
            detail=f"it has: {known or 'none'}",
            resolution=f"choose one with --signature: {known}"
            if known
            else "export the model with model.export('FOLDER')",
        )
    return signatures[name]


FORMAT = _SavedModel(
    name="savedmodel",
    title="SavedModel folders",
    marker="saved_model.pb",
    export="give the folder that model.export() or tf.saved_model.save() made",
    has_variants=True,
)

"""A TensorFlow GraphDef whose weights are constants (.pb); inputs and outputs are found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import ModelError
from toolchain.formats import Format
from toolchain.formats.shapes import only_tensor, refuse_unless_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolchain.formats.network import Network


@dataclass(frozen=True, kw_only=True)
class _FrozenGraph(Format):
    def load(self, path: Path, progress: Callable[[str], None]) -> Network:
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph
        from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork, dims

        tensorflow_graph.settle()
        progress("reading the model")
        wrapped = _imported(path)
        operators = wrapped.graph.get_operations()
        used = {source.op.name for op in operators for source in op.inputs}
        inputs = [op.outputs[0] for op in operators if op.type == "Placeholder"]
        outputs = [
            op.outputs[0]
            for op in operators
            if op.outputs and op.name not in used and op.type not in ("Placeholder", "Const")
        ]
        for what, tensors in (("input", inputs), ("output", outputs)):
            refuse_unless_one(what, [(t.op.name, dims(t.shape), t.dtype.name) for t in tensors])
        function = wrapped.prune(inputs[0], outputs[0])
        return TensorFlowNetwork(
            call=lambda x: only_tensor(function(x)), shape=dims(inputs[0].shape)
        )


def _imported(path: Path) -> Any:
    """The graph as a function that takes nothing yet."""
    import tensorflow as tf

    from toolchain.formats.graphs import tensorflow_operators

    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
        tensorflow_operators.refuse_other_in_graph(definition, path.name)
        return tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(definition, name=""), []
        )
    except ModelError:
        raise
    except Exception as error:  # protobuf's own, and what an operator of another TensorFlow raises
        raise ModelError(
            f"{path.name} can't be read as a frozen graph, or was cut short",
            detail=str(error)[:1000],
            resolution="copy it again; a SavedModel's saved_model.pb is read by its folder",
        ) from error


FORMAT = _FrozenGraph(name="frozen", title="frozen .pb", suffixes=(".pb",), has_variants=True)

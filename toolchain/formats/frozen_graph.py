"""A TensorFlow GraphDef whose weights are constants (.pb); inputs and outputs are found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolchain.core.errors import ModelError
from toolchain.formats import Format
from toolchain.formats.shapes import tensors_of
from toolchain.formats.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from toolchain.formats.network import Network

PLACEHOLDERS = ("Placeholder", "PlaceholderWithDefault")


@dataclass(frozen=True, kw_only=True)
class _FrozenGraph(Format):
    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        self.refuse_signature(signature)
        progress("starting TensorFlow")
        from toolchain.formats.graphs import tensorflow_graph
        from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork, described

        tensorflow_graph.settle()
        progress("reading the model")
        wrapped = _imported(path)
        operators = wrapped.graph.get_operations()
        used = {source.op.name for op in operators for source in op.inputs}
        inputs = _inputs(operators)
        outputs = [
            op.outputs[0]
            for op in operators
            if op.outputs and op.name not in used and op.type not in (*PLACEHOLDERS, "Const")
        ]
        its = Signature(
            inputs=described([(t.op.name, t) for t in inputs], tensorflow_graph.INPUT),
            outputs=described([(t.op.name, t) for t in outputs], tensorflow_graph.OUTPUT),
        )
        alone = len(inputs) == len(outputs) == 1
        function = wrapped.prune(*((inputs[0], outputs[0]) if alone else (inputs, outputs)))

        def call(*given: Any) -> Any:
            found = [tensor for _, tensor in tensors_of(function(*given))]
            return found[0] if len(found) == 1 else found

        return TensorFlowNetwork(call=call, signature=its)


def _inputs(operators: Sequence[Any]) -> list[Any]:
    """What a graph is given; what has a default of its own keeps it, unless there is nothing else.

    Defaults are of what only training changes, such as a rate of dropout.
    """
    by = {kind: [op.outputs[0] for op in operators if op.type == kind] for kind in PLACEHOLDERS}
    return by["Placeholder"] or by["PlaceholderWithDefault"]


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

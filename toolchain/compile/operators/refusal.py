"""The error of a node that can't be compiled rightly: by operator, node and attribute."""

from __future__ import annotations

import onnx

from toolchain.core.errors import ModelError

ELSEWHERE = "replace it in the model, or use TensorFlow Lite for this one"


def of(node: onnx.NodeProto, why: str) -> ModelError:
    """The error to raise for a node.

    Args:
        node: of the graph.
        why: what of it, with the attribute or input and its value.
    """
    return ModelError(
        f"TVM can't compile operator {node.op_type}",
        detail=f"node {name(node)}: {why}",
        resolution=ELSEWHERE,
    )


def name(node: onnx.NodeProto) -> str:
    """How a reader finds a node: by its name, or by what it makes."""
    return node.name or f"that makes {', '.join(node.output)}"

"""The one way an ONNX graph is run for its values: what the network says, on any CPU.

ONNX Runtime's default session rewrites a graph that rounds to integers and back: it quantises
float weights by itself, and its int8 kernels saturate sums of two products at 16 bits on a CPU
without VNNI (3.05 off on values below 7, AVX2). No reference is taken from such a session, in the
product or in its tests. And a graph of 16-bit floats is run in float32, as its weights say
(`half_floats`): where a session rounds differs from one release and CPU to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnx
    import onnxruntime

    Array = npt.NDArray[Any]


def session(
    model: onnx.ModelProto | bytes, simplified: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session on one thread that computes in float32, on rounded numbers too.

    Args:
        model: the graph, or its serialised bytes.
        simplified: takes the graph with what is constant in it computed, branches among it; its
            types are kept.

    Raises:
        Exception: what ONNX Runtime raises for a graph that it can't load; its errors share no
            public base.
    """
    import onnx
    import onnxruntime

    from toolchain.formats import half_floats

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if simplified is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(simplified)
    if simplified is None:
        model = half_floats.widened(
            onnx.load_from_string(model) if isinstance(model, bytes) else model
        )
    serialised = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto | bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
    """All outputs of a graph, in its order, for one set of inputs by name."""
    import numpy as np

    outputs: Sequence[Array] = session(model).run(None, dict(inputs))
    return [np.asarray(output) for output in outputs]

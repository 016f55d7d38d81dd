"""One graph through the product's own pipeline on this machine: import, passes, LLVM, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[Any]


def run(model: onnx.ModelProto, inputs: Mapping[str, Array], opt_level: int) -> list[Array]:
    """What a network gives after all that a compilation does at a level.

    Args:
        model: with known shapes.
        inputs: by name.
        opt_level: 0 to 3.

    Raises:
        ModelError: TVM can't import it.
        Exception: whatever a pass or LLVM raises.
    """
    import tvm
    from tvm import relax

    from toolchain.compile import compilation_job, onnx_import, onnx_simplify, pipeline
    from toolchain.compile.operators.narrow_types import carried
    from toolchain.compile.operators.prepare import prepare

    model = prepare(model)
    if opt_level >= 1:
        model = onnx_simplify.simplify(model)
    module = onnx_import.from_onnx(model)
    target = compilation_job.host_target()
    lowered = pipeline.lower(module, target, opt_level)
    scheduled, _ = pipeline.schedule(lowered, target, opt_level, {})
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    given = [
        tvm.runtime.tensor(np.array(carried(inputs[v.name]), order="C")) for v in model.graph.input
    ]
    result: Any = machine["main"](*given)
    parts = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [np.asarray(part.numpy()) for part in parts]

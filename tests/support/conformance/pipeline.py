"""A network through the product's own pipeline on this machine: import, passes, LLVM, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

if TYPE_CHECKING:
    from toolchain.formats.signature import Signature

Array = npt.NDArray[Any]
TILED = 3  # the level that multiplies int8 by int8 where there is an instruction for it


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
    from toolchain.compile import onnx_import, onnx_simplify
    from toolchain.compile.operators.narrow_types import carried
    from toolchain.compile.operators.prepare import prepare

    model = prepare(model)
    if opt_level >= 1:
        model = onnx_simplify.simplify(model)
    given = [carried(inputs[value.name]) for value in model.graph.input]
    return compiled(onnx_import.from_onnx(model), given, opt_level)


def run_quantised(
    content: bytes, signature: Signature, inputs: Mapping[str, Array], opt_level: int
) -> list[Array] | None:
    """The same of a .tflite file that computes in integers.

    Args:
        content: the file's bytes.
        signature: what it takes and gives.
        inputs: by name.
        opt_level: 0 to 3.

    Returns:
        its outputs; None where the reader of integers leaves a network to ONNX.
    """
    from toolchain.compile import compilation_job
    from toolchain.compile.quantized import importer
    from toolchain.compile.tir import target_code
    from toolchain.formats.rounding.tflite_network import NotImportedError

    here = compilation_job.host_target()
    known = [tensor.fixed(inputs[tensor.name].shape) for tensor in signature.inputs]
    made = [tensor.fixed(()) for tensor in signature.outputs]  # the file has their shapes
    orders = [t.name for t in signature.inputs], [t.name for t in signature.outputs]
    dot = target_code.dot_product(here) if opt_level >= TILED else None
    widens = target_code.widens(here)
    try:
        module = importer.from_tflite(content, known, made, orders, dot, widens=widens)
    except NotImportedError:
        return None
    given = [inputs[tensor.name] for tensor in known]
    return None if module is None else compiled(module, given, opt_level)


def compiled(module: Any, inputs: Sequence[Array], opt_level: int) -> list[Array]:
    """What an imported network gives, by the product's passes and schedules on this machine."""
    import tvm
    from tvm import relax

    from toolchain.compile import compilation_job, pipeline

    target = compilation_job.host_target()
    lowered = pipeline.lower(module, target, opt_level)
    scheduled, _ = pipeline.schedule(lowered, target, opt_level, {})
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    given = [tvm.runtime.tensor(np.array(one, order="C")) for one in inputs]
    result: Any = machine["main"](*given)
    parts = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [np.asarray(part.numpy()) for part in parts]

"""Networks compiled by the pipeline in this process, and the assembly that they become."""

from __future__ import annotations

import onnx
import tvm

from tests.support.networks import VECTORS, X86
from toolchain.compile import onnx_import, pipeline

TARGET, PC = tvm.target.Target(VECTORS), tvm.target.Target(X86)
ALLOCATION = "TVMBackendAllocWorkspace"


def scheduled(graph: onnx.ModelProto, target: tvm.target.Target = TARGET) -> tvm.IRModule:
    """A network after the schedule of level 3."""
    module, _ = pipeline.schedule(
        pipeline.lower(onnx_import.from_onnx(graph), target, 3), target, 3
    )
    return module


def assembly(module: tvm.IRModule, target: tvm.target.Target) -> str:
    """What a scheduled module becomes."""
    library = pipeline.build(module, target).mod
    return "".join(str(m.inspect_source("asm")) for m in library.imports)

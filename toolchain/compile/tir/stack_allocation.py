"""Keeps a tile's sums on the stack, where LLVM finds them and has them in registers.

Of what a function allocates TVM leaves on the stack what is smaller than 1 KiB, and asks the
runtime for all else, each time. The sums of a tile are more than that where a CPU has 32 vector
registers of 512 bits, or when there are somewhat more of them than registers: for each tile the
runtime was called twice, and the sums went through memory. It is done for every function, at every
level, whoever made its loops.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import tirx

from toolchain.compile import tvm_versions

LARGEST = 8192  # bytes: more is no tile, and a thread's stack is for others too
LEFT_ALONE = "disable_lower_builtin"  # annotation that TVM's LowerTVMBuiltin heeds


def keeping() -> Any:
    """The pass that marks what is to stay on the stack.

    It needs blocks lowered to loops before it, and LowerTVMBuiltin after it, which heeds the mark.
    What is not of a known size, or of more than `LARGEST` bytes, stays as it was.
    """

    def keep(function: tirx.PrimFunc, _module: Any, _context: Any) -> tirx.PrimFunc:
        return function.with_body(tvm_versions.map_parts(function.body, tirx.AllocBuffer, _marked))

    return tirx.transform.prim_func_pass(keep, opt_level=0, name="KeepOnStack")


def _marked(allocation: Any) -> Any:
    buffer = allocation.buffer
    sizes = [int(size) for size in buffer.shape if isinstance(size, tirx.IntImm)]
    size = math.prod(sizes) * tvm.DataType(str(buffer.dtype)).itemsize
    if len(sizes) < len(buffer.shape) or size > LARGEST:
        return allocation
    marked = {**dict(allocation.annotations), LEFT_ALONE: tirx.IntImm("bool", 1)}
    return tirx.AllocBuffer(buffer, marked)

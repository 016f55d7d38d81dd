"""Instructions for products of int8 (`DotProduct`), as schedules put them into a function."""

from __future__ import annotations

from functools import cache

from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812 # as TVM's language is always written

from toolchain.compile import tvm_versions
from toolchain.targets.instruction_sets import DotProduct

DEPTH = 4  # int8 behind each int32, in every such instruction


@cache
def intrinsic(dot: DotProduct) -> str:
    """The name under which TVM's `tensorize` knows an instruction.

    It stands for: sums[i] += sum over k of left[k] right[i, k], where sums are int32 of shape
    (lanes,), left int8 of shape (DEPTH,) and right int8 of shape (lanes, DEPTH), without strides.
    """
    lanes, llvm = dot.lanes, dot.llvm
    sums_type, bytes_type = f"int32x{lanes}", f"int8x{DEPTH * lanes}"

    @tvm_versions.prim_func(s_tir=True)
    def meaning(inputs: T.handle, weights: T.handle, outputs: T.handle) -> None:
        left = T.match_buffer(inputs, (DEPTH,), "int8", offset_factor=1)
        right = T.match_buffer(weights, (lanes, DEPTH), "int8", offset_factor=1)
        sums = T.match_buffer(outputs, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(sums[0:lanes], left[0:DEPTH], right[0:lanes, 0:DEPTH])
            T.writes(sums[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, DEPTH):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        sums[vi] = sums[vi] + (
                            T.cast(left[vk], "int32") * T.cast(right[vi, vk], "int32")
                        )

    @tvm_versions.prim_func(s_tir=True)
    def instruction(inputs: T.handle, weights: T.handle, outputs: T.handle) -> None:
        left = T.match_buffer(inputs, (DEPTH,), "int8", offset_factor=1)
        right = T.match_buffer(weights, (lanes, DEPTH), "int8", offset_factor=1)
        sums = T.match_buffer(outputs, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(sums[0:lanes], left[0:DEPTH], right[0:lanes, 0:DEPTH])
            T.writes(sums[0:lanes])
            sums[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(llvm),
                sums.vload([0], sums_type),
                right.vload([0, 0], bytes_type),
                # last, where the instruction may take it from a lane
                T.reinterpret(
                    T.broadcast(T.reinterpret(left.vload([0], "int8x4"), dtype="int32"), lanes),
                    dtype=bytes_type,
                ),
                dtype=sums_type,
            )

    name = f"edgewright.{llvm}"
    TensorIntrin.register(name, meaning, instruction)
    return name

"""Instructions that add the products of four neighbouring int8 to each int32 of a register."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812 # as TVM's language is always written
from tvm.target.codegen import target_has_features

from toolchain.compile import tvm_versions

DEPTH = 4  # int8 behind each int32, in every such instruction


@dataclass(frozen=True, kw_only=True)
class DotProduct:
    """One such instruction.

    Attributes:
        lanes: int32 in a register.
        intrinsic: TVM's name of it: sums[i] += sum over k of left[k] right[i, k].
    """

    lanes: int
    intrinsic: str

    @classmethod
    def of(cls, target: tvm.target.Target) -> DotProduct | None:
        """The one that a target has; None for most."""
        arm = str(target.attrs.get("mtriple", "")).startswith("aarch64")
        return SDOT if arm and target_has_features("dotprod", target) else None


@tvm_versions.prim_func(s_tir=True)
def _meaning(inputs: T.handle, weights: T.handle, outputs: T.handle) -> None:
    left = T.match_buffer(inputs, (4,), "int8", offset_factor=1)
    right = T.match_buffer(weights, (4, 4), "int8", offset_factor=1)
    sums = T.match_buffer(outputs, (4,), "int32", offset_factor=1)
    with T.sblock("root"):
        T.reads(sums[0:4], left[0:4], right[0:4, 0:4])
        T.writes(sums[0:4])
        for i in T.serial(0, 4):
            for k in T.serial(0, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    sums[vi] = sums[vi] + T.cast(left[vk], "int32") * T.cast(right[vi, vk], "int32")


@tvm_versions.prim_func(s_tir=True)
def _sdot(inputs: T.handle, weights: T.handle, outputs: T.handle) -> None:
    left = T.match_buffer(inputs, (4,), "int8", offset_factor=1)
    right = T.match_buffer(weights, (4, 4), "int8", offset_factor=1)
    sums = T.match_buffer(outputs, (4,), "int32", offset_factor=1)
    with T.sblock("root"):
        T.reads(sums[0:4], left[0:4], right[0:4, 0:4])
        T.writes(sums[0:4])
        sums[T.ramp(T.int32(0), 1, 4)] = T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8"),
            sums.vload([0], "int32x4"),
            right.vload([0, 0], "int8x16"),
            # last, where the instruction may take it from a lane
            T.reinterpret(
                T.broadcast(T.reinterpret(left.vload([0], "int8x4"), dtype="int32"), 4),
                dtype="int8x16",
            ),
            dtype="int32x4",
        )


SDOT = DotProduct(lanes=4, intrinsic="edgewright.sdot")
TensorIntrin.register(SDOT.intrinsic, _meaning, _sdot)

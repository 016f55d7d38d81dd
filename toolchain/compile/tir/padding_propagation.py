"""Padding, done by what computes the image: it writes each value where the padded image has it.

A convolution with padding reads an image with a border of zeros. Made by the convolution itself,
that is one more pass over memory: half of the time of MobileNetV2's first strided depthwise one. So
padding becomes an operator, which TVM fuses with what comes before it. That function then computes
the image as if there were no padding, at an offset in its output (`off`), and fills the border
besides (`Border.filled`). Where nothing comes before it, it is the pass over memory that it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, s_tir, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, rewritten

PATTERN, ELEMENTWISE = "op_pattern", 0  # what TVM's FuseOps goes by, and the kind fused with most
NAME = "pad"  # of TVM's functions for the operator


def apart(module: tvm.IRModule) -> tvm.IRModule:
    """`main` with the padding of each convolution, channels last, as an operator before it."""
    return rewritten(module, _Apart(module))


@mutator
class _Apart(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if not is_call(call, "nn.conv2d"):
            return call
        of = call.attrs
        top, left, bottom, right = (int(size) for size in of.padding)
        if str(of.data_layout) != "NHWC" or not any((top, left, bottom, right)):
            return call
        widths = [0, 0, top, bottom, left, right, 0, 0]
        return relax.op.nn.conv2d(
            self.builder_.emit(relax.op.nn.pad(call.args[0], widths)), call.args[1],
            strides=list(of.strides), padding=0, dilation=list(of.dilation),
            groups=int(of.groups), data_layout=of.data_layout, kernel_layout=of.kernel_layout,
            out_layout=of.out_layout, out_dtype=of.out_dtype,
        )  # fmt: skip


def fusible() -> Any:
    """The pass that lets TVM's FuseOps fuse padding with the operators before it."""

    def mark(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        for variable, function in list(module.functions_items()):
            padding = variable.name_hint.rstrip("0123456789") == NAME
            if padding and isinstance(function, tirx.PrimFunc):
                module.update_func(variable, function.with_attr(PATTERN, ELEMENTWISE))
        return module

    return tvm.transform.module_pass(mark, opt_level=0)


@dataclass(frozen=True, kw_only=True)
class Border:
    """What a function's output has around what it computes.

    Attributes:
        inside: for each axis, where what is computed begins and ends.
        value: of all else.
    """

    inside: list[tuple[int, int]]
    value: Any

    def filled(self, function: tirx.PrimFunc) -> tirx.PrimFunc:
        """A function, with its schedule, that fills the border first."""
        output = tvm_versions.buffers(function)[-1]
        whole = [(0, int(size)) for size in output.shape]
        loops = []
        for axis, ((begin, end), (_, size)) in enumerate(zip(self.inside, whole, strict=True)):
            for part in ((0, begin), (end, size)):
                box = [*self.inside[:axis], part, *whole[axis + 1 :]]
                if part[0] < part[1]:
                    loops.append(self._fill(output, box))
        return _with_body(function, tirx.SeqStmt([*loops, function.body.block.body]))

    def _fill(self, output: Any, box: list[tuple[int, int]]) -> Any:
        """Loops over a box of the output; LLVM makes vectors of the innermost."""
        variables = [tirx.Var(f"i{axis}", "int64") for axis in range(len(box))]
        indices = [v + first for v, (first, _) in zip(variables, box, strict=True)]
        body: Any = tirx.BufferStore(output, self.value, indices)
        for variable, (first, end) in reversed(list(zip(variables, box, strict=True))):
            extent = tirx.IntImm("int64", end - first)
            zero = tirx.IntImm("int64", 0)
            body = tirx.For(variable, zero, extent, tirx.ForKind.SERIAL, body)
        return body


def off(function: tirx.PrimFunc) -> tuple[tirx.PrimFunc, Border | None]:
    """A function, not scheduled yet, that does not fill its output's border any more.

    Returns:
        it, and what is to be done about the border; the function as it is and None, where it does
        not end in padding of what it computes itself.
    """
    sch = s_tir.Schedule(function, error_render_level="none")
    try:
        *before, last = sch.get_child_blocks(sch.get_sblock("root"))
        if not before or not sch.can_decompose_padding(last, sch.get_loops(last)[0]):
            return function, None
        fill = sch.decompose_padding(last, sch.get_loops(last)[0])
    except s_tir.ScheduleError:
        return function, None
    value, described = sch.get(fill).body.value, sch.get(last)
    inside = []
    for axis, variable in zip(described.writes[0].region, described.iter_vars, strict=True):
        first = tvm_versions.distance(axis.min, variable.var)
        if first is None or not isinstance(variable.dom.extent, tirx.IntImm):
            return function, None
        inside.append((first, first + int(variable.dom.extent)))
    result = sch.mod["main"]
    *rest, _, computed = result.body.block.body
    return _with_body(result, tirx.SeqStmt([*rest, computed])), Border(inside=inside, value=value)


def _with_body(function: tirx.PrimFunc, body: Any) -> tirx.PrimFunc:
    """A function whose root block has another body."""
    realize = function.body
    root = realize.block
    block = type(root)(
        root.iter_vars, root.reads, root.writes, root.name_hint, body, root.init,
        root.alloc_buffers, root.match_buffers, root.annotations,
    )  # fmt: skip
    return function.with_body(type(realize)([], True, block))

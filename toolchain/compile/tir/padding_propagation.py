"""Padding, done by what computes the image: it writes each value where the padded image has it.

A convolution with padding reads an image with a border of zeros. Made by the convolution itself,
that is one more pass over memory: half of the time of MobileNetV2's first strided depthwise one. So
padding becomes an operator, which TVM fuses with what comes before it. That function then computes
the image as if there were no padding, at an offset in its output (`separate_border`), and fills the
border besides (`Border.filled`). Where nothing comes before it, it is the pass over memory that it
was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, s_tir, tirx
from tvm.ir.transform import Pass
from tvm.relax.expr_functor import PyExprMutator, mutator

from toolchain.compile import tvm_versions
from toolchain.compile.relax.rewriter import is_call, main_rewriting_pass

PATTERN, ELEMENTWISE = "op_pattern", 0  # what TVM's FuseOps goes by, and the kind fused with most
NAME = "pad"  # of TVM's functions for the operator


def hoist_padding() -> Pass:
    """HoistPadding: the padding of each `nn.conv2d` in NHWC as an operator `nn.pad` before it.

    x [N, H, W, C] becomes [N, top + H + bottom, left + W + right, C] with zeros around, and the
    convolution has padding 0 and all else as before.

    Needs: the layout pass; FakeQuantizationToInteger, whose zero is not 0 and which pads by itself.
    Leaves: convolutions in other layouts, without padding or transposed as they were.
    """
    return main_rewriting_pass(_Hoister, name="HoistPadding", opt_level=2)


@mutator
class _Hoister(PyExprMutator):  # type: ignore[misc] # TVM is untyped
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


def annotate_padding() -> Pass:
    """AnnotatePadding: functions that pad count as elementwise, so that FuseOps fuses them.

    Needs: LegalizeOps, which makes a function named "pad" (and a number) of each `nn.pad`;
    AnnotateTIROpPattern, which calls it injective; no FuseOps yet. Leaves: their attribute
    `op_pattern` 0; FuseOps then puts each into the function that computes the image, where nothing
    else uses that.
    """

    def annotate(module: tvm.IRModule, _context: Any) -> tvm.IRModule:
        annotated = module.clone()
        for variable, function in module.functions_items():
            padding = variable.name_hint.rstrip("0123456789") == NAME
            if padding and isinstance(function, tirx.PrimFunc):
                annotated.update_func(variable, function.with_attr(PATTERN, ELEMENTWISE))
        return annotated

    return tvm.transform.module_pass(annotate, opt_level=1, name="AnnotatePadding")


@dataclass(frozen=True, kw_only=True)
class Border:
    """What a function's output has around what it computes.

    Attributes:
        inside: for each axis of the output, where what is computed begins, and ends (exclusive).
        value: of all else, an expression without variables.
    """

    inside: list[tuple[int, int]]
    value: Any

    def filled(self, function: tirx.PrimFunc) -> tirx.PrimFunc:
        """A function, scheduled already, that fills its output's border before all else.

        Args:
            function: what `separate_border` left, whose last argument is the output.
        """
        output = tvm_versions.argument_buffers(function)[-1]
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


def separate_border(function: tirx.PrimFunc) -> tuple[tirx.PrimFunc, Border | None]:
    """A function without what fills its output's border, and the border.

    Args:
        function: not scheduled yet, its output its last argument, of any rank and type, all extents
            known.

    Returns:
        the function, which writes what it computes where the padded output has it, and what is to
        be filled besides; the function as it is and None, where it does not end in padding of what
        it computes itself.
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
        first = tvm_versions.offset(axis.min, variable.var)
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

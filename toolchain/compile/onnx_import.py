"""ONNX into Relax, with errors that name the operator and the node."""

from __future__ import annotations

import onnx
import tvm
from tvm.relax.frontend import onnx as frontend

from toolchain.compile.operators import refusal
from toolchain.compile.relax.clip_simplification import simplify_clip
from toolchain.compile.relax.stack_simplification import simplify_stack
from toolchain.core.errors import ModelError


def from_onnx(model: onnx.ModelProto) -> tvm.IRModule:
    """A Relax module with one function, `main`, and the weights as its constants.

    Args:
        model: with the shape of each input known. Images are as ONNX has them, NCHW, with weights
            OIHW.

    Returns:
        `main` with the graph's inputs in their order as parameters, and its output, or a tuple of
        the outputs; operators of Relax, in ONNX's layouts, and SimplifyClip and SimplifyStack done.

    Raises:
        ModelError: TVM can't import it; the error names the operator and the nodes.
    """
    try:
        module = frontend.from_onnx(model, keep_params_in_input=False)
    except tvm.error.OpNotImplemented as error:
        raise _unknown_operators(model, str(error)) from error
    except Exception as error:  # each operator's importer raises what it likes
        node = _node_of(error)
        if node is None:
            raise ModelError(
                "TVM can't import the model", detail=_last_line(error), resolution=refusal.ELSEWHERE
            ) from error
        raise ModelError(
            f"TVM can't import operator {node.op_type}",
            detail=f"node {refusal.name(node)}\n{_last_line(error)}",
            resolution=refusal.ELSEWHERE,
        ) from error
    return simplify_stack()(simplify_clip()(module))


def _unknown_operators(model: onnx.ModelProto, message: str) -> ModelError:
    listed = message.splitlines()[-1].rpartition(":")[2]
    operators = sorted({name.strip() for name in listed.split(",") if name.strip()})
    nodes = [n for n in model.graph.node if n.op_type in operators]
    return ModelError(
        f"TVM can't import operator {', '.join(operators)}",
        detail="\n".join(f"{n.op_type}: node {refusal.name(n)}" for n in nodes),
        resolution=refusal.ELSEWHERE,
    )


def _node_of(error: BaseException) -> onnx.NodeProto | None:
    """The node that was being imported.

    TVM 0.27's message has the operator only; the frame that called its importer has the node.
    """
    found: onnx.NodeProto | None = None
    trace = error.__traceback__
    while trace is not None:
        candidate = trace.tb_frame.f_locals.get("node")
        if isinstance(candidate, onnx.NodeProto):
            found = candidate
        trace = trace.tb_next
    return found


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__

"""ONNX into Relax, with errors that name the operator and the node."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.relax.frontend.onnx import from_onnx

from toolchain.compile import tvm_versions
from toolchain.core.errors import ModelError

ELSEWHERE = "replace it in the model, or use TensorFlow Lite for this one"
BOUND = re.compile(r"(maximum|minimum)\d*")


def load(model: onnx.ModelProto) -> tvm.IRModule:
    """A Relax module with one function, `main`, and the weights as its constants.

    Raises:
        ModelError: TVM can't import it; the error names the operator and the nodes.
    """
    try:
        module = from_onnx(model, keep_params_in_input=False)
    except tvm.error.OpNotImplemented as error:
        raise _unknown_operators(model, str(error)) from error
    except Exception as error:  # each operator's importer raises what it likes
        node = _node_of(error)
        if node is None:
            raise ModelError(
                "TVM can't import the model", detail=_last_line(error), resolution=ELSEWHERE
            ) from error
        raise ModelError(
            f"TVM can't import operator {node.op_type}",
            detail=f"node {_name(node)}\n{_last_line(error)}",
            resolution=ELSEWHERE,
        ) from error
    return _with_plain_clips(module)


def _unknown_operators(model: onnx.ModelProto, message: str) -> ModelError:
    listed = message.splitlines()[-1].rpartition(":")[2]
    operators = sorted({name.strip() for name in listed.split(",") if name.strip()})
    nodes = [n for n in model.graph.node if n.op_type in operators]
    return ModelError(
        f"TVM can't import operator {', '.join(operators)}",
        detail="\n".join(f"{n.op_type}: node {_name(n)}" for n in nodes),
        resolution=ELSEWHERE,
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


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"that makes {', '.join(node.output)}"


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _with_plain_clips(module: tvm.IRModule) -> tvm.IRModule:
    """Clip with constant bounds as maximum and minimum.

    The importer asks at run time whether each bound is a NaN, and compares in a function of its
    own that neither fusion nor the layout pass looks into.
    """
    main = module.get_global_var("main")
    rewritten = _PlainClips(module).visit_expr(module["main"])
    module.update_func(main, rewritten)
    return relax.transform.DeadCodeElimination(["main"])(module)


@mutator
class _PlainClips(PyExprMutator):  # type: ignore[misc] # TVM is untyped
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if call.op != tvm.ir.Op.get("relax.call_tir"):
            return call
        kind = BOUND.fullmatch(call.args[0].name_hint)
        arguments = call.args[1].fields
        if kind is None or len(arguments) != 2:
            return call
        bound = arguments[1]
        if isinstance(bound, relax.Var):
            bound = self.lookup_binding(bound)
        if not isinstance(bound, relax.Call) or bound.op != tvm.ir.Op.get("relax.where"):
            return call
        constant = bound.args[2]
        value = tvm_versions.constant(constant)
        if value is None or np.isnan(value).any():
            return call
        operator = relax.op.maximum if kind[1] == "maximum" else relax.op.minimum
        return operator(arguments[0], constant)

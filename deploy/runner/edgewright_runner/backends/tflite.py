"""TensorFlow Lite: `tflite_runtime`, or LiteRT where there is no such wheel."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgewright_runner.backends import paired, typed

DISTRIBUTIONS = ("tflite-runtime", "ai-edge-litert")


class Backend:
    """An interpreter with its default delegate."""

    def __init__(self, threads: int) -> None:
        self._interpreter_class = self._imported()
        self._threads = threads
        self._interpreter: Any = None

    def _imported(self) -> Any:
        """The class of interpreters."""
        try:
            from tflite_runtime.interpreter import Interpreter
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("tflite_runtime"):
                raise
            from ai_edge_litert.interpreter import Interpreter
        return Interpreter

    def load(self, path: str) -> None:
        """Read the model, apply the default delegate, allocate."""
        interpreter = self._interpreter_class(model_path=path, num_threads=self._threads)
        interpreter.allocate_tensors()
        self._interpreter = interpreter

    def bind(self, signature: dict[str, Any]) -> None:
        """Put the names beside the interpreter's tensors."""
        inputs, outputs = self._interpreter.get_input_details, self._interpreter.get_output_details
        self._inputs = paired(signature["inputs"], inputs(), "input")
        self._outputs = paired(signature["outputs"], outputs(), "output")

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy one inference's inputs in."""
        for tensor, detail in self._inputs:
            x = arrays[tensor["name"]].astype(detail["dtype"], copy=False)
            self._interpreter.set_tensor(detail["index"], x)

    def run(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs, as the network has them."""
        return {
            tensor["name"]: typed(np.array(self._interpreter.get_tensor(detail["index"])), tensor)
            for tensor, detail in self._outputs
        }

    def delegated(self) -> dict[str, int] | None:
        """How many of the graph's nodes a delegate took; None when the runtime can't tell."""
        details = getattr(self._interpreter, "_get_ops_details", None)
        return delegated_nodes(details()) if details is not None else None


def delegated_nodes(ops: list[dict[str, Any]]) -> dict[str, int]:
    """Count the nodes that delegates took.

    The interpreter keeps the nodes of the graph and appends a DELEGATE node for each part taken. A
    node belongs to a part when the part's outputs depend on it without passing the part's inputs.

    Args:
        ops: `Interpreter._get_ops_details()`.

    Returns:
        "total": nodes of the graph; "taken": those in delegates; "parts": delegate nodes.
    """
    nodes = [op for op in ops if op["op_name"].upper() != "DELEGATE"]
    parts = [op for op in ops if op["op_name"].upper() == "DELEGATE"]
    maker = {int(t): number for number, op in enumerate(nodes) for t in op["outputs"] if t >= 0}
    taken: set[int] = set()
    for part in parts:
        stop = {int(t) for t in part["inputs"]}
        wanted = [int(t) for t in part["outputs"]]
        seen: set[int] = set()
        while wanted:
            tensor = wanted.pop()
            if tensor in stop or tensor in seen or tensor not in maker:
                continue
            seen.add(tensor)
            taken.add(maker[tensor])
            wanted.extend(int(t) for t in nodes[maker[tensor]]["inputs"] if t >= 0)
    return {"total": len(nodes), "taken": len(taken), "parts": len(parts)}

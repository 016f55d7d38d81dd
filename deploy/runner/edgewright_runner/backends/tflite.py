"""TensorFlow Lite: `tflite_runtime`, or LiteRT where there is no such wheel."""

from __future__ import annotations

from typing import Any

import numpy as np

DISTRIBUTIONS = ("tflite-runtime", "ai-edge-litert")


class Backend:
    """An interpreter with its default delegate."""

    def __init__(self, threads: int) -> None:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("tflite_runtime"):
                raise
            from ai_edge_litert.interpreter import Interpreter
        self._interpreter_class: Any = Interpreter
        self._threads = threads
        self._interpreter: Any = None

    def load(self, path: str) -> None:
        """Read the model, apply the default delegate, allocate."""
        interpreter = self._interpreter_class(model_path=path, num_threads=self._threads)
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1:
            raise ValueError(f"the model has {len(inputs)} inputs, one was expected")
        self._interpreter, self._input, self._output = interpreter, inputs[0], outputs[0]

    def set_input(self, x: np.ndarray) -> None:
        """Copy one batch in, quantised when the model's input is."""
        dtype = np.dtype(self._input["dtype"])
        scale, zero = self._input.get("quantization", (0.0, 0))
        if dtype.kind in "iu" and scale:
            limits = np.iinfo(dtype)
            x = np.clip(np.rint(x / scale) + zero, limits.min, limits.max)
        self._interpreter.set_tensor(self._input["index"], x.astype(dtype, copy=False))

    def run(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def output(self) -> np.ndarray:
        """The output as float32, dequantised when the model's output is quantised."""
        y = np.array(self._interpreter.get_tensor(self._output["index"]))
        scale, zero = self._output.get("quantization", (0.0, 0))
        if y.dtype.kind in "iu" and scale:
            y = (y.astype(np.float32) - zero) * scale
        return np.asarray(y, dtype=np.float32)

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

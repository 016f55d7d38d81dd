"""LSTM, GRU and RNN as the products and activations that each step consists of.

By the equations of ONNX's operators, version 22: all directions and layouts, peepholes, activations
of its list, clipping, lengths of sequences. What depends on the input alone is one product for all
steps; a step then has one product with the state. Sequences are of known length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from toolchain.compile.operators.graph import Graph, attributes

OPERATORS = ("GRU", "LSTM", "RNN")
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
DEFAULTS = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}
# activation -> ONNX operator and its parameters by place, with their defaults
ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "thresholdedrelu": ("ThresholdedRelu", {"alpha": 1.0}),
}
LONGEST = 512  # steps that are written out


@dataclass(kw_only=True)
class _Direction:
    """One direction of a layer: names of its weights, one way through the sequence."""

    graph: Graph
    kind: str
    hidden: int
    said: dict[str, Any]
    index: int
    backward: bool
    product: str  # (T, B, gates * hidden) of the input, biases added
    recurrent: str  # (hidden, gates * hidden)
    recurrent_bias: str = ""  # (gates * hidden), of a GRU that resets after the product
    peepholes: str = ""
    lengths: str = ""  # (B, 1) int32
    steps: int = 0
    states: list[str] = field(default_factory=list)  # h, and c; (B, hidden)

    def run(self) -> list[str]:
        """Write out all steps; the hidden state after each, in the sequence's order."""
        graph, found = self.graph, [""] * self.steps
        order = range(self.steps)
        for step in reversed(order) if self.backward else order:
            given = graph.emit(
                "Gather", [self.product, graph.const(np.array(step, np.int64))], axis=0
            )
            states = self._step(given)
            if self.lengths:
                inside = graph.emit(
                    "Greater", [self.lengths, graph.const(np.array(step, np.int32))]
                )
                states = [
                    graph.emit("Where", [inside, new, old])
                    for new, old in zip(states, self.states, strict=True)
                ]
                zero = graph.const(np.zeros((), np.float32))
                found[step] = graph.emit("Where", [inside, states[0], zero])
            else:
                found[step] = states[0]
            self.states = states
        return found

    def _step(self, given: str) -> list[str]:
        return {"GRU": self._gru, "LSTM": self._lstm, "RNN": self._rnn}[self.kind](given)

    def _rnn(self, given: str) -> list[str]:
        graph = self.graph
        product = graph.emit("MatMul", [self.states[0], self.recurrent])
        return [self._activated(0, graph.emit("Add", [given, product]))]

    def _lstm(self, given: str) -> list[str]:
        graph = self.graph
        hidden, cell = self.states
        product = graph.emit("MatMul", [hidden, self.recurrent])
        i, o, f, c = self._parts(graph.emit("Add", [given, product]), 4)
        if self.peepholes:
            i = self._peep(i, cell, 0)
            f = self._peep(f, cell, 2)
        i = self._activated(0, i)
        if self.said.get("input_forget"):
            f = graph.emit("Sub", [graph.const(np.ones((), np.float32)), i])
        else:
            f = self._activated(0, f)
        candidate = self._activated(1, c)
        cell = graph.emit("Add", [graph.emit("Mul", [f, cell]), graph.emit("Mul", [i, candidate])])
        if self.peepholes:
            o = self._peep(o, cell, 1)
        o = self._activated(0, o)
        return [graph.emit("Mul", [o, self._activated(2, cell, clip=False)]), cell]

    def _gru(self, given: str) -> list[str]:
        graph, hidden = self.graph, self.states[0]
        of_input = self._parts(given, 3)
        if self.said.get("linear_before_reset"):
            product = graph.emit("MatMul", [hidden, self.recurrent])
            if self.recurrent_bias:
                product = graph.emit("Add", [product, self.recurrent_bias])
            z, r, h = self._parts(product, 3)
            z = self._activated(0, graph.emit("Add", [of_input[0], z]))
            r = self._activated(0, graph.emit("Add", [of_input[1], r]))
            candidate = graph.emit("Add", [of_input[2], graph.emit("Mul", [r, h])])
        else:
            both = self._columns(0, 2)
            z, r = self._parts(graph.emit("MatMul", [hidden, both]), 2)
            z = self._activated(0, graph.emit("Add", [of_input[0], z]))
            r = self._activated(0, graph.emit("Add", [of_input[1], r]))
            reset = graph.emit("Mul", [r, hidden])
            product = graph.emit("MatMul", [reset, self._columns(2, 3)])
            candidate = graph.emit("Add", [of_input[2], product])
        candidate = self._activated(1, candidate)
        # the same as (1 - z) candidate + z hidden, with one product
        rest = graph.emit("Sub", [hidden, candidate])
        return [graph.emit("Add", [candidate, graph.emit("Mul", [z, rest])])]

    def _parts(self, value: str, count: int) -> list[str]:
        """The gates of a value (B, count * hidden), each (B, hidden)."""
        return [
            _slice(self.graph, value, -1, n * self.hidden, (n + 1) * self.hidden)
            for n in range(count)
        ]

    def _columns(self, first: int, last: int) -> str:
        return _slice(self.graph, self.recurrent, 1, first * self.hidden, last * self.hidden)

    def _peep(self, gate: str, cell: str, index: int) -> str:
        weights = _slice(
            self.graph, self.peepholes, 0, index * self.hidden, (index + 1) * self.hidden
        )
        return self.graph.emit("Add", [gate, self.graph.emit("Mul", [weights, cell])])

    def _activated(self, place: int, value: str, *, clip: bool = True) -> str:
        """The direction's activation of that place, after clipping."""
        graph, bound = self.graph, self.said.get("clip")
        if bound and clip:
            low, high = (graph.const(np.array(s * bound, np.float32)) for s in (-1, 1))
            value = graph.emit("Clip", [value, low, high])
        each = len(DEFAULTS[self.kind])
        names = self.said.get("activations") or DEFAULTS[self.kind] * 2
        at = self.index * each + place
        name = _text(names[at]).lower()
        if name == "affine":
            alpha, beta = self._parameters(names, at, {"alpha": 1.0, "beta": 0.0}).values()
            scaled = graph.emit("Mul", [value, graph.const(np.array(alpha, np.float32))])
            return graph.emit("Add", [scaled, graph.const(np.array(beta, np.float32))])
        if name == "scaledtanh":
            alpha, beta = self._parameters(names, at, {"alpha": 1.0, "beta": 1.0}).values()
            inner = graph.emit("Mul", [value, graph.const(np.array(beta, np.float32))])
            return graph.emit(
                "Mul", [graph.emit("Tanh", [inner]), graph.const(np.array(alpha, np.float32))]
            )
        operator, defaults = ACTIVATIONS[name]
        parameters: dict[str, Any] = dict(self._parameters(names, at, defaults))
        return graph.emit(operator, [value], **parameters)

    def _parameters(
        self, names: list[Any], at: int, defaults: dict[str, float]
    ) -> dict[str, float]:
        """What activation_alpha and _beta say of one activation: only those that have one count."""
        found = {}
        for key, default in defaults.items():
            values = self.said.get(f"activation_{key}") or []
            before = sum(key in _wants(_text(name)) for name in names[:at])
            found[key] = float(values[before]) if before < len(values) else default
        return found


def _wants(name: str) -> set[str]:
    lowered = name.lower()
    if lowered in ("affine", "scaledtanh"):
        return {"alpha", "beta"}
    return set(ACTIVATIONS[lowered][1]) if lowered in ACTIVATIONS else set()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _slice(graph: Graph, value: str, axis: int, start: int, end: int) -> str:
    if graph.opset >= 10:
        return graph.emit("Slice", [value, graph.ints(start), graph.ints(end), graph.ints(axis)])
    return graph.emit("Slice", [value], starts=[start], ends=[end], axes=[axis])


def rewrite(graph: Graph, node: onnx.NodeProto) -> bool:
    """Replace a recurrent layer whose input's shape is known.

    Returns:
        whether it was replaced; not where the sequence is longer than LONGEST or an activation is
        not ONNX's.
    """
    inputs = [*node.input, *[""] * 8][:8]
    x, w, r, b, lengths, h0, c0, p = inputs
    shape = graph.shape(x)
    said = attributes(node)
    kind = node.op_type
    weights = graph.shape(r)
    if shape is None or weights is None:
        return False
    batch_first = bool(said.get("layout"))
    steps, batch = (shape[1], shape[0]) if batch_first else (shape[0], shape[1])
    if steps > LONGEST:
        return False
    hidden = int(said.get("hidden_size", weights[2]))
    directions = weights[0]
    if batch_first:
        x = graph.emit("Transpose", [x], perm=[1, 0, 2])
    if lengths:
        lengths = graph.over_axes(
            "Unsqueeze", graph.emit("Cast", [lengths], to=onnx.TensorProto.INT32), [1]
        )
    each: list[tuple[list[str], list[str]]] = []
    for index in range(directions):
        direction = _Direction(
            graph=graph, kind=kind, hidden=hidden, said=said, index=index, steps=steps,
            backward=index == 1 or said.get("direction") == "reverse",
            product="", recurrent="", lengths=lengths,
        )  # fmt: skip
        _weights(direction, x, (w, r, b, p))
        direction.states = [
            _state(graph, state, index, (batch, hidden), batch_first)
            for state in ([h0, c0] if kind == "LSTM" else [h0])
        ]
        each.append((direction.run(), direction.states))
    _outputs(graph, node, each, batch_first)
    return True


def _weights(direction: _Direction, x: str, names: tuple[str, str, str, str]) -> None:
    """One direction's product of the whole input, and its other weights."""
    graph, index = direction.graph, direction.index
    w, r, b, p = names
    gates = GATES[direction.kind] * direction.hidden
    turned = graph.emit("Transpose", [_of(graph, w, index)], perm=[1, 0])
    product = graph.emit("MatMul", [x, turned])
    direction.recurrent = graph.emit("Transpose", [_of(graph, r, index)], perm=[1, 0])
    if b:
        bias = _of(graph, b, index)
        of_input, of_state = (_slice(graph, bias, 0, n * gates, (n + 1) * gates) for n in (0, 1))
        if direction.kind == "GRU" and direction.said.get("linear_before_reset"):
            direction.recurrent_bias = of_state
        else:
            of_input = graph.emit("Add", [of_input, of_state])
        product = graph.emit("Add", [product, of_input])
    direction.product = product
    if p:
        direction.peepholes = _of(graph, p, index)


def _of(graph: Graph, value: str, index: int) -> str:
    """A direction's part of a weight, whose first axis counts directions."""
    return graph.emit("Gather", [value, graph.const(np.array(index, np.int64))], axis=0)


def _state(graph: Graph, name: str, index: int, shape: tuple[int, int], batch_first: bool) -> str:
    if not name:
        return graph.const(np.zeros(shape, np.float32), "state")
    return graph.emit(
        "Gather", [name, graph.const(np.array(index, np.int64))], axis=1 if batch_first else 0
    )


def _outputs(
    graph: Graph, node: onnx.NodeProto, each: list[tuple[list[str], list[str]]], batch_first: bool
) -> None:
    """Y (T, D, B, H) or (B, T, D, H); the last states (D, B, H) or (B, D, H)."""
    outputs = [*node.output, "", "", ""][:3]
    if outputs[0]:
        steps = []
        for at in zip(*(states for states, _ in each), strict=True):
            rows = [graph.over_axes("Unsqueeze", value, [0, 1]) for value in at]
            steps.append(rows[0] if len(rows) == 1 else graph.emit("Concat", rows, axis=1))
        whole = "" if batch_first else outputs[0]
        y = graph.emit("Concat", steps, axis=0, output=whole)
        if batch_first:
            graph.emit("Transpose", [y], perm=[2, 0, 1, 3], output=outputs[0])
    for place, name in enumerate(outputs[1:]):
        if name:
            axis = 1 if batch_first else 0
            last = [graph.over_axes("Unsqueeze", states[place], [axis]) for _, states in each]
            graph.emit("Concat", last, axis=axis, output=name)

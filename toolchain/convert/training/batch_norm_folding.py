"""Batch norms folded into the layers before them, as converters do: one set of weights a layer.

What is done to a layer's weights afterwards (zeroed, clustered, rounded) is then what runs.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# Layers that a batch norm after them can be folded into.
KERNELS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def fold(model: keras.Model) -> keras.Model:
    """A copy of a model that computes the same, with fewer batch norms.

    A norm is folded when it is all that follows a layer of `KERNELS` without an activation.
    """
    graph = keras.Model(model.inputs, model.outputs)  # a Sequential as a graph
    follow = consumers(graph)
    norm_of = {
        layer.name: after[0]
        for layer in graph.layers
        if len(after := follow.get(layer.name, [])) == 1 and _foldable(layer, after[0])
    }
    folded_norms = {norm.name for norm in norm_of.values()}

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        settings = layer.get_config()
        if layer.name in norm_of:
            settings["use_bias"] = True
        return layer.__class__.from_config(settings)

    def called(layer: keras.layers.Layer, *args: Any, **named: Any) -> Any:
        return args[0] if layer.name in folded_norms else layer(*args, **named)

    made: keras.Model = keras.models.clone_model(graph, clone_function=copied, call_function=called)
    for layer in (layer for layer in made.layers if layer.weights):
        original = graph.get_layer(layer.name)
        if layer.name in norm_of:
            layer.set_weights(_folded_weights(original, norm_of[layer.name]))
        else:
            layer.set_weights(original.get_weights())
    return made


def consumers(graph: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The layers that take a layer's output, by its name; a layer may have been used elsewhere."""
    found: dict[str, list[keras.layers.Layer]] = {}
    depths = graph._nodes_by_depth  # noqa: SLF001 (Keras has no other way to ask)
    for node in (node for nodes in depths.values() for node in nodes):
        for parent in node.parent_nodes:
            found.setdefault(parent.operation.name, []).append(node.operation)
    return found


def _foldable(layer: keras.layers.Layer, norm: keras.layers.Layer) -> bool:
    if not isinstance(norm, keras.layers.BatchNormalization) or type(layer) not in KERNELS:
        return False
    axis = norm.axis if isinstance(norm.axis, int) else norm.axis[0]
    last = axis in (-1, len(layer.output.shape) - 1)
    return last and layer.activation is keras.activations.linear


def _folded_weights(layer: Any, norm: Any) -> list[Any]:
    """Kernel and bias with scale and shift of the norm in them; computed in float64."""
    kernel = np.asarray(layer.kernel, np.float64)
    mean, variance = (np.asarray(v, np.float64) for v in (norm.moving_mean, norm.moving_variance))
    gamma = np.asarray(norm.gamma, np.float64) if norm.scale else 1.0
    beta = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else 0.0
    scale = gamma / np.sqrt(variance + norm.epsilon)
    shaped = scale.reshape(kernel.shape[-2:]) if _depthwise(layer) else scale
    return [
        (kernel * shaped).astype(np.float32),
        np.broadcast_to((bias - mean) * scale + beta, scale.shape).astype(np.float32),
    ]


def _depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)

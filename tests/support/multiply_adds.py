"""The multiplications with an addition that an inference of a Keras model takes."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

PRODUCTS = {"MatMul", "BatchMatMulV2"}


def of_model(model: keras.Model) -> int:
    """Those of convolutions and products of matrices; of all else there are few."""
    specs = [tf.TensorSpec((1, *given.shape[1:]), given.dtype) for given in model.inputs]
    call = tf.function(lambda x: model(x if len(specs) > 1 else x[0], training=False))
    concrete = call.get_concrete_function(specs)
    return sum(_of_operator(operator) for operator in concrete.graph.get_operations())


def _of_operator(operator: tf.Operation) -> int:
    if operator.type in PRODUCTS:
        transposed = operator.get_attr("transpose_a" if operator.type == "MatMul" else "adj_x")
        inner = operator.inputs[0].shape[-2 if transposed else -1]
        return int(np.prod(operator.outputs[0].shape) * inner)
    if operator.type == "Conv2D":
        return int(np.prod(operator.outputs[0].shape) * np.prod(operator.inputs[1].shape[:3]))
    if operator.type == "DepthwiseConv2dNative":
        return int(np.prod(operator.outputs[0].shape) * np.prod(operator.inputs[1].shape[:2]))
    if operator.type == "Conv2DBackpropInput":  # a transposed convolution
        return int(np.prod(operator.inputs[2].shape) * np.prod(operator.inputs[1].shape[:3]))
    return 0

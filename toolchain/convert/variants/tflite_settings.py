"""How TensorFlow's converter is set up for each numeric variant of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from toolchain.formats.signature import Tensor
from toolchain.samples.sets import Sets

# Variants whose weights the converter changes, and the operators of those in integers.
OPTIMISED = ("float16", "dynamic", "int8", "int16x8", "qat")
INTEGERS = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


def settings(
    variant: str, inputs: Sequence[Tensor], calibration: Sets | None
) -> Callable[[tf.lite.TFLiteConverter], None]:
    """What sets a converter up for a variant.

    The ranges of a network that was trained with its rounding are in its graph.

    Args:
        variant: one of `variants.VARIANTS`.
        inputs: the graph's.
        calibration: inputs to measure ranges on, for a variant that needs them.
    """

    def configure(converter: tf.lite.TFLiteConverter) -> None:
        if variant in OPTIMISED:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            # TensorFlow Lite 2.14, the device's, knows dense layers with one scale for all weights.
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if calibration is not None:
            converter.representative_dataset = lambda: (
                [given[tensor.name] for tensor in inputs] for given in calibration
            )
            # all of it in integers, or none: a form that is half one and half the other is an error
            converter.target_spec.supported_ops = [INTEGERS[variant]]

    return configure

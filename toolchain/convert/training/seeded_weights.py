"""Weights for an architecture when there are no trained ones.

Drawn from a seed, with statistics like a trained network's, so that activations neither vanish nor
explode and the output differs clearly from class to class and from input to input: a parity check
on outputs that are all alike would check nothing. They classify nothing.
"""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

# Standard deviation of the scores before softmax. At 3, the likeliest of 1000 classes gets about a
# fifth of the probability, as in a network that is fairly sure.
SPREAD = 3.0


def fill(model: keras.Model, seed: int, x: npt.NDArray[np.float32]) -> None:
    """Give a model seeded weights.

    Args:
        model: any whose last layer with a kernel makes the scores.
        seed: draws them.
        x: real inputs; the batch norms' statistics and the scores' scale are measured on these.
    """
    draw(model, seed)
    _measure_batch_norms(model, x)
    _scale_scores(model, x)


def draw(model: keras.Model, seed: int) -> None:
    """Give a model seeded weights that nothing was measured for."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(_drawn(rng, variable.path.rpartition("/")[2], tuple(variable.shape)))


def _drawn(rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Values for one variable: He et al. (2015) for kernels, near identity for batch norms."""
    if role in ("kernel", "depthwise_kernel"):
        inputs = shape[:-2] if role == "depthwise_kernel" else shape[:-1]
        drawn = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(inputs))
    elif role == "recurrent_kernel":  # a state neither dies out nor explodes
        drawn = rng.standard_normal(shape) * np.sqrt(1.0 / shape[0])
    elif role == "embeddings":
        drawn = rng.standard_normal(shape)
    elif role == "gamma":
        drawn = rng.uniform(0.5, 1.5, shape)
    elif role in ("beta", "bias"):
        drawn = rng.standard_normal(shape) * 0.1
    elif role in ("moving_variance", "variance"):  # the second is Normalization's
        drawn = np.ones(shape)
    else:
        drawn = np.zeros(shape)
    return np.asarray(drawn, dtype=np.float32)


def _measure_batch_norms(model: keras.Model, x: npt.NDArray[np.float32]) -> None:
    """Set every batch norm's moving statistics to those of these inputs, in one pass."""
    norms = [n for n in model.layers if isinstance(n, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _scale_scores(model: keras.Model, x: npt.NDArray[np.float32]) -> None:
    """Centre each class's score over these inputs and give all scores a spread of SPREAD.

    Without the centring the features' common part decides and every input gets the same classes.
    """
    last = next(n for n in reversed(model.layers) if getattr(n, "kernel", None) is not None)
    if np.prod(last.output.shape[1:-1]) > 1:
        _scale_map(model, last, x)
        return
    features = keras.Model(model.inputs, last.input)(x, training=False)
    flat = np.asarray(features, dtype=np.float64).reshape(len(x), -1)
    kernel = np.asarray(last.kernel, dtype=np.float64)
    scores = flat @ kernel.reshape(flat.shape[1], -1)
    centre = scores.mean(axis=0)
    scale = SPREAD / (scores - centre).std()
    last.kernel.assign((kernel * scale).astype(np.float32))
    last.bias.assign((-centre * scale).astype(np.float32))


def _scale_map(model: keras.Model, last: keras.Layer, x: npt.NDArray[np.float32]) -> None:
    """The same where a layer without an activation makes scores for each of many places."""
    scores = np.asarray(keras.Model(model.inputs, last.output)(x, training=False), np.float64)
    centre = scores.mean(axis=tuple(range(scores.ndim - 1)))
    scale = SPREAD / (scores - centre).std()
    last.kernel.assign((np.asarray(last.kernel, np.float64) * scale).astype(np.float32))
    bias = (np.asarray(last.bias, np.float64) - centre) * scale
    last.bias.assign(bias.astype(np.float32))

"""A text encoder of six layers, as MiniLM-L6 (Wang et al., 2020) and BERT (Devlin et al., 2019).

Token ids and a mask in, both int64, a vector for each token out.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from toolchain.convert.training import seeded_weights
from toolchain.convert.training.network_source import NetworkSource
from toolchain.core.worker import Progress
from toolchain.models.catalogue import CatalogueEntry

TOKENS, LONGEST = 30522, 512
LAYERS, WIDTH, HEADS, INNER = 6, 384, 12, 1536
EPSILON = 1e-12
UNSEEN = -1e4  # what is added to the score of a token that the mask leaves out


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained; the entry's shape is how many tokens it takes."""
    layers = keras.layers
    (length,) = entry.shape
    ids = layers.Input((length,), dtype="int64", name="input_ids")
    mask = layers.Input((length,), dtype="int64", name="attention_mask")
    x = layers.Embedding(TOKENS, WIDTH, name="tokens")(ids)
    places = keras.ops.zeros_like(ids) + np.arange(length)
    x = layers.Add(name="placed")([x, layers.Embedding(LONGEST, WIDTH, name="positions")(places)])
    x = layers.LayerNormalization(epsilon=EPSILON, name="embeddings_norm")(x)
    seen = keras.ops.cast(mask, "float32")
    hidden = keras.ops.reshape((1.0 - seen) * UNSEEN, (-1, 1, 1, length))
    for number in range(LAYERS):
        x = _layer(x, hidden, f"layer_{number}")
    x = layers.Identity(name="last_hidden_state")(x)
    return keras.Model([ids, mask], x, name="text_encoder")


def _layer(x: Any, hidden: Any, name: str) -> Any:
    """Attention, then two dense layers, each added to what it was given and normalised."""
    layers = keras.layers
    y = _attention(x, hidden, f"{name}_attention")
    y = layers.Add(name=f"{name}_attention_add")([x, y])
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(y)
    y = layers.Dense(INNER, name=f"{name}_inner")(x)
    # by the hyperbolic tangent, as in BERT's own code
    y = layers.Dense(WIDTH, name=f"{name}_outer")(keras.activations.gelu(y, approximate=True))
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm")(y)


def _attention(x: Any, hidden: Any, name: str) -> Any:
    layers, ops = keras.layers, keras.ops
    length, each = x.shape[1], WIDTH // HEADS
    parts = []
    for part in ("query", "key", "value"):
        y = layers.Dense(WIDTH, name=f"{name}_{part}")(x)
        y = layers.Reshape((length, HEADS, each), name=f"{name}_{part}_heads")(y)
        parts.append(layers.Permute((2, 1, 3), name=f"{name}_{part}_first")(y))
    query, key, value = parts
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * each**-0.5
    y = ops.matmul(layers.Softmax(name=f"{name}_shares")(scores + hidden), value)
    y = layers.Permute((2, 1, 3), name=f"{name}_heads_last")(y)
    y = layers.Reshape((length, WIDTH), name=f"{name}_joined")(y)
    return layers.Dense(WIDTH, name=f"{name}_out")(y)


def draw(model: keras.Model, _entry: CatalogueEntry, seed: int, _progress: Progress) -> None:
    """Weights of a seed; norms keep what comes of them in bounds."""
    seeded_weights.draw(model, seed)


SOURCE = NetworkSource(architecture=architecture, fill=draw)

"""A fully connected autoencoder of sounds: what it can't give back is out of the ordinary.

As MLPerf Tiny's rules shape it for anomaly detection (Koizumi et al., 2020): five frames of 128
log-mel bands in and out, a bottleneck of 8.
"""

from __future__ import annotations

import keras

from toolchain.convert.training.network_source import NetworkSource
from toolchain.models.catalogue import CatalogueEntry

HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)


def architecture(entry: CatalogueEntry) -> keras.Model:
    """The network, untrained."""
    layers = keras.layers
    given = layers.Input(entry.shape)
    x = given
    for number, units in enumerate(HIDDEN, start=1):
        x = layers.Dense(units, name=f"dense_{number}")(x)
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
        x = layers.ReLU(name=f"relu_{number}")(x)
    x = layers.Dense(entry.shape[0], name="reconstruction")(x)
    return keras.Model(given, x, name="autoencoder")


SOURCE = NetworkSource(architecture=architecture)

"""The catalogue's networks: an architecture, and weights of a file, trained here or drawn.

A source of networks is an entry of SOURCES, or a module of `networks`. Runs in the worker:
TensorFlow is imported here.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import keras

from toolchain.convert import networks
from toolchain.convert.requests import Part
from toolchain.convert.training import digits_network, weights_file
from toolchain.convert.training.network_source import NetworkSource
from toolchain.core import store
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats import keras_file
from toolchain.formats.graphs import tensorflow_graph
from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.manifest import Source
from toolchain.models.specification import ModelSpec


def load(spec: ModelSpec, weights: Part, progress: Progress) -> tuple[TensorFlowNetwork, Source]:
    """A network of the catalogue, and where its weights are from.

    Args:
        spec: which, and the user's weights where there are any.
        weights: where there are none: those that were made for it before, or are made now.
        progress: called with each step.

    Raises:
        ModelError: the user's weights don't fit it.
    """
    assert spec.entry is not None
    tensorflow_graph.settle()
    progress("reading the model")
    model = source_of(spec.entry).architecture(spec.entry)
    if spec.weights is not None:
        _read_users(model, spec.weights)
        said = f"file:{store.digest_file(spec.weights)}"
    else:
        said = _with_weights(model, spec.entry, spec.seed, weights, progress)
    return keras_file.network(model), Source(kind=keras_file.FORMAT.name, weights=said)


def source_of(entry: CatalogueEntry) -> NetworkSource:
    """Where the network of an entry comes from."""
    if entry.source in SOURCES:
        return SOURCES[entry.source]
    assert entry.constructor is not None
    found: NetworkSource = importlib.import_module(networks.module(entry.constructor)).SOURCE
    return found


def _with_weights(
    model: keras.Model, entry: CatalogueEntry, seed: int, weights: Part, progress: Progress
) -> str:
    """Give a model the weights that are made here; what they are, as `Source.weights`."""
    source = source_of(entry)
    if weights.pinned is not None:
        assert source.read is not None
        progress("reading its weights")
        source.read(model, weights.pinned)
        return f"{source.weights}:{store.digest_file(weights.pinned)}"
    if weights.found is not None:
        weights_file.read(model, weights.found)
    else:
        assert weights.wanted is not None
        source.fill(model, entry, seed, progress)
        weights_file.write(model, weights.wanted)
    if source.weights == "seeded":
        return f"seeded:{seed}"
    folder = weights.found or weights.wanted
    assert folder is not None
    return f"{source.weights}:{store.digest_file(folder / weights_file.FILE)}"


def _read_users(model: keras.Model, path: Path) -> None:
    try:
        if path.suffix in keras_file.HDF5:
            model.load_weights(path)
        else:
            model.set_weights(keras_file.read(path).get_weights())
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{path.name}: these weights don't fit {model.name}",
            detail=str(error),
            resolution="give weights saved from the same keras.applications architecture, "
            "with its top",
        ) from error


def _of_keras_applications(entry: CatalogueEntry) -> keras.Model:
    assert entry.constructor is not None
    make = getattr(keras.applications, entry.constructor)
    made: keras.Model = make(
        weights=None, input_shape=entry.shape, classes=entry.classes, **entry.arguments
    )
    return made


def _of_digits(entry: CatalogueEntry) -> keras.Model:
    height, width, channels = entry.shape
    assert entry.classes is not None
    return digits_network.architecture((height, width, channels), entry.classes)


def _train(model: keras.Model, _entry: CatalogueEntry, seed: int, progress: Progress) -> None:
    progress("training on scikit-learn's digits")
    digits_network.train(model, seed)


SOURCES = {
    "keras-applications": NetworkSource(architecture=_of_keras_applications),
    "digits": NetworkSource(architecture=_of_digits, fill=_train, weights="trained"),
}

"""The catalogue's own networks: a module each, found by its name, with `SOURCE`.

An entry of catalogue.toml with `source = "network"` names the module as its `constructor`. The
modules are imported in the worker: TensorFlow is there.
"""

from __future__ import annotations

PACKAGE = __name__


def module(constructor: str) -> str:
    """The module of a network, by the name in its entry."""
    return f"{PACKAGE}.{constructor}"

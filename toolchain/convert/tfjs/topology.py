"""A Keras 3 model's description as Keras 2 wrote it, which is what TensorFlow.js reads.

What differs: names of modules beside each class, objects where a type was a word, the shape of an
input under another key, and how a layer says whose outputs it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolchain.core.errors import ModelError

TENSOR = "__keras_tensor__"
# what Keras 3 writes beside a class and what is in it
BESIDE = {"module", "registered_name", "build_config", "shared_object_id", "compile_config"}
NEW = {"optional", "ragged", "quantization_config", "lora_rank", "lora_alpha"}
# Keras 3 calls these weights otherwise
WEIGHT_NAMES = {("DepthwiseConv2D", "kernel"): "depthwise_kernel"}


def of(described: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a model.

    Args:
        described: `class_name` and `config`, as Keras 3 writes them.

    Raises:
        ModelError: a layer takes what only Keras 3 can say.
    """
    made: dict[str, Any] = _plain(described)
    return made


def weight_name(layer: str, kind: str, name: str) -> str:
    """What TensorFlow.js calls a weight.

    Args:
        layer: the layer's name.
        kind: its class.
        name: of the weight in Keras 3.
    """
    return f"{layer}/{WEIGHT_NAMES.get((kind, name), name)}"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    made = {key: _plain(item) for key, item in value.items() if key not in BESIDE | NEW}
    if "batch_shape" in made:
        made["batch_input_shape"] = made.pop("batch_shape")
    if "inbound_nodes" in value:
        made["inbound_nodes"] = [_node(value["name"], node) for node in value["inbound_nodes"]]
    for key in ("input_layers", "output_layers"):
        if key in made and made[key] and not isinstance(made[key][0], list):
            made[key] = [made[key]]
    return made


def _node(layer: str, node: Any) -> list[Any]:
    """One call of a layer: a row for each tensor that it takes.

    Raises:
        ModelError: it takes tensors by name.
    """
    taken = list(_tensors(node["args"]))
    if any(True for _ in _tensors(node["kwargs"])):
        raise ModelError(
            f"the layer {layer} is given tensors by name, which TensorFlow.js's layers can't be",
            resolution="leave --form out: the graph form takes it",
        )
    others = [argument for argument in node["args"] if not list(_tensors(argument))]
    if any(argument is not None for argument in others) or node["kwargs"].get("training"):
        raise ModelError(
            f"the layer {layer} is called with values beside tensors, which are not kept here",
            resolution="leave --form layers out: the graph form takes it",
        )
    said = {key: item for key, item in node["kwargs"].items() if key not in ("mask", "training")}
    return [[*history, said if index == 0 else {}] for index, history in enumerate(taken)]


def _tensors(value: Any) -> Any:
    """The histories (layer, call, output) of the tensors within arguments, in order."""
    if isinstance(value, Mapping):
        if value.get("class_name") == TENSOR:
            yield value["config"]["keras_history"]
        else:
            for item in value.values():
                yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)

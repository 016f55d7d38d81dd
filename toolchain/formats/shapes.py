"""What a model's input and output must look like; shared by all kinds of source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolchain.core.errors import ModelError

ONE_TENSOR = "one image in, one list of scores out is what can be measured; export the model so"


def fixed_shape(shape: Sequence[int | str | None], batch: int) -> tuple[int, ...]:
    """An input's shape with the batch filled in; a name or None stands for an open dimension.

    Raises:
        ModelError: another dimension is open, or the batch is already fixed at another.
    """
    text = f"({', '.join('?' if d is None else str(d) for d in shape)})"
    if not shape:
        raise ModelError("the model's input is a single number", resolution=ONE_TENSOR)
    rest = shape[1:]
    if not all(isinstance(d, int) and d > 0 for d in rest):
        raise ModelError(
            "the model's input has a dynamic shape",
            detail=f"input {text}: only the first dimension, the batch, may be open",
            resolution="export it with a fixed height, width and channels",
        )
    if isinstance(shape[0], int) and shape[0] not in (0, batch):
        raise ModelError(
            f"the model's batch is fixed at {shape[0]}, batch {batch} was asked for",
            detail=f"input {text}",
            resolution=f"use --batch {shape[0]}, or export the model with an open batch",
        )
    return (batch, *(d for d in rest if isinstance(d, int)))


def refuse_unless_one(
    what: str, tensors: Sequence[tuple[str, Sequence[int | str | None], str]]
) -> None:
    """Refuse a model with several inputs or outputs, or one that isn't float32."""
    listed = "\n".join(
        f"{name}: {dtype} ({', '.join('?' if d is None else str(d) for d in shape)})"
        for name, shape, dtype in tensors
    )
    if len(tensors) != 1:
        raise ModelError(
            f"the model has {len(tensors)} {what}s, one is expected",
            detail=listed,
            resolution=ONE_TENSOR,
        )
    if tensors[0][2] != "float32":
        raise ModelError(
            f"the model's {what} is {tensors[0][2]}, float32 is expected",
            detail=listed,
            resolution=f"export the model with a float32 {what}",
        )


def only_tensor(outputs: Any) -> Any:
    """The one tensor of what a model returns, which may be in a list or dictionary."""
    while isinstance(outputs, dict | list | tuple):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs

"""From a model's open sizes to fixed ones: what was asked for, what its file says, or one error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from toolchain.core.errors import ModelError, UsageError
from toolchain.formats.signature import Dims, OpenTensor, Signature, Tensor

Shapes = Mapping[str, tuple[int, ...]]

_ONE_SHAPE = re.compile(r"(?:(?P<name>.*)=)?(?P<sizes>\d+(?:x\d+)*|scalar)", re.ASCII)
# sizes that an error proposes, to be replaced by the user's
_IMAGE_SIDE, _LENGTH = 224, 128


def parsed(text: str) -> dict[str, tuple[int, ...]]:
    """The shapes of an option such as `images=1x3x640x640,mask=1x640`.

    A shape without a name is of a network's only input, and stands under an empty one.

    Raises:
        UsageError: it can't be read, or says several sizes of an input.
    """
    (found, *others) = side_by_side(text)
    if others:
        name = next(iter(others[0]))
        raise UsageError(
            f"--shape gives {name or 'the input'} two sizes",
            resolution="give each input's sizes once here",
        )
    return found


def side_by_side(text: str) -> list[dict[str, tuple[int, ...]]]:
    """The shapes of an option that may say several of a network: `x=1x320,x=1x640`.

    An input that was named before begins the next; there is one at least, which may be empty.

    Raises:
        UsageError: it can't be read.
    """
    found: list[dict[str, tuple[int, ...]]] = [{}]
    for part in (part.strip() for part in text.split(",") if part.strip()):
        said = _ONE_SHAPE.fullmatch(part)
        if said is None:
            raise UsageError(
                f"--shape can't be read: {part!r}",
                resolution="give each input's sizes, for example: "
                "--shape images=1x3x640x640,mask=1x640",
            )
        sizes = [] if said["sizes"] == "scalar" else said["sizes"].split("x")
        name = said["name"] or ""
        if name in found[-1]:
            found.append({})
        found[-1][name] = tuple(int(size) for size in sizes)
    return found


def told_apart(sets: Sequence[Shapes]) -> list[str]:
    """A word for each of several shapes of a network: the sizes in which it differs from others.

    Args:
        sets: from `side_by_side`; one alone needs no word, and has an empty one.

    Raises:
        UsageError: two are the same.
    """
    if len(sets) == 1:
        return [""]
    alike = {name for name in sets[0] if all(of.get(name) == sets[0][name] for of in sets)}
    words = [
        "-".join(dict.fromkeys(_sizes_of(shape) for name, shape in of.items() if name not in alike))
        for of in sets
    ]
    if len(set(words)) < len(words):
        raise UsageError(
            "--shape gives the same sizes twice",
            detail=", ".join(",".join(_option(n, s) for n, s in of.items()) for of in sets),
            resolution="give each shape of the network once",
        )
    return words


def fixed(
    signature: Signature, batch: int, shapes: Shapes | None = None
) -> tuple[tuple[Tensor, ...], int]:
    """A network's inputs with all their sizes, and its batch.

    The first dimension of an input is the batch where it is open, and called as the first input's
    is. A name that stands for a size in one place stands for it everywhere.

    Args:
        signature: the network's.
        batch: what an open batch becomes. A batch that is fixed at another is taken where this is
            1, as nothing else was asked for then.
        shapes: the whole shape of some of the inputs by name; of a network's only input, or of
            none in particular, under an empty one.

    Returns:
        the inputs; and how many samples one inference takes, which is 1 where the inputs don't
        all begin with the same size.

    Raises:
        UsageError: a shape is of no input, or not of the model's.
        ModelError: sizes are left open, or the batch is fixed at another.
    """
    asked = _by_input(signature, shapes or {})
    known: dict[str, int] = {}
    for tensor in signature.inputs:
        if tensor.name in asked:
            _learn(tensor, asked[tensor.name], known)
    name = _name_of_batch(signature)
    if name is not None:  # it may stand elsewhere too, as in (layers, batch, size) of a state
        known.setdefault(name, batch)
    inputs: list[Tensor] = []
    left: list[OpenTensor] = []
    for tensor in signature.inputs:
        sizes = list(asked.get(tensor.name, tensor.dims))
        if sizes and _is_batch(tensor, name) and tensor.name not in asked:
            sizes[0] = batch if name is None else known[name]
        filled = [known.get(d, d) if isinstance(d, str) else d for d in sizes]
        if not all(isinstance(d, int) and d > 0 for d in filled):
            left.append(tensor)
            continue
        shape = tuple(d for d in filled if isinstance(d, int))
        inputs.append(tensor.fixed(shape))
    if left:
        raise _open(signature, left, batch, name)
    opened = any(t.dims and _is_batch(t, name) for t in signature.inputs)
    if opened:
        first = next(i for i, t in enumerate(signature.inputs) if t.dims and _is_batch(t, name))
        return tuple(inputs), _as_asked(inputs, batch, inputs[first].shape[0])
    firsts = {tensor.shape[0] for tensor in inputs if tensor.shape}
    return tuple(inputs), _as_asked(inputs, batch, firsts.pop() if len(firsts) == 1 else 1)


def _by_input(signature: Signature, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    names = [tensor.name for tensor in signature.inputs]
    found = {}
    for name, shape in shapes.items():
        if name not in names and (name or len(names) > 1):
            raise UsageError(
                f"--shape names {name}, which is no input of the model"
                if name
                else "--shape says of no input whose it is, and the model has several",
                detail=signature.listed(),
                resolution=f"for example: --shape {names[0]}=SIZES",
            )
        found[name or names[0]] = shape
    return found


def _learn(tensor: OpenTensor, shape: tuple[int, ...], known: dict[str, int]) -> None:
    """Check a shape that was asked for, and take the sizes of its named dimensions."""
    fits = len(shape) == len(tensor.dims) and all(
        size > 0 and (_is_open(d) or d == size) for size, d in zip(shape, tensor.dims, strict=True)
    )
    if not fits:
        raise UsageError(
            f"--shape {_option(tensor.name, shape)} is no shape of the model's {tensor.name}",
            detail=str(tensor),
            resolution="give as many sizes as it has dimensions, and the fixed ones as they are",
        )
    for size, dim in zip(shape, tensor.dims, strict=True):
        if isinstance(dim, str) and known.setdefault(dim, size) != size:
            raise UsageError(
                f"--shape gives {dim} two sizes, {known[dim]} and {size}",
                detail=str(tensor),
                resolution=f"{dim} is one size wherever it stands",
            )


def _is_open(dim: int | str | None) -> bool:
    return not isinstance(dim, int) or dim <= 0


def _name_of_batch(signature: Signature) -> str | None:
    """What the batch is called, None where it has no name."""
    firsts = [t.dims[0] for t in signature.inputs if t.dims and _is_open(t.dims[0])]
    named = [first for first in firsts if isinstance(first, str)]
    return named[0] if named else None


def _is_batch(tensor: OpenTensor, name: str | None) -> bool:
    """Whether the first dimension of an input is the open batch."""
    first = tensor.dims[0]
    return _is_open(first) and (not isinstance(first, str) or first == name)


def _as_asked(inputs: Sequence[Tensor], asked: int, found: int) -> int:
    """How many samples an inference takes.

    Raises:
        ModelError: another number than was asked for.
    """
    if asked not in (1, found):
        raise ModelError(
            f"the model's batch is fixed at {found}, batch {asked} was asked for",
            detail="\n".join(f"{tensor.name}: {tensor.shape}" for tensor in inputs),
            resolution=f"use --batch {found}, or export the model with an open batch",
        )
    return found


def _open(
    signature: Signature, left: Sequence[OpenTensor], batch: int, name: str | None
) -> ModelError:
    """The error for sizes that nothing says; with the option to type."""

    def proposed(tensor: OpenTensor) -> str:
        sizes = []
        for position, dim in enumerate(tensor.dims):
            if not _is_open(dim):
                sizes.append(str(dim))
            elif position == 0 and _is_batch(tensor, name):
                sizes.append(str(batch))
            else:
                sizes.append(str(_IMAGE_SIDE if len(tensor.dims) == 4 else _LENGTH))
        return f"{tensor.name}={'x'.join(sizes)}"

    open_dims = [f"{tensor.name}: {_described(tensor.dims, tensor, name)}" for tensor in left]
    return ModelError(
        "the model has open sizes, and nothing says what they are",
        detail="\n".join([*open_dims, "", signature.listed()]),
        resolution="give them, with your own in the place of these: --shape "
        + ",".join(proposed(tensor) for tensor in left),
    )


def _described(dims: Dims, tensor: OpenTensor, name: str | None) -> str:
    said = [
        str(dim) if isinstance(dim, str) else f"dimension {position + 1}"
        for position, dim in enumerate(dims)
        if _is_open(dim) and not (position == 0 and _is_batch(tensor, name))
    ]
    return f"{', '.join(said)} {'is' if len(said) == 1 else 'are'} open"


def _option(name: str, shape: Sequence[int]) -> str:
    return f"{name}={_sizes_of(shape)}"


def _sizes_of(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def tensors_of(outputs: Any) -> list[tuple[str, Any]]:
    """All tensors of what a model returns, in lists, tuples and dictionaries, and their keys.

    A dictionary's are in the order of their keys, as TensorFlow flattens them; a key is empty where
    there is none.
    """
    if isinstance(outputs, dict):
        return [
            (key or str(name), tensor)
            for name in sorted(outputs)
            for key, tensor in tensors_of(outputs[name])
        ]
    if isinstance(outputs, list | tuple):
        return [found for part in outputs for found in tensors_of(part)]
    return [("", outputs)]

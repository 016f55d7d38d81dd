"""State: outputs of a network that are its inputs again, an inference later.

Speech networks and cells of LSTMs have it. Which output goes to which input is said by the user, or
found where their names say it; what is said has to fit, what is found is left where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolchain.core.errors import UsageError
from toolchain.formats.signature import OpenTensor, Signature, Tensor

STEPS = 8  # inferences of a sequence

# What a part of the name of a state's input is, or begins with before a number.
_WORDS = {
    *(
        "h",
        "c",
        "hx",
        "cx",
        "hc",
        "hidden",
        "cell",
        "state",
        "states",
        "carry",
        "rnn",
        "lstm",
        "gru",
    ),
    *("mem", "mems", "memory", "cache", "caches", "cached", "buf", "buffer"),
}
# What tells the two ends apart, as a part of the name or at its end: h and hn, c_in and c_out.
_OF_INPUTS = {"in", "input", "i", "prev", "previous", "past", "old", "init", "initial", "0"}
_OF_OUTPUTS = {"n", "out", "output", "o", "next", "new", "present", "final"}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """An input, and the output that it is given a step later; both by name."""

    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class State:
    """What is fed back, and for how long.

    Attributes:
        feeds: each input that has a state, once.
        steps: inferences of a sequence. Its first has the samples' own state, or zeros; each of
            the others what the one before gave.
    """

    feeds: tuple[Feed, ...]
    steps: int = STEPS

    def __post_init__(self) -> None:
        """Refuse what feeds nothing.

        Raises:
            ValueError: there is no feed, or no step.
        """
        if not self.feeds or self.steps < 1:
            raise ValueError("a state has an input and a step")

    def __str__(self) -> str:
        pairs = ", ".join(f"{feed.output} goes to {feed.input}" for feed in self.feeds)
        return f"{pairs}; in sequences of {self.steps} steps"

    @property
    def inputs(self) -> Mapping[str, str]:
        """The output of each input that has a state."""
        return {feed.input: feed.output for feed in self.feeds}


def known(signature: Signature, pairs: Mapping[str, str] | None) -> State | None:
    """The state of a network before it was run: what a user says, else what its names say.

    Args:
        signature: the network's.
        pairs: as `said`; None where the user says nothing of a state.

    Raises:
        UsageError: a name that the user says is none of the network's.
    """
    return found(signature) if pairs is None else said(signature, pairs)


def said(signature: Signature, pairs: Mapping[str, str]) -> State | None:
    """The state that a user says; None where they say that there is none.

    Args:
        signature: the network's.
        pairs: the output of each input that has a state.

    Raises:
        UsageError: a name is none of the network's.
    """
    inputs, outputs = signature.inputs, signature.outputs
    for what, tensors, names in (("input", inputs, pairs), ("output", outputs, pairs.values())):
        unknown = [name for name in names if name not in {tensor.name for tensor in tensors}]
        if unknown:
            raise UsageError(
                f"[state] names {unknown[0]}, which is no {what} of the model",
                detail=signature.listed(),
                resolution='write INPUT = "OUTPUT" with names of these',
            )
    feeds = tuple(Feed(input=name, output=pairs[name]) for name in pairs)
    return State(feeds=feeds) if feeds else None


def found(signature: Signature) -> State | None:
    """The state that the names of a network say; None where they don't, or leave no other input."""
    feeds = []
    for tensor in signature.inputs:
        bases = set(_bases(tensor.name, _OF_INPUTS))
        fitting = [
            one.name
            for one in signature.outputs
            if bases & set(_bases(one.name, _OF_OUTPUTS)) and _may_fit(tensor, one)
        ]
        if len(fitting) == 1:
            feeds.append(Feed(input=tensor.name, output=fitting[0]))
    outputs = [feed.output for feed in feeds]
    kept = tuple(feed for feed in feeds if outputs.count(feed.output) == 1)
    return State(feeds=kept) if 0 < len(kept) < len(signature.inputs) else None


def refuse_misfit(state: State, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Refuse a state that was said and can't be.

    Args:
        state: which.
        inputs: the network's.
        outputs: the network's.

    Raises:
        UsageError: an output has another shape, type or scale than the input that it goes to.
    """
    given, made = ({one.name: one for one in tensors} for tensors in (inputs, outputs))
    for feed in state.feeds:
        to, of = given[feed.input], made[feed.output]
        if not _fits(to, of):
            raise UsageError(
                f'[state] {feed.input} = "{feed.output}" does not fit: '
                f"{_described(to)}, {_described(of)}",
                resolution="leave the pair out, or export the network with both alike",
            )


def what_fits(state: State, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> State | None:
    """What is left of a state that was found by names.

    Args:
        state: which.
        inputs: the network's.
        outputs: the network's.
    """
    given, made = ({one.name: one for one in tensors} for tensors in (inputs, outputs))
    kept = tuple(one for one in state.feeds if _fits(given[one.input], made[one.output]))
    return State(feeds=kept, steps=state.steps) if kept else None


def _bases(name: str, marks: set[str]) -> Iterator[str]:
    """What a name may be of a state by, without one of the marks in it."""
    parts = _parts(name)
    ways = [parts]
    ways += [parts[:n] + parts[n + 1 :] for n, part in enumerate(parts) if part in marks]
    ways += [
        [*parts[:-1], parts[-1].removesuffix(mark)] for mark in marks if parts[-1].endswith(mark)
    ]
    for way in ways:
        if any(part.rstrip("0123456789") in _WORDS for part in way):
            yield "_".join(part for part in way if part)


def _parts(name: str) -> list[str]:
    """The words of a name, in lower case: of stateN, state and n."""
    plain = name.removeprefix("serving_default_").partition(":")[0]
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
    return [part for part in re.split(r"[^a-z0-9]+", apart) if part] or [""]


def _may_fit(given: OpenTensor, made: OpenTensor) -> bool:
    """Whether all that the file says of two tensors is alike."""
    sizes = len(given.dims) == len(made.dims) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0)
        for a, b in zip(given.dims, made.dims, strict=True)
    )
    return sizes and (given.dtype, given.quantization) == (made.dtype, made.quantization)


def _fits(given: Tensor, made: Tensor) -> bool:
    return (given.shape, given.dtype, given.quantization) == (
        made.shape,
        made.dtype,
        made.quantization,
    )


def _described(tensor: Tensor) -> str:
    scale = tensor.quantization
    by = f" at a scale of {scale.scale:g} from {scale.zero}" if scale is not None else ""
    return f"{tensor.name} is {tensor.dtype} {tensor.shape}{by}"

"""Asks the runner of a device to run some inputs, and takes what it answers, which is a claim."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deploy.measure.runner_protocol import command
from deploy.run.deployed_model import Choice, DeployedModel
from deploy.run.inputs import Item
from toolchain.core.errors import BenchError, CommandError, UsageError
from toolchain.formats.signature import Tensor

Array = npt.NDArray[Any]
Json = dict[str, Any]
LIMIT_S = 1800.0
MOST_BYTES = 1 << 30  # of what one inference gives
GROUP_BYTES = 32 << 20  # of inputs that are sent at once
USERS = ("InputError", "MeaningError", "NotDeployedError")  # errors of edgewright_device
DEPLOY_AGAIN = "deploy again: `invoke deploy --host NAME`"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One inference on a device.

    Attributes:
        item: what it was given.
        seconds: what the runtime took for it.
        outputs: by name, in the shapes of the model's signature.
        inputs: as the network took them; empty where they were not asked for.
    """

    item: Item
    seconds: float
    outputs: Mapping[str, Array]
    inputs: Mapping[str, Array]


class Connection(Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        on_line: Callable[[str], None] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Run a command on the device and return its standard output."""
        ...


def run(
    conn: Connection,
    root: str,
    there: DeployedModel,
    choice: Choice,
    items: Sequence[Item],
    *,
    inputs: bool,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Ran]:
    """Run items, in groups that fit into one question each.

    Args:
        conn: an open connection.
        root: our folder on the device.
        there: the model.
        choice: what runs it.
        items: what it is given.
        inputs: whether they are wanted back as the network took them.
        progress: told what was done.

    Raises:
        UsageError: the network doesn't take what it is given.
        BenchError: the runner failed, or answers what can't be.
        ConnectionFailed: the link dropped.
    """
    ran: list[Ran] = []
    for group in _groups(items):
        said = functools.partial(_said, progress, before=len(ran), of=len(items))
        listener = _Listener(there, group, inputs=inputs, told=said)
        threads = choice.threads or (there.manifest.metadata and there.manifest.metadata.threads)
        try:
            conn.run(
                # thread pools of numpy and of runtimes read it once, when they start
                ["env", f"OMP_NUM_THREADS={threads or 1}", *command(f"{root}/current", "--run")],
                timeout=LIMIT_S,
                on_line=listener.line,
                input_text=_question(there, choice, group, inputs=inputs),
            )
        except CommandError as error:
            raise BenchError(
                f"{there.manifest.model} could not be run on the device",
                detail=error.output,
                resolution=DEPLOY_AGAIN,
            ) from error
        ran += listener.finished()
    return ran


def _said(progress: Callable[[str], None], done: int, *, before: int, of: int) -> None:
    progress(f"{before + done} of {of}")


def _groups(items: Sequence[Item]) -> list[list[Item]]:
    """Items in their order; a sequence of a network with state stays together."""
    groups: list[list[Item]] = []
    size = 0
    for item in items:
        its = sum(array.nbytes for array in _sent(item).values())
        if not groups or (item.begins and size + its > GROUP_BYTES):
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += its
    return groups


def _sent(item: Item) -> Mapping[str, Array]:
    if item.picture is not None:
        return {"picture": item.picture}
    return {"sound": item.sound} if item.sound is not None else item.arrays


def _question(there: DeployedModel, choice: Choice, items: Sequence[Item], *, inputs: bool) -> str:
    one = choice.executable
    return json.dumps(
        {
            "model": there.manifest.model,
            "batch": there.manifest.batch,
            "runtime": one.runtime,
            "variant": one.variant,
            "opt_level": one.opt_level,
            "threads": choice.threads,
            "inputs": inputs,
            "items": [_written(item) for item in items],
        }
    )


def _written(item: Item) -> Json:
    sent = {name: _array(array) for name, array in _sent(item).items()}
    return {"begins": item.begins, **({"arrays": sent} if item.arrays else sent)}


def _array(array: Array) -> Json:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


class _Listener:
    """Takes the runner's lines as they come."""

    def __init__(
        self,
        there: DeployedModel,
        items: Sequence[Item],
        *,
        inputs: bool,
        told: Callable[[int], None],
    ) -> None:
        manifest, self._told = there.manifest, told
        self._name, self._items = manifest.model, items
        self._signature = {"outputs": {one.name: one for one in manifest.outputs}}
        self._signature["inputs"] = {t.name: t for t in manifest.inputs} if inputs else {}
        # shapes are what the device says: what it may fill here has a bound of our own
        size = sum(_size(t) for tensors in self._signature.values() for t in tensors.values())
        if size > MOST_BYTES:
            raise BenchError(
                f"{self._name} gives {size} bytes an inference, as the device says",
                detail=f"at most {MOST_BYTES >> 30} GiB is taken",
                resolution=DEPLOY_AGAIN,
            )
        self._data: dict[tuple[str, str], bytearray] = {}
        self._ran: list[Ran] = []

    def line(self, text: str) -> None:
        """Take one line; what a login prints is no event.

        Raises:
            UsageError: the network doesn't take what it is given.
            BenchError: it failed, or the line can't be understood.
        """
        try:
            event = json.loads(text) if text.startswith("{") else {}
            kind = event.get("event")
            if kind == "data":
                self._piece(event)
            elif kind == "ran":
                self._keep(event)
            elif kind == "failed":
                self._refuse(event)
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise BenchError(
                "the runner on the device answers what can't be",
                detail=f"{type(error).__name__}: {error}"[:500],
                resolution=DEPLOY_AGAIN,
            ) from error

    def finished(self) -> list[Ran]:
        """All that ran.

        Raises:
            BenchError: the runner ended early.
        """
        if len(self._ran) != len(self._items):
            raise BenchError(
                f"the runner on the device ended after {len(self._ran)} of {len(self._items)} "
                "inputs",
                resolution=DEPLOY_AGAIN,
            )
        return self._ran

    def _piece(self, event: Json) -> None:
        of, name = str(event["of"]), str(event["name"])
        wanted = _size(self._signature[of][name])
        kept = self._data.setdefault((of, name), bytearray())
        kept += base64.b64decode(str(event["data"]), validate=True)
        if len(kept) > wanted:
            raise ValueError(f"{name} has more than {wanted} bytes")

    def _keep(self, event: Json) -> None:
        if event["item"] != len(self._ran) or event["item"] >= len(self._items):
            raise ValueError(f"there is no item {event['item']} now")
        seconds = float(event["seconds"])
        if not 0 <= seconds < LIMIT_S:
            raise ValueError(f"an inference of {seconds} s")
        arrays = {
            of: {name: self._taken(of, tensor) for name, tensor in tensors.items()}
            for of, tensors in self._signature.items()
        }
        self._ran.append(Ran(item=self._items[len(self._ran)], seconds=seconds, **arrays))
        self._data.clear()
        self._told(len(self._ran))

    def _taken(self, of: str, tensor: Tensor) -> Array:
        content = self._data.get((of, tensor.name), bytearray())
        if len(content) != _size(tensor):
            raise ValueError(
                f"{tensor.name} has {len(content)} bytes, {_size(tensor)} are expected"
            )
        return np.frombuffer(bytes(content), tensor.dtype).reshape(tensor.shape)

    def _refuse(self, event: Json) -> None:
        message, resolution = str(event["message"])[:2000], str(event["resolution"])[:500]
        kind = UsageError if event["kind"] in USERS else BenchError
        raise kind(f"{self._name}: {message}", resolution=resolution)


def _size(tensor: Tensor) -> int:
    """Bytes of a tensor."""
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize

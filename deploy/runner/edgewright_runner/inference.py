"""Runs a model on inputs that come with the question, and answers with all of its outputs.

Standard input is one JSON object: `model`, `batch`, `runtime`, `variant`, `opt_level` and `threads`
as `edgewright_device.load` has them; `inputs`, whether these are wanted back as the network took
them; and `items`. Each item has `picture` (height, width[, 3]) of bytes, `sound` (samples,) of
float64, or `arrays` by the names of inputs; `begins` says that a sequence begins with it. An array
is an object of `dtype`, `shape` and `data`, its bytes in base64.

Events on standard output, one a line:
    {"event": "loaded", "runtime", "variant", "opt_level", "threads", "seconds"}   first
    {"event": "data", "item", "of", "name", "data"}         a piece of an array, of `outputs` or
                                                            `inputs`; pieces are in their order
    {"event": "ran", "item", "seconds", "outputs", "inputs"}   one an item, after its pieces: the
                                                            arrays' dtype and shape by name
    {"event": "failed", "kind", "message", "resolution"}    in the place of any; the last then
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PIECE = 3 << 20  # bytes, a multiple of three

Json = dict[str, Any]


def main(release: Path) -> int:
    """Answer the question on standard input; the exit code is 0 also when the answer is a failure.

    What a runtime prints, which it does from C, goes to standard error.
    """
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.read())
    from edgewright_device import EdgewrightError

    def say(**event: Any) -> None:
        stream.write(json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n")
        stream.flush()

    try:
        refuse_busy(release.parents[1] / "lock")
        answer(release, asked, say)
    except EdgewrightError as error:
        kind = type(error).__name__
        say(event="failed", kind=kind, message=error.brief, resolution=error.resolution)
    # as in a job: thread pools have been seen to crash while Python shuts down
    os._exit(0)


def refuse_busy(lock: Path) -> None:
    """Keep off a device on which somebody measures or deploys.

    Raises:
        edgewright_device.EdgewrightError: somebody does.
    """
    from edgewright_device import EdgewrightError

    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EdgewrightError(
            "a deployment or a measurement is under way on the device",
            "wait for it to end, then run the same command again",
        ) from error
    except OSError:
        return  # nobody ever took it


def answer(release: Path, asked: Json, say: Any) -> None:
    """Load the model, run every item, say what comes out.

    Args:
        release: its folder.
        asked: the question.
        say: takes the fields of an event.

    Raises:
        edgewright_device.EdgewrightError: something can't be done.
    """
    from edgewright_device import load

    started = time.perf_counter()
    net = load(
        asked["model"],
        runtime=asked.get("runtime"),
        variant=asked.get("variant"),
        opt_level=asked.get("opt_level"),
        threads=asked.get("threads"),
        batch=asked.get("batch"),
        release=release,
    )
    say(
        event="loaded",
        runtime=net.runtime,
        variant=net.variant,
        opt_level=net.opt_level,
        threads=net.threads,
        seconds=time.perf_counter() - started,
    )
    for number, item in enumerate(asked["items"]):
        if item.get("begins"):
            net.reset()
        given = net.taken(_given(item))
        outputs = net(given)
        seconds = net.seconds
        wanted = {"outputs": outputs, **({"inputs": given} if asked["inputs"] else {})}
        for of, arrays in wanted.items():
            for name, array in arrays.items():
                for data in pieces(array):
                    say(event="data", item=number, of=of, name=name, data=data)
        kinds = {of: {name: kind(a) for name, a in arrays.items()} for of, arrays in wanted.items()}
        say(event="ran", item=number, seconds=seconds, **{"inputs": {}, **kinds})


def _given(item: Json) -> Any:
    for kind in ("picture", "sound"):
        if kind in item:
            return array_of(item[kind])
    return {name: array_of(one) for name, one in item["arrays"].items()}


def kind(array: np.ndarray) -> Json:
    """What an array is, beside its bytes."""
    return {"dtype": array.dtype.name, "shape": list(array.shape)}


def pieces(array: np.ndarray) -> Iterator[str]:
    """An array's bytes in base64, in pieces that fit into a line."""
    content = np.ascontiguousarray(array).tobytes()
    for start in range(0, len(content), PIECE):
        yield base64.b64encode(content[start : start + PIECE]).decode()


def array_of(sent: Json) -> np.ndarray:
    """An array that was sent."""
    values = np.frombuffer(base64.b64decode(sent["data"]), sent["dtype"])
    return values.reshape(sent["shape"])

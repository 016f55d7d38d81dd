"""Guest instructions an inference, counted by an emulator's plugin.

A job marks the moments before its first counted inference and after each; the plugin writes how
many instructions there had been at each mark. What Python and its libraries do before, which is
another number each time (threads that start, and spin), is not in the differences.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# What the plugin knows a mark by: a system call whose first argument it is.
MARK = 0x45574D4B
MOST = 11
# One inference of a large network takes some ten seconds under the emulator that counts.
ENOUGH_S = 10.0

Json = dict[str, Any]


def repeat(infer: Callable[[], object]) -> None:
    """The same inference again and again, a mark before the first and after each.

    It is run once before them: a runtime prepares much in its first inference. The mark after the
    first counted one takes up what the first pass through this code costs.
    """
    infer()
    started = time.monotonic()
    gc.collect()
    gc.disable()
    _mark()
    for done in range(1, MOST + 1):
        infer()
        _mark()
        if done > 1 and time.monotonic() - started > ENOUGH_S:
            return


def count(run: Callable[..., Json], job: Json, counter: Json) -> Json:
    """Run a job under the emulator that counts; return its result.

    Args:
        run: runs a job, given it and `under`, a command line that runs another.
        job: what to run.
        counter: the emulator's command line ("emulator") and the plugin's path ("plugin").
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        under = [*counter["emulator"], "-plugin", f"{counter['plugin']},out={out}"]
        result = run({**job, "counted": True}, under=under)
        if result["status"] != "ok":
            return result
        try:
            before, first, *later = [int(line) for line in out.read_text().split()]
            last = later[-1]
        except (OSError, ValueError, IndexError) as error:
            result["status"] = "failed"
            message = f"the emulator's plugin gave no number: {error}"
            result["error"] = {"stage": "count", "kind": "count", "message": message}
            return result
    result["instructions"] = {
        "inferences": [1, 1 + len(later)],
        "totals": [first - before, last - before],
    }
    return result


def _mark() -> None:
    # no process has such a number; that it was asked for is the mark
    with suppress(ProcessLookupError):
        os.getsid(MARK)

"""Guest instructions an inference, counted by an emulator's plugin.

Start-up, import, load and warm-up are the same in every run of a job, so the difference of two runs
with different numbers of inferences is the inferences' alone. It takes three runs: two to see how
many instructions one inference has, and one with so many that what else may differ does not matter.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# So many instructions are counted for the difference, where one inference has fewer: two starts of
# Python were seen to differ by some hundred.
ENOUGH = 500_000_000
MOST = 20_000

Json = dict[str, Any]


def count(run: Callable[..., Json], job: Json, counter: Json) -> Json:
    """Run a job three times under the emulator that counts; return its result.

    Args:
        run: runs a job, given it and `under`, a command line that runs another.
        job: what to run.
        counter: the emulator's command line ("emulator") and the plugin's path ("plugin").
    """
    os.environ["PYTHONHASHSEED"] = "0"
    totals = {}
    more = 1
    for inferences in (1, 2):
        result, totals[inferences] = _run(run, job, counter, inferences)
        if result["status"] != "ok":
            return result
    one = max(1, totals[2] - totals[1])
    if one < ENOUGH:
        more = min(MOST, -(-ENOUGH // one))
        result, totals[1 + more] = _run(run, job, counter, 1 + more)
    if result["status"] == "ok":
        result["instructions"] = {
            "inferences": [1, 1 + more],
            "totals": [totals[1], totals[1 + more]],
        }
    return result


def _run(run: Callable[..., Json], job: Json, counter: Json, inferences: int) -> tuple[Json, int]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        under = [*counter["emulator"], "-plugin", f"{counter['plugin']},out={out}"]
        result = run({**job, "inferences": inferences}, under=under)
        try:
            return result, int(out.read_text())
        except (OSError, ValueError) as error:
            if result["status"] == "ok":
                result["status"] = "failed"
                message = f"the emulator's plugin gave no number: {error}"
                result["error"] = {"stage": "count", "kind": "count", "message": message}
            return result, 0

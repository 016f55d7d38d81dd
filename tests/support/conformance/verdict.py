"""What becomes of a case at a level: right, wrong, refused or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.support.conformance import cases, pipeline
from tests.support.conformance.cases import Array, Case
from toolchain.compile.operators.narrow_types import carried
from toolchain.core.errors import EdgewrightError

TOLERANCE = (1e-3, 1e-5)  # relative, absolute: at least these, since sums are in another order
# What a rounding of these is off by, a few times: sums are rounded at other places.
COARSE = {"bfloat16": 2**-7, "float16": 2**-9}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a case at a level.

    Attributes:
        name: the case's.
        operator: what it is of.
        level: the optimisation level.
        result: right, wrong, refused (an error of ours at import, by name) or failed.
        why: in a line, where it is not right.
    """

    name: str
    operator: str
    level: int
    result: str
    why: str = ""


def judge(name: str, level: int) -> Verdict:
    """Take one case through the pipeline at a level, and hold it against what is right."""
    case = cases.named(name)
    try:
        result, why = compared(case, pipeline.run(case.model, case.inputs, level))
    except EdgewrightError as error:
        result, why = "refused", f"{error.brief}; {error.detail}"
    except Exception as error:  # noqa: BLE001 # what isn't an error of ours is what we look for
        last = str(error).strip().splitlines() or [""]
        result, why = "failed", f"{type(error).__name__}: {last[-1]}"
    return Verdict(name=name, operator=case.operator, level=level, result=result, why=why[:300])


def compared(case: Case, outputs: Sequence[Array]) -> tuple[str, str]:
    """Whether outputs are right, and why not."""
    if len(outputs) != len(case.outputs):
        return "wrong", f"{len(outputs)} outputs, not {len(case.outputs)}"
    own = (case.rtol, case.atol)
    for output, right in zip(outputs, case.outputs, strict=True):
        narrow = carried(right) is not right
        value = output.view(right.dtype) if narrow and output.dtype.itemsize == 1 else output
        if value.shape != right.shape or value.dtype != right.dtype:
            return "wrong", f"{value.dtype} {value.shape}, not {right.dtype} {right.shape}"
        found, wanted = (a if a.dtype.kind in "biu" else a.astype(float) for a in (value, right))
        coarse = COARSE.get(right.dtype.name, 0.0)
        relative, absolute = (max(*pair, coarse) for pair in zip(own, TOLERANCE, strict=True))
        if not np.allclose(found, wanted, rtol=relative, atol=absolute, equal_nan=True):
            return "wrong", "other values"
    return "right", ""


def in_a_line(why: str) -> str:
    """A reason as text of a page, whatever it quotes."""
    return " ".join(why.split()).replace("<", "&lt;").replace("|", "\\|")

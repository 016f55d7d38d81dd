"""Two results side by side: what changed beyond noise.

The noise of a run is judged by the run itself: its times are cut into consecutive blocks, and the
medians of the blocks show how much it drifted. A change counts when the two runs' ranges of block
medians lie apart. Emulated times are not compared; their classes and instructions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.table import Table

from toolchain.core.errors import BenchError, UsageError
from toolchain.report import formatting
from toolchain.results import measurement, statistics
from toolchain.results.configuration import Configuration
from toolchain.results.disturbances import disturbances

SAME_INSTRUCTIONS = 1e-3  # two starts of one job were seen to differ by less

_Job = tuple[str, Configuration]
Verdict = Literal[
    "faster", "slower", "within noise", "disturbed", "too few samples", "not compared", "missing"
]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One job in two results.

    Attributes:
        what: the model and its configuration.
        verdict: of the second against the first.
        before, after: latency in ms, or instructions in millions; None where there is none.
        ratio: after / before.
        classes: inputs whose class is another; None where that can't be told.
        same_file: whether the same bytes were run.
    """

    what: str
    verdict: Verdict
    before: float | None
    after: float | None
    ratio: float | None
    classes: int | None
    same_file: bool | None


def find(
    name: str,
    folder: Path,
    unreadable: Callable[[str], None],
    others: Callable[[], Sequence[Path]],
) -> measurement.Result:
    """A result by its file, the file's name in results/, or a host's latest.

    Args:
        name: one of these.
        folder: results/.
        unreadable: told of files there that can't be read.
        others: gives results of other people, and is asked only for a host.

    Raises:
        UsageError: there is none.
    """
    for path in (Path(name), folder / name, folder / f"{name}.json"):
        if path.is_file():
            return measurement.load(path)
    found = measurement.load_all(folder, unreadable, others())
    of_host = [r for r in found if r.host == name]
    if not of_host:
        raise UsageError(
            f"no result {name}",
            resolution=f"give a file of {folder.name}/, its name, or a host that was measured",
        )
    return of_host[-1]


def compare(first: measurement.Result, second: measurement.Result) -> list[Change]:
    """Every job of either result, in the order of the first and then of the second.

    Raises:
        BenchError: one is emulated and the other is not, or one counted instructions.
    """
    if first.emulated != second.emulated:
        raise BenchError(
            "an emulated result is never compared with a real one",
            detail=f"{first.name}: emulated {first.emulated}\n"
            f"{second.name}: emulated {second.emulated}",
            resolution="compare two results of real devices, or two of emulated ones",
        )
    if first.counted != second.counted:
        raise BenchError(
            "one result counted instructions and the other took times",
            resolution="compare two of the same kind",
        )
    before, after = _by_job(first), _by_job(second)
    return [
        change(job, before.get(job), after.get(job), emulated=first.emulated)
        for job in dict.fromkeys([*before, *after])
    ]


def _by_job(result: measurement.Result) -> dict[_Job, measurement.Measurement]:
    return {(m.model, m.configuration): m for m in result.measurements}


def change(
    job: tuple[str, Configuration],
    first: measurement.Measurement | None,
    second: measurement.Measurement | None,
    *,
    emulated: bool,
) -> Change:
    """What one job came to from the first to the second time that it was measured.

    Args:
        job: the model and how it was run.
        first: its first measurement; None where there is none.
        second: its second.
        emulated: whether their times are an emulator's, which are not compared.
    """
    before, after = _value(first, emulated=emulated), _value(second, emulated=emulated)
    if first is None or second is None:
        verdict: Verdict = "missing"
    elif first.instructions and second.instructions:
        verdict = _by_instructions(first.instructions.each, second.instructions.each)
    elif emulated or before is None or after is None:
        verdict = "not compared"
    else:
        verdict = _by_times(first.samples_ns, second.samples_ns)
        if verdict in ("faster", "slower") and (disturbances(first) or disturbances(second)):
            # what else ran there explains a change as well as the change that is looked for
            verdict = "disturbed"
    files = [m.artifact.sha256 for m in (first, second) if m is not None and m.artifact is not None]
    return Change(
        what=formatting.subject(*job),
        verdict=verdict,
        before=before,
        after=after,
        ratio=after / before if before and after else None,
        classes=_other_classes(first, second),
        same_file=files[0] == files[1] if len(files) == 2 else None,
    )


def _value(m: measurement.Measurement | None, *, emulated: bool) -> float | None:
    if m is None:
        return None
    if m.instructions is not None:
        return m.instructions.each / 1e6
    timing = None if emulated else m.timing()
    return timing.latency_ns / 1e6 if timing else None


def _by_instructions(before: float, after: float) -> Verdict:
    if abs(after - before) <= SAME_INSTRUCTIONS * before:
        return "within noise"
    return "faster" if after < before else "slower"


def _by_times(before: Sequence[int], after: Sequence[int]) -> Verdict:
    if min(len(before), len(after)) < statistics.FEWEST:
        return "too few samples"
    first, second = statistics.blocks(before), statistics.blocks(after)
    if max(second) < min(first):
        return "faster"
    return "slower" if min(second) > max(first) else "within noise"


def _other_classes(
    first: measurement.Measurement | None, second: measurement.Measurement | None
) -> int | None:
    if first is None or second is None or not first.predictions or not second.predictions:
        return None
    both = zip(first.predictions, second.predictions, strict=False)
    return sum(a != b for a, b in both)


def table(
    first: measurement.Result, second: measurement.Result, changes: Sequence[Change]
) -> Table:
    """The changes for the terminal."""
    unit = "M instructions" if first.counted else "ms"
    shown = Table(
        title=f"{first.name} against {second.name}", title_justify="left", box=box.SIMPLE_HEAD
    )
    shown.add_column("")
    for name in (f"first, {unit}", f"second, {unit}", "ratio"):
        shown.add_column(name, justify="right")
    for name in ("verdict", "other classes", "same file"):
        shown.add_column(name)
    styles = {"faster": "green", "slower": "bold red"}
    for one in changes:
        shown.add_row(
            one.what,
            *(formatting.perhaps(v) for v in (one.before, one.after, one.ratio)),
            one.verdict,
            "-" if one.classes is None else str(one.classes),
            {True: "yes", False: "no", None: "-"}[one.same_file],
            style=styles.get(one.verdict, ""),
        )
    return shown

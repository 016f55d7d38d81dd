"""Every case at O0 and O3 in processes that may crash; what became of each, as JSON and in counts.

`python -m tests.conformance.run --out FILE`; `tests.conformance.table` makes docs of the file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from tests.support.conformance import cases
from tests.support.conformance.verdict import Verdict, judge

SECONDS = 60  # of one case at one level
Job = tuple[str, int]


def verdicts(names: Sequence[str], levels: Sequence[int], workers: int) -> list[Verdict]:
    """What becomes of each case at each level, in the order in which they end."""
    waiting = [(name, level) for name in names for level in levels][::-1]
    ended: list[Verdict] = []

    def work() -> None:
        while waiting:
            _until_one_fails(waiting, ended)

    shown = 0
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        for verdict in ended[shown:]:
            if verdict.result != "right":
                sys.stderr.write(
                    f"{verdict.name} O{verdict.level} {verdict.result}: {verdict.why}\n"
                )
        shown = len(ended)
    return ended


def _until_one_fails(waiting: list[Job], ended: list[Verdict]) -> None:
    """Take jobs in one process until there are no more, or one takes it down or hangs."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_quiet) as pool:
        pool.submit(_loaded).result()  # before the clock runs
        while waiting:
            name, level = waiting.pop()
            try:
                ended.append(pool.submit(judge, name, level).result(timeout=SECONDS))
            except (BrokenProcessPool, TimeoutError) as error:
                why = "the process crashed" if isinstance(error, BrokenProcessPool) else "too long"
                operator = cases.named(name).operator
                ended.append(
                    Verdict(name=name, operator=operator, level=level, result="failed", why=why)
                )
                for process in multiprocessing.active_children():
                    if process.pid in (pool._processes or {}):  # hung: no other way
                        process.kill()
                return


def _loaded() -> int:
    """Load what all cases need, which takes longer than a case."""
    return len(cases.every())


def _quiet() -> None:
    """TVM's warnings are of no use here; Python's errors come back as values."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def main() -> int:
    """Run all cases, or those with a text in their name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where the verdicts are written, as JSON")
    parser.add_argument(
        "--only", default="", help="a regular expression for parts of the cases' names"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--levels", default="0,3", help="optimisation levels, such as 0,3")
    options = parser.parse_args()
    levels = [int(level) for level in options.levels.split(",")]
    names = [case.name for case in cases.every() if re.search(options.only, case.name)]
    started = time.monotonic()
    every = sorted(verdicts(names, levels, options.jobs), key=lambda v: (v.name, v.level))
    if options.out:
        options.out.write_text(json.dumps([asdict(v) for v in every], indent=0))
    for level in levels:
        counts = Counter(v.result for v in every if v.level == level)
        sys.stdout.write(f"O{level}: {dict(counts)}\n")
    sys.stdout.write(f"{len(names)} cases in {time.monotonic() - started:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

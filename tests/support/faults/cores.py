"""Work that is spread over the machine's cores, in processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

import pytest

Part = Callable[[int, int], Mapping[str, int]]
# what is spread waits for the kernel most of its time: for journals, mounts and processes
A_CORE = 3


def on_every_core(work: Part) -> list[dict[str, int]]:
    """Do the parts of some work in processes, a few for each core.

    Args:
        work: called with the part's number and how many there are; returns what it found, by name.

    Returns:
        What each of them found.

    Raises:
        AssertionError: one of them failed; with its words.
    """
    parts = A_CORE * (os.cpu_count() or 1)
    begun = [_begin(work, number, parts) for number in range(parts)]
    found, wrong = [], []
    for pid, end in begun:
        with os.fdopen(end) as stream:
            said = stream.read()
        os.waitpid(pid, 0)
        part, failed = json.loads(said or '[{}, "it was killed"]')
        found.append(part)
        wrong += [failed] if failed else []
    assert not wrong, "\n".join(wrong)
    return found


def _begin(
    work: Callable[[int, int], Mapping[str, int]], number: int, parts: int
) -> tuple[int, int]:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        try:
            said = json.dumps([work(number, parts), ""])
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 (it is raised there)
            said = json.dumps([{}, f"{type(error).__name__}: {error}"])
        os.write(theirs, said.encode()[: 1 << 16])
    finally:
        os._exit(0)

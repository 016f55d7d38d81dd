"""How busy a device is, from what its kernel says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploy.measure import exclusive_use


def stat(*columns: int, cpus: int = 4) -> str:
    """/proc/stat with these times in its first line."""
    first = "cpu  " + " ".join(map(str, columns))
    return "\n".join([first, *(f"cpu{n} 1 1 1 1" for n in range(cpus)), "intr 5 5", "ctxt 3"])


class Saying:
    """A device whose /proc/stat is one of these, in turn."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def run(self, args: Sequence[str]) -> str:
        """Answer with the next."""
        assert list(args) == ["cat", "/proc/stat"]
        return self.texts.pop(0)


def test_cpus_in_use_are_those_that_were_not_idle() -> None:
    before = stat(100, 0, 100, 1000, 50, 0, 0, 0, 40, 40)
    # of 400 ticks on four CPUs 100 were used, 280 idled, 20 waited for disks
    after = stat(150, 0, 140, 1280, 70, 5, 5, 0, 90, 40)
    assert exclusive_use.cpus_in_use(Saying(before, after), over=0) == pytest.approx(1.0)
    assert exclusive_use.cpus_in_use(Saying(before, before), over=0) == 0


@pytest.mark.parametrize("text", ["", "cpu", "cpu  x y z", "no such file"])
def test_a_device_that_does_not_say_is_taken_for_calm(text: str) -> None:
    assert exclusive_use.cpus_in_use(Saying(text, text), over=0) == 0

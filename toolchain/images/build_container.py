"""What a build step is given: somewhere to run commands, and folders of this machine seen there.

`engine.Container` is one; unit tests have others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OnLine = Callable[[str], None]


class Executor(Protocol):
    """Somewhere to run the steps of a build."""

    def call(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> str:
        """Run a command and return what it printed.

        Raises:
            BuildError: it returned non-zero.
        """


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of this machine seen in a container."""

    source: Path
    target: str
    read_only: bool = False

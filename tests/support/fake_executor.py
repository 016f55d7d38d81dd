"""A container that runs nothing: what a build would have run is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from toolchain.core.errors import BuildError

OnLine = Callable[[str], None]


class FakeExecutor:
    """A container that records its commands and fails those whose first word is in `failing`."""

    def __init__(self, failing: Mapping[str, str] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.failing = dict(failing or {})

    def call(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> str:
        self.calls.append(list(args))
        if args[0] in self.failing:
            raise BuildError(f"{args[0]} failed", detail=self.failing[args[0]])
        return ""

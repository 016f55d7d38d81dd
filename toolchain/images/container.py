"""A container that an engine runs, and the commands in it."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolchain.core.errors import BuildError, EngineError
from toolchain.images.build_container import OnLine
from toolchain.images.copied_folders import CopiedFolders
from toolchain.images.engine_connection import explained

TAIL_LINES = 40


@dataclass(kw_only=True)
class Container:
    """A running container; see `Engine.container`."""

    id: str
    name: str
    _api: Any = field(repr=False)
    umask: str = ""
    folders: CopiedFolders | None = field(default=None, repr=False)

    def call(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> str:
        """Run a command in the container and return what it printed.

        Raises:
            BuildError: it returned non-zero; the error holds the last lines.
            EngineError: the engine went away.
        """
        if self.folders is None:
            return self._called(args, cwd, env, on_line)
        self.folders.send()
        try:
            return self._called(args, cwd, env, on_line)
        finally:
            self.folders.bring()

    def _called(
        self,
        args: Sequence[str],
        cwd: str | None,
        env: Mapping[str, str] | None,
        on_line: OnLine | None,
    ) -> str:
        under = ["sh", "-c", 'umask "$0"; exec "$@"', self.umask] if self.umask else []
        tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        output: list[str] = []
        with explained():
            execution = self._api.exec_create(
                self.id, [*under, *args], workdir=cwd, environment=dict(env or {})
            )["Id"]
            rest = ""
            for chunk in self._api.exec_start(execution, stream=True):
                text = chunk.decode(errors="replace")
                output.append(text)
                *lines, rest = (rest + text).split("\n")
                for line in lines:
                    tail.append(line)
                    if on_line is not None:
                        on_line(line)
            if rest:
                tail.append(rest)
            code = self._api.exec_inspect(execution)["ExitCode"]
        if code is None:
            raise EngineError(
                "the Docker engine stopped in the middle of a step",
                detail=" ".join(args[:3]),
                resolution="start it (invoke setup does) and run the same task again",
            )
        if code != 0:
            raise BuildError(
                f"{args[0]} failed in {self.name} with exit status {code}", detail="\n".join(tail)
            )
        return "".join(output)

    def log(self) -> str:
        """The last lines of what its own command has printed."""
        with explained():
            said: bytes = self._api.logs(self.id, tail=TAIL_LINES)
            return said.decode(errors="replace").strip()

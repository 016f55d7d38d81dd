"""Runs on the device: the steps that concern the user's program, and those that take things away.

Which program it is goes with every switch, into the note of what to go back to: whoever goes back
restarts it. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import os
from contextlib import suppress

from deploy.agent.files import Failure, fsync_path
from deploy.agent.service import absent, await_health, restart, runs
from deploy.agent.steps import Steps
from deploy.agent.trust import drop

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from typing import Any


class ServiceSteps(Steps):
    """All steps. Each public method is a request."""

    def attend(self, program: dict[str, Any]) -> str:
        """Take a program for the one that lives with the releases; why that can't be, or nothing.

        Changes nothing, needs no lock.
        """
        problem = absent(self.root, program)
        if not problem:
            self.program = program
        return problem

    def runs(self) -> bool:
        """Whether it runs. Changes nothing, needs no lock."""
        return self.program is None or runs(self.root, self.program)

    def restart(self) -> None:
        """Restart it with the release that is current now, and return when it is well."""
        self.locked()
        if self.program is not None:
            restart(self.root, self.program)
            await_health(self.root, self.program)

    def undo(self) -> dict[str, Any]:
        """Go back now, instead of when the time for the confirmation is up."""
        self.locked()
        if self.watch is None:
            raise Failure("refused", "there is no switch to undo")
        self.watch.undo()
        self.watch = None
        back = self.linked("current")
        return {"back": back, "runs": back is None or self.runs()}

    def distrust(self, key: str) -> None:
        """Take no more releases that this key signed."""
        self.locked()
        drop(self.root, key)

    def remove(self, folder: str, previous: bool) -> None:
        """Remove a complete release, and the files that no other needs.

        The running one never goes, and the one that ran before only when that is said.
        """
        self.locked()
        if self.marker(folder) is None:
            raise Failure("refused", f"{folder} is not a complete release here")
        if folder == self.linked("current"):
            raise Failure(
                "refused", f"{folder} is the release that runs", "",
                "switch to another first (invoke rollback), then remove it",
            )  # fmt: skip
        if folder == self.linked("previous"):
            if not previous:
                raise Failure(
                    "refused", f"{folder} is what a rollback goes back to", "",
                    "--force removes it all the same",
                )  # fmt: skip
            os.unlink(self.path("previous"))
            fsync_path(self.root)
        received: set[str] = set()
        with suppress(OSError, ValueError, KeyError, TypeError):
            received = {self.sha256(file["sha256"]) for file in self.manifest(folder)["files"]}
        self.discard(self.release(folder))
        for name in received - self.needed_files():
            with suppress(FileNotFoundError):
                os.unlink(self.path("blobs", name))

"""Runs on the device: the steps of a deployment that concern the user's program.

Which program it is goes with every switch, into the note of what to go back to: whoever goes back
restarts it. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

from deploy.agent.files import Failure
from deploy.agent.service import absent, await_health, restart, runs
from deploy.agent.steps import Steps

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

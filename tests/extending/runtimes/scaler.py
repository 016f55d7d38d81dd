"""A made-up runtime, as a user adds one: its files say by what the input is multiplied."""

from __future__ import annotations

from toolchain.runtimes import Runtime
from toolchain.targets import Target


class Scaler(Runtime):
    """All that differs from what a runtime is when it says nothing."""

    def unsupported(self, target: Target) -> str:
        """It runs on 64-bit targets alone."""
        return "it needs 64 bits" if target.name == "armv7l" else ""


RUNTIME = Scaler(name="scaler", label="Scaler", title="A made-up runtime")

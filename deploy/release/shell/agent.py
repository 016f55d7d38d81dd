"""Starts the agent of a device without Python, asks it single steps and hears what it says.

It is `deploy/agent/shell`, a script of POSIX sh, which says how it is asked and how it answers.
"""

from __future__ import annotations

import time
from pathlib import Path

from deploy.inventory.program import LONGEST, START_LIMIT
from deploy.inventory.reading import Device
from deploy.release.agent_session import BOOT_LIMIT, IDLE, LIMIT, PING_EVERY, Session
from toolchain.core.errors import DeviceRefused, ReleaseError, UsageError

SCRIPT = Path(__file__).parents[2] / "agent" / "shell"
PARTS = ("files", "state", "steps", "commit_confirmed", "service", "main")
END = "#end"
# Reads the script from its input, up to its end, and not a byte of what follows.
BOOT = f"""\
script=
while IFS= read -r line && [ "$line" != "{END}" ]; do
  script="$script$line
"
done
eval "$script"
"""
# seconds of a step there: it can't tell that from a silence
LONGEST_STEP = START_LIMIT + LONGEST
MOST_LINES, MOST_BYTES = 200_000, 64 << 20  # of an answer


class ShellAgent(Session):
    """A running agent. What the steps are for is `ShellSession`'s."""

    def begin(self) -> None:
        """Send the agent, and hear its first words."""
        self._process.write(source().encode())
        self.root = "\n".join(self._heard(BOOT_LIMIT))
        if not self.root.startswith("/") or not self.root.isprintable():
            raise self.unreadable(self.root)

    def keep_awake(self) -> None:
        """As `Session.keep_awake`."""
        if time.monotonic() - self._asked > PING_EVERY:
            self.step("ping")

    def end(self) -> None:
        """Let the agent go in peace."""
        self._process.write(b"bye 0\n")
        self._process.close_input()
        self._process.wait()

    def step(self, name: str, *words: str, limit: float = LIMIT) -> list[str]:
        """One request: a function of the script, do_NAME, its words, and the lines it says."""
        if any("\n" in word or "\0" in word for word in words):
            raise UsageError("a name or path for the device has a line break in it")
        lines = (f"{name} {len(words)}", *words)
        self._process.write("".join(f"{line}\n" for line in lines).encode())
        self._asked = time.monotonic()
        return self._heard(limit)

    def _heard(self, limit: float) -> list[str]:
        said: list[str] = []
        failed: list[str] = []
        size = 0
        while len(said) + len(failed) < MOST_LINES and size < MOST_BYTES:
            line = self._process.line(within=limit)
            if line is None:
                raise self._ended()
            size += len(line)
            if line == "ok":
                return said
            if line == "no":
                raise self._failed(failed)
            if line[:1] not in ("+", "-"):
                raise self.unreadable(line)
            (said if line[0] == "+" else failed).append(line[1:])
        raise self.unreadable("it says more and more")

    def _failed(self, said: list[str]) -> ReleaseError | DeviceRefused:
        """The error for a step that could not be done."""
        errors = self._process.errors()
        if not said:
            return ReleaseError(
                f"{self.name}: the device's disk refused",
                detail=errors,
                resolution="look at the device's disk, and whether it is full",
            )
        kind, brief, resolution, *detail = (*said, "", "", "")
        refused = DeviceRefused if kind in ("locked", "untrusted") else ReleaseError
        return refused(
            f"{self.name}: {brief}", detail="\n".join(detail).strip(), resolution=resolution
        )

    def unreadable(self, said: str) -> ReleaseError:
        """The error for an answer that is none."""
        return ReleaseError(f"{self.name}: the device's answer can't be read", detail=said[:500])


def command(device: Device) -> list[str]:
    """What starts the agent on a device."""
    return ["sh", "-c", BOOT, "sh", "serve", device.root, str(round(IDLE + LONGEST_STEP))]


def source() -> str:
    """What `BOOT` reads: the script without its comments, and its end."""
    text = "".join((SCRIPT / f"{part}.sh").read_text() for part in PARTS)
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return "".join(f"{line}\n" for line in (*lines, END))

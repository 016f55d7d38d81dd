"""Programs that a kernel runs besides those of its own machine."""

from __future__ import annotations

# 32-bit Raspberry Pi OS has a 64-bit kernel on boards that can run one; armv8l is what `setarch`
# makes of that kernel's name
UNDER = {("aarch64", 32): "armv7l", ("armv8l", 32): "armv7l"}


def machine_of(kernel: str, bits: int) -> str:
    """The machine that a device's programs are for.

    Args:
        kernel: its kernel's machine, as `uname -m` names it.
        bits: of a pointer in its programs.
    """
    return UNDER.get((kernel, bits), kernel)

"""Jobs for the worker's tests; each runs in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from toolchain.errors import ModelError
from toolchain.worker import Progress


def double(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    progress("doubling")
    return {
        "twice": 2 * arguments["once"],
        "process": os.getpid(),
        "seed": sys.flags.hash_randomization,
    }


def refuse(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    raise ModelError("brief", detail="detail", resolution="resolution")


def crash(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    message = "something native"
    raise RuntimeError(message)


def die(_arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}

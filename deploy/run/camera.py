"""`--input camera`: a picture that the device takes with its own camera, which is then run there.

The picture comes here first, as one that a user has: so it is seen what the network was given.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from toolchain.core import paths, store
from toolchain.core.errors import BenchError, CommandError, UsageError

PROGRAM = paths.ROOT / "deploy" / "agent" / "programs" / "take_picture.py"
NAME = "camera"
NODE = re.compile(r"/dev/[A-Za-z0-9/_.:-]{1,100}")
LIMIT_S = 120.0
JPEG = b"\xff\xd8\xff"
MOST_BYTES = 32 << 20
INSTALL = "there: sudo apt-get install ffmpeg   (for a Raspberry Pi's own camera: rpicam-apps)"


class Connection(Protocol):
    """The part of `deploy.ssh.connection.Connection` that is used here."""

    def run(
        self, args: Sequence[str], *, timeout: float = 60.0, input_text: str | None = None
    ) -> str:
        """Run a command on the device and return its standard output."""
        ...


def asked(text: str) -> str | None:
    """Which camera `--input` means; empty for the device's usual one, None where it means a file.

    Raises:
        UsageError: what stands behind `camera:` is no camera.
    """
    name, colon, node = text.partition(":")
    if name != NAME:
        return None
    node = f"/dev/video{node}" if re.fullmatch(r"[0-9]{1,3}", node) else node
    if colon and (not NODE.fullmatch(node) or ".." in node):
        raise UsageError(
            f"--input {text} names no camera",
            resolution="give it as camera:/dev/video2, or camera alone for the device's usual one",
        )
    return node


def take(conn: Connection, host: str, root: str, node: str, folder: Path) -> tuple[Path, str]:
    """A picture of a device's camera, as a file here, and what took it there.

    Args:
        conn: an open connection.
        host: the device's name, for messages.
        root: our folder on the device, which has a release.
        node: the camera, from `asked`.
        folder: where the picture is put, as camera.jpg.

    Raises:
        UsageError: nothing there takes pictures.
        BenchError: no picture came.
        ConnectionFailed: the link dropped.
    """
    python = f"{root.removeprefix('~/')}/current/venv/bin/python"
    try:
        said = conn.run(
            [python, "-E", "-", *([node] if node else [])],
            timeout=LIMIT_S,
            input_text=PROGRAM.read_text(),
        )
        picture, by = _taken(said, host)
    except CommandError as error:
        raise _failed(host, error.output) from error
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise _failed(host, f"it answers what can't be: {error}"[:500]) from error
    path = folder / f"{NAME}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    store.write_atomically(path, picture)
    return path, by


def _taken(said: str, host: str) -> tuple[bytes, str]:
    """The picture, and what took it.

    Raises:
        UsageError, BenchError: none was taken.
        ValueError, KeyError, TypeError, RecursionError: the answer can't be understood.
    """
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    picture = b"".join(base64.b64decode(str(event["data"]), validate=True) for event in events[:-1])
    last = dict(events[-1]) if events else {}
    if len(picture) > MOST_BYTES or ("by" in last) != picture.startswith(JPEG):
        raise ValueError("no JPEG")
    if not picture:
        raise _none(host, last)
    return picture, str(last["by"])[:50]


def _none(host: str, last: dict[str, Any]) -> UsageError | BenchError:
    failed = dict(last.get("failed") or {})
    if not failed:
        return UsageError(f"{host} has no program that takes a picture", resolution=INSTALL)
    camera = str(last.get("camera"))[:120]
    missing = "" if last.get("there") else f"\nthere is no {camera}"
    said = "\n".join(f"{str(name)[:50]}: {str(why)[:300]}" for name, why in failed.items())[:2000]
    return _failed(host, said + missing)


def _failed(host: str, detail: str) -> BenchError:
    return BenchError(
        f"no camera of {host} gives a picture",
        detail=detail,
        resolution="see which are there (ls /dev/video*), and name one: --input camera:/dev/video2",
    )

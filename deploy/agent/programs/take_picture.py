"""Runs on the device: one picture of its camera, by whatever is installed there, as a JPEG.

Argument: the camera, such as /dev/video2; the device's usual one when left out. The answer is lines
of JSON: the picture's pieces and what took it, or what each program said that took none. The
programs that know a Raspberry Pi's own camera come first; some pictures are passed over, until
the camera has settled its exposure. Python 3.8 or newer.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

USUAL = "/dev/video0"
LIMIT_S = 20
PASSED_OVER = 10  # pictures
WIDTH, HEIGHT = 1280, 720
JPEG = b"\xff\xd8\xff"
MOST_BYTES = 32 << 20
PIECE_BYTES = 48 << 10


def commands(camera: str, path: str) -> dict[str, list[str]]:
    """A command line for each program, by its name, that writes a picture into a file."""
    node, count = camera or USUAL, str(PASSED_OVER)
    size = ["--width", str(WIDTH), "--height", str(HEIGHT)]
    still = [] if camera else ["rpicam-still", "libcamera-still"]
    lines = {name: [name, "-n", "-t", "1000", *size, "-o", path] for name in still}
    lines["ffmpeg"] = [
        "ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "v4l2", "-i", node,
        "-frames:v", count, "-update", "1", path,
    ]  # fmt: skip
    lines["fswebcam"] = ["fswebcam", "-q", "--no-banner", "-S", count, "-d", node, path]
    lines["v4l2-ctl"] = [
        "v4l2-ctl", "-d", node, "--set-fmt-video=pixelformat=MJPG", "--stream-mmap",
        "--stream-skip=" + count, "--stream-count=1", "--stream-to=" + path,
    ]  # fmt: skip
    return lines


def by_opencv(camera: str, path: str) -> str:
    """What went wrong as OpenCV took a picture; empty when it took one."""
    try:
        import cv2
    except ImportError:
        return "-"
    opened = cv2.VideoCapture(camera or USUAL)
    try:
        taken = [opened.read() for _ in range(PASSED_OVER)]
        good, pixels = taken[-1]
        if not good:
            return "it read no picture"
        cv2.imwrite(path, pixels)
    finally:
        opened.release()
    return ""


def by_program(line: list[str]) -> str:
    """What a program said as it took no picture; "-" where there is no such program."""
    if shutil.which(line[0]) is None:
        return "-"
    try:
        ran = subprocess.run(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {LIMIT_S} s"
    except OSError as error:
        return str(error)
    said = ran.stderr.decode(errors="replace").strip().splitlines()
    return "" if ran.returncode == 0 else (said or [f"exit status {ran.returncode}"])[-1][:300]


def picture(path: str) -> bytes:
    """A JPEG that was written; empty where it is none."""
    if not os.path.isfile(path) or os.path.getsize(path) > MOST_BYTES:
        return b""
    with open(path, "rb") as file:
        content = file.read()
    return content if content.startswith(JPEG) else b""


def takers(camera: str, path: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """What may take a picture, in the order in which it is tried."""
    lines = commands(camera, path)
    own = [name for name in lines if name.endswith("-still")]
    for name in own:
        yield name, functools.partial(by_program, lines[name])
    yield "OpenCV", functools.partial(by_opencv, camera, path)
    for name in lines:
        if name not in own:
            yield name, functools.partial(by_program, lines[name])


def say(**event: Any) -> None:
    """One line of the answer."""
    sys.stdout.write(json.dumps(event) + "\n")


def main(camera: str = "") -> None:
    """Take one, and print it."""
    failed = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.jpg")
        for name, take in takers(camera, path):
            wrong = take()
            if wrong == "-":
                continue
            content = b"" if wrong else picture(path)
            if content:
                for start in range(0, len(content), PIECE_BYTES):
                    piece = base64.b64encode(content[start : start + PIECE_BYTES])
                    say(data=piece.decode())
                say(by=name)
                return
            failed[name] = wrong or "it wrote no JPEG"
    there = os.path.exists(camera or USUAL)
    say(failed=failed, camera=camera or USUAL, there=there)


if __name__ == "__main__":
    main(*sys.argv[1:])

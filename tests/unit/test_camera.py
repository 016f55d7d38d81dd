"""A picture of a device's camera: by stand-ins for the programs that take one, as none is here."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import pytest

from deploy.run import camera
from toolchain.core.errors import BenchError, CommandError, EdgewrightError, UsageError

WHITE = io.BytesIO()
PIL.Image.new("RGB", (4, 3), "white").save(WHITE, "JPEG")
LAST = 'for out; do :; done; out="${out#--stream-to=}"\n'
TAKES = f'{LAST}/bin/cat "$(/usr/bin/dirname "$0")/white.jpg" > "$out"\n'


class Device:
    """A connection to this machine as it would be with these programs alone."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "white.jpg").write_bytes(WHITE.getvalue())
        for name, text in programs.items():
            path = self.bin / name.replace("_", "-")
            path.write_text(f'#!/bin/sh\necho "$0 $*" >> "{folder}/asked"\n{text}')
            path.chmod(0o755)

    def run(
        self, args: Sequence[str], *, timeout: float = 60.0, input_text: str | None = None
    ) -> str:
        assert args[0] == "edgewright/current/venv/bin/python"
        ran = subprocess.run(
            [sys.executable, "-S", *args[1:]],  # -S: without the OpenCV that is here
            input=input_text,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, "PATH": str(self.bin)},
        )
        if ran.returncode:
            raise CommandError(list(args), ran.returncode, ran.stderr)
        return ran.stdout


class Claims:
    """A device that answers what it likes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def run(
        self, args: Sequence[str], *, timeout: float = 60.0, input_text: str | None = None
    ) -> str:
        del args, timeout, input_text
        return self.text


def taken(conn: camera.Connection, folder: Path, node: str = "") -> tuple[Path, str]:
    return camera.take(conn, "pi", "~/edgewright", node, folder / "runs")


@pytest.mark.parametrize("program", ["rpicam_still", "ffmpeg", "fswebcam", "v4l2_ctl"])
def test_a_picture_comes_from_what_is_installed(tmp_path: Path, program: str) -> None:
    path, by = taken(Device(tmp_path, **{program: TAKES}), tmp_path)
    assert path == tmp_path / "runs" / "camera.jpg"
    assert path.read_bytes() == WHITE.getvalue()
    assert by == program.replace("_", "-")


def test_a_program_that_takes_none_leaves_it_to_the_next(tmp_path: Path) -> None:
    fails = "echo 'no cameras available' >&2; exit 1\n"
    raw = f'{LAST}echo YUYV > "$out"\n'
    device = Device(tmp_path, rpicam_still=fails, ffmpeg=raw, fswebcam=TAKES)
    assert taken(device, tmp_path)[1] == "fswebcam"


def test_a_camera_that_is_named_is_the_one_that_is_asked(tmp_path: Path) -> None:
    device = Device(tmp_path, rpicam_still=TAKES, ffmpeg=TAKES)
    assert taken(device, tmp_path, "/dev/video2")[1] == "ffmpeg"
    (line,) = (tmp_path / "asked").read_text().splitlines()
    assert "-i /dev/video2 " in line


def test_where_nothing_takes_pictures_one_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pi has no program that takes a picture") as caught:
        taken(Device(tmp_path), tmp_path)
    assert "apt-get install ffmpeg" in caught.value.resolution


def test_where_no_camera_answers_each_program_s_words_are_shown(tmp_path: Path) -> None:
    fails = "echo 'Cannot open video device: Permission denied' >&2; exit 1\n"
    with pytest.raises(BenchError, match="no camera of pi") as caught:
        taken(Device(tmp_path, ffmpeg=fails, v4l2_ctl="exit 0\n"), tmp_path, "/dev/video9")
    assert caught.value.detail.splitlines() == [
        "ffmpeg: Cannot open video device: Permission denied",
        "v4l2-ctl: it wrote no JPEG",
        "there is no /dev/video9",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "nothing\n",
        "{",
        '{"by": "ffmpeg"}\n',
        '{"data": "AAAA"}\n{"by": "ffmpeg"}\n',
        '{"data": "/9j/"}\n{"failed": {}}\n',
        '{"data": "no base64"}\n{"by": "ffmpeg"}\n',
        '{"failed": [1]}\n',
        '{"failed": 7}\n',
        json.dumps({"failed": {"x" * 10_000: "y" * 10_000}}),
        "[" * 5000,
        "{" + '"a":[' * 5000,
    ],
)
def test_what_a_device_claims_ends_in_one_error(tmp_path: Path, answer: str) -> None:
    with pytest.raises(EdgewrightError) as caught:
        taken(Claims(answer), tmp_path)
    assert len(caught.value.detail) < 1000
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("camera", ""),
        ("camera:/dev/video2", "/dev/video2"),
        ("camera:2", "/dev/video2"),
        ("camera:/dev/v4l/by-id/usb-046d_C920-index0", "/dev/v4l/by-id/usb-046d_C920-index0"),
        ("cameras", None),
        ("camera.jpg", None),
        ("./camera", None),
    ],
)
def test_what_names_a_camera(text: str, node: str | None) -> None:
    assert camera.asked(text) == node


@pytest.mark.parametrize("text", ["camera:", "camera:cat.jpg", "camera:/dev/../etc/passwd"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(UsageError, match="names no camera"):
        camera.asked(text)

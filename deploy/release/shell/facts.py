"""What a device without Python is: its agent's answer, in the words of `deploy.agent.facts`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from deploy.inventory.schema import NO_PYTHON
from deploy.release.shell.state import Said

VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6}){1,3}")
AT_HWCAP, AT_HWCAP2 = 16, 26  # <linux/auxvec.h>
ELFCLASS64 = 2  # <elf.h>
PLENTY = 1 << 30


def facts(said: Said, root: str, modules: Sequence[str]) -> dict[str, Any]:
    """What the device said, as `deploy.release.preflight` reads it.

    Args:
        said: the answer to the step `look`.
        root: our folder there, absolute.
        modules: those that the device is asked for; it has none.

    Raises:
        ValueError: it can't be read.
    """
    wide = said.first("class") == str(ELFCLASS64)
    hwcaps = _auxiliary_vector(said.every("auxv"), wide=wide)
    glibc = _newest(said.every("glibc"))
    blocks, size, files = map(int, said.first("disk").split())
    temperatures = [int(t) / 1000 for t in said.every("temperature") if t.lstrip("-").isdecimal()]
    keys = [line.partition(":")[::2] for line in said.every("cpuinfo")]
    cpuinfo: dict[str, str] = {}
    for key, value in keys:
        if key.strip():
            cpuinfo.setdefault(key.strip().lower(), value.strip())
    return {
        "machine": said.first("machine"),
        "bits": 64 if wide else 32,
        "kernel": said.first("kernel"),
        "hostname": said.first("hostname"),
        "python": NO_PYTHON,
        "implementation": "",
        "abiflags": "",
        "multiarch": "",
        "libc": "glibc" if glibc else "",
        "glibc": glibc,
        "glibcxx": _newest(said.every("glibcxx")),
        "modules": dict.fromkeys(modules),
        "venv": False,
        "pip": False,
        "root": root,
        "strangers": said.every("stranger"),
        "disk_free": blocks * size,
        "files_free": files or PLENTY,  # some filesystems count none
        "writable": bool(said.every("writable")),
        "executable": not _noexec(said.every("mount"), said.first("where")),
        "ram": int(said.first("ram")) * 1024,
        "cores": max(1, sum(key.strip() == "processor" for key, _ in keys)),
        "board": said.first("board"),
        "hwcap": hwcaps.get(AT_HWCAP, 0),
        "hwcap2": hwcaps.get(AT_HWCAP2, 0),
        "cpuinfo": cpuinfo,
        "emulation": "",
        "governor": said.first("governor"),
        "temperature": max(temperatures, default=None),
        "os": said.first("os"),
        "time": float(said.first("time")),
    }


def _newest(versions: Sequence[str]) -> str:
    known = [v for v in versions if VERSION.fullmatch(v)]
    return max(known, key=lambda v: [int(n) for n in v.split(".")], default="")


def _auxiliary_vector(lines: Sequence[str], *, wide: bool) -> dict[int, int]:
    """The kernel's auxiliary vector: its types and values, each of 32 or 64 bits."""
    words = [int(word) for line in lines for word in line.split()]
    if wide:
        pairs = zip(words[::2], words[1::2], strict=True)
        words = [low | high << 32 for low, high in pairs]
    return dict(zip(words[::2], words[1::2], strict=True))


def _noexec(mounts: Sequence[str], where: str) -> bool:
    """Whether nothing may be run in a folder, by what is mounted on the most of its path."""
    deepest, options = "", ""
    for fields in (line.split() for line in mounts):
        if len(fields) < 4:
            continue
        point = fields[1].rstrip("/")
        if f"{where}/".startswith(f"{point}/") and len(point) >= len(deepest):
            deepest, options = point, fields[3]
    return "noexec" in options.split(",")

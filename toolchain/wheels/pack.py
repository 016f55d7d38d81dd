"""Pack a staged folder into a wheel, the same bytes each time. Standard library only.

It runs inside the cross image (`python3 pack.py STAGE WHEEL EPOCH`), so that the compressor is the
pinned one and the wheel's bytes don't depend on the machine that asked for it. Names, metadata and
tags are made by `build`; this writes RECORD and the archive.
"""

import base64
import hashlib
import sys
import time
import zipfile
from pathlib import Path


def record_line(name: str, content: bytes) -> str:
    """A line of RECORD: name, urlsafe sha256 without padding, size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def pack(stage: Path, wheel: Path, epoch: int) -> None:
    """Write the wheel: entries sorted, .dist-info last, one time, modes 0755 or 0644."""
    files = sorted(p for p in stage.rglob("*") if p.is_file())
    info = next(p for p in stage.iterdir() if p.name.endswith(".dist-info"))
    files.sort(key=lambda p: (info in p.parents, p.relative_to(stage).as_posix()))
    moment = time.gmtime(epoch)[:6]
    lines = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            name = path.relative_to(stage).as_posix()
            content = path.read_bytes()
            executable = path.stat().st_mode & 0o100 or content[:4] == b"\x7fELF"
            _write(archive, name, content, moment, 0o755 if executable else 0o644)
            lines.append(record_line(name, content))
        record = f"{info.name}/RECORD"
        lines.append(f"{record},,")
        _write(archive, record, ("\n".join(lines) + "\n").encode(), moment, 0o644)


def _write(
    archive: zipfile.ZipFile, name: str, content: bytes, moment: tuple[int, ...], mode: int
) -> None:
    entry = zipfile.ZipInfo(name, moment)  # type: ignore[arg-type]  # six numbers by construction
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    archive.writestr(entry, content, compresslevel=9)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

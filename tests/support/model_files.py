"""Model files that look like what they say, and are none inside."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path


def a_keras_file(path: Path, content: str = "a") -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", content)
    path.write_bytes(buffer.getvalue())
    return path

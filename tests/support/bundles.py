"""Small bundles that any machine can install: one wheel of pure Python, and files beside it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.agent.steps import Steps
from toolchain.bundle import assemble

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_bundle(
    folder: Path,
    *,
    version: str = "1.0",
    code: str = "WORKS = True\n",
    extra: dict[str, bytes] | None = None,
    also_wheels: Sequence[str] = (),
    models: Sequence[dict[str, Any]] = (),
    **requires: object,
) -> Path:
    """A bundle with the wheel `tiny` of that version and code.

    Args:
        folder: to make it in.
        version: of the wheel.
        code: of its module.
        extra: more files, by path.
        also_wheels: which of them the manifest calls wheels.
        models: the manifest's.
        requires: what the manifest asks of the device.
    """
    wheel = f"wheels/tiny-{version}-py3-none-any.whl"
    (folder / "wheels").mkdir(parents=True)
    _wheel(folder / wheel, version, code)
    digest = hashlib.sha256((folder / wheel).read_bytes()).hexdigest()
    (folder / "requirements.txt").write_text(f"tiny=={version} --hash=sha256:{digest}\n")
    for path, content in {"runner/main.py": b"print('run')\n", **(extra or {})}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    fields: dict[str, Any] = {
        "schema_version": 1,
        "target": "rv64gc",
        "requires": {
            "machine": platform.machine(),
            "python": PYTHON,
            "glibc": "2.17",
            "glibcxx": "3.4",
            "cpu": [],
            "modules": ["numpy"],
            **requires,
        },
        "files": [
            {
                "path": p.relative_to(folder).as_posix(),
                "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                "size": p.stat().st_size,
            }
            for p in files
        ],
        "wheels": [wheel, *also_wheels],
        "requirements": "requirements.txt",
        "models": list(models),
        "runner": "runner",
    }
    fields["release"] = assemble.release_id(fields)
    (folder / "manifest.json").write_text(json.dumps(fields))
    return folder


def noise(size: int) -> bytes:
    """Bytes that no one can compress."""
    return os.urandom(size)


def _wheel(path: Path, version: str, code: str) -> None:
    name = f"tiny-{version}.dist-info"
    content = {
        "tiny/__init__.py": code,
        f"{name}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{name}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in content.items():
            archive.writestr(zipfile.ZipInfo(inside), text)
            digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{inside},sha256={digest},{len(text)}\n"
        archive.writestr(zipfile.ZipInfo(f"{name}/RECORD"), f"{record}{name}/RECORD,,\n")


def deliver(steps: Steps, folder: Path, *, authorize: bool = True) -> str:
    """Do by hand what a deployment does up to the venv."""
    if authorize:
        steps.authorize(assemble.load(folder).release, None)
    files = [{"sha256": f.sha256, "size": f.size} for f in assemble.load(folder).files]
    for item in steps.prepare(files)["missing"]:
        source = next(f for f in assemble.load(folder).files if f.sha256 == item["sha256"])
        target = Path(steps.root) / "incoming" / item["sha256"]
        target.write_bytes((folder / source.path).read_bytes())
        assert steps.take(item["sha256"])
    return steps.assemble((folder / "manifest.json").read_text())

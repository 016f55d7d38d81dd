"""Wheels for tests, and pip that installs them."""

from __future__ import annotations

import sys
from pathlib import Path

from toolchain.core import process
from toolchain.wheels import pack

PIP = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"]


def a_wheel(
    folder: Path, name: str, version: str = "1.0", *, needs: str = "", says: str = ""
) -> Path:
    """A wheel of one module, for any machine, with a statement beside it."""
    escaped = name.replace("-", "_")
    stage = folder / f"{escaped}-{version}-stage"
    info = stage / f"{escaped}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += ["Requires-Python: >=3.11,<4", *([f"Requires-Dist: {needs}"] if needs else [])]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (stage / f"{escaped}.py").write_text(f"SAYS = {says!r}\n")
    wheel = folder / f"{escaped}-{version}-py3-none-any.whl"
    pack.pack(stage, wheel, 1_700_000_000)
    wheel.with_name(f"{wheel.name}.provenance.json").write_text(f'{{"of": "{wheel.name}"}}\n')
    return wheel


def install(address: str, project: str, into: Path, *options: str) -> str:
    where = ["--index-url", f"{address}/simple/", "--target", str(into)]
    return process.run([*PIP, "install", *where, *options, project])

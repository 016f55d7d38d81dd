"""The programs that published figures come from: each begins as its first lines say."""

from __future__ import annotations

import sys

from toolchain.core import paths, process

# what needs a library that is installed for it alone
APART = {"benchmarks.scale.simulation"}


def test_every_benchmark_is_a_program_that_can_begin() -> None:
    files = sorted((paths.ROOT / "benchmarks").rglob("*.py"))
    names = {".".join(file.relative_to(paths.ROOT).with_suffix("").parts) for file in files}
    assert names > APART
    text = "\n".join(f"import {name}" for name in sorted(names - APART))
    process.run([sys.executable, "-c", text], cwd=paths.ROOT, env={"PYTHONPATH": ""})

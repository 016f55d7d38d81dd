"""The programs that published figures come from: each begins as its first lines say."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import guest_instructions
from toolchain.core import paths, process
from toolchain.core.errors import BuildError

# what needs a library that is installed for it alone
APART = {"benchmarks.scale.simulation"}


def test_every_benchmark_is_a_program_that_can_begin() -> None:
    files = sorted((paths.ROOT / "benchmarks").rglob("*.py"))
    names = {".".join(file.relative_to(paths.ROOT).with_suffix("").parts) for file in files}
    assert names > APART
    text = "\n".join(f"import {name}" for name in sorted(names - APART))
    process.run([sys.executable, "-c", text], cwd=paths.ROOT, env={"PYTHONPATH": ""})


def test_counted_is_the_difference_of_a_short_run_and_a_long_one() -> None:
    said = '{"stage": "count", "done": 0}\n\nstatus 0\n1000\n1130\n1230\n1330\n'
    assert guest_instructions.counted(said) == 100


def test_counted_gives_the_reason_of_a_job_that_failed() -> None:
    error = {"stage": "load", "kind": "ValueError", "message": "no kernel for Foo\nat node 3"}
    said = json.dumps({"part": {"error": error}}) + "\n\nstatus 1\n"
    with pytest.raises(BuildError, match=r"^no kernel for Foo$"):
        guest_instructions.counted(said)


@pytest.mark.parametrize("numbers", ["", "5\n7\n", "no such file\n5\n7\n9\n"])
def test_counted_refuses_what_the_plugin_did_not_end(numbers: str) -> None:
    with pytest.raises(BuildError, match="was not counted"):
        guest_instructions.counted(f"\nstatus 0\n{numbers}")


@pytest.mark.parametrize("status", ["132", "139"])
def test_counted_refuses_the_numbers_of_a_job_that_died(status: str) -> None:
    with pytest.raises(BuildError, match=f"ended by status {status}"):
        guest_instructions.counted(f'{{"stage": "load"}}\n\nstatus {status}\n5\n7\n9\n')

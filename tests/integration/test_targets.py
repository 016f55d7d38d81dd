"""The wheels of other targets on other systems: the same wheel under each Python.

EDGEWRIGHT_TARGETS=all runs it for aarch64 as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import Product
from toolchain import targets

MODEL = "digits-cnn"
LONG = pytest.mark.skipif(
    os.environ.get("EDGEWRIGHT_TARGETS") != "all",
    reason="its images and wheels take 20 minutes from nothing: EDGEWRIGHT_TARGETS=all",
)
DEVICES = [
    pytest.param(("x86_64", "debian12", "3.11"), id="x86_64-debian12"),
    pytest.param(("x86_64", "debian13", "3.13"), id="x86_64-debian13"),
    pytest.param(("aarch64", "debian12", "3.11"), id="aarch64-debian12", marks=LONG),
    pytest.param(("aarch64", "debian13", "3.13"), id="aarch64-debian13", marks=LONG),
]


@pytest.fixture(scope="module", params=DEVICES)
def measured(
    request: pytest.FixtureRequest, product: Product
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """A small network's result on a device of that target and system; the Python it must have."""
    target, system, python = request.param
    product.invoke("build-wheels", "--target", target)
    product.invoke("compile", "--model", MODEL, "--target", target)
    where = ["--name", f"test-{target}-{system}", "--inventory", str(product.inventory)]
    product.invoke("emulator.up", "--target", target, "--os", system, *where)
    try:
        on = ["--host", where[1], "--inventory", str(product.inventory)]
        product.invoke("deploy", "--model", MODEL, *on)
        yield product.json("bench", "--budget", "1", *on), target, python
    finally:
        product.invoke("emulator.down", *where)


def test_the_wheels_run_there_and_agree(measured: tuple[dict[str, Any], str, str]) -> None:
    result, target, python = measured
    assert result["device"]["python"].startswith(python + ".")
    assert result["emulated"] is not targets.target(target).native()
    assert {m["runtime"] for m in result["measurements"]} == {"tflite", "tvm"}
    for found in result["measurements"]:
        assert found["error"] is None
        assert found["parity"]["max_abs"] < 1e-4
        assert found["accuracy"]["correct"] == found["accuracy"]["reference_correct"] > 475

"""The wheels of other targets on other systems: the same wheel under each Python.

EDGEWRIGHT_TARGETS=all runs it for the targets whose images and wheels are not built otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.product import LONG, Product, measured
from toolchain import targets
from toolchain.core.store import Store, digest_of
from toolchain.wheels import build

PYTHON = {"debian12": "3.11", "debian13": "3.13"}
DEVICES = [
    pytest.param(("rv64gcv", "debian13"), id="rv64gcv-debian13"),
    pytest.param(("x86_64", "debian12"), id="x86_64-debian12"),
    pytest.param(("x86_64", "debian13"), id="x86_64-debian13"),
    pytest.param(("aarch64", "debian12"), id="aarch64-debian12", marks=LONG),
    pytest.param(("aarch64", "debian13"), id="aarch64-debian13", marks=LONG),
    pytest.param(("cortex-a72", "debian13"), id="cortex-a72-debian13", marks=LONG),
    pytest.param(("cortex-a76", "debian13"), id="cortex-a76-debian13", marks=LONG),
    pytest.param(("armv7l", "debian12"), id="armv7l-debian12", marks=LONG),
    pytest.param(("armv7l", "debian13"), id="armv7l-debian13", marks=LONG),
]


def tvm_compiler_is_built() -> bool:
    """Whether the compiler from source is in the cache, for this machine."""
    target = targets.target("x86_64")
    inputs = build.inputs("tvm_compiler", target)
    return target.native() and Store().entry(digest_of(inputs)) is not None


@pytest.fixture(scope="module", params=DEVICES)
def result(
    request: pytest.FixtureRequest,
    product: Product,
    shared_device: Callable[[str, str], list[str]],
) -> tuple[dict[str, Any], str, str]:
    """A small network's result on a device of that target and system; the two."""
    target, system = request.param
    return measured(product, target, shared_device(target, system)), target, system


def agrees(result: dict[str, Any]) -> None:
    assert {m["runtime"] for m in result["measurements"]} == {"tflite", "tvm"}
    for found in result["measurements"]:
        assert found["error"] is None
        assert found["parity"]["max_abs"] < 1e-4
        assert found["accuracy"]["correct"] == found["accuracy"]["reference_correct"] > 475


def test_the_wheels_run_there_and_agree(result: tuple[dict[str, Any], str, str]) -> None:
    found, target, system = result
    assert found["device"]["python"].startswith(PYTHON[system] + ".")
    assert found["emulated"] is not targets.target(target).native()
    agrees(found)


@pytest.mark.skipif(
    not tvm_compiler_is_built(),
    reason="TVM's compiler takes an hour to build: "
    "invoke build-wheels --only tvm_compiler --target x86_64",
)
def test_a_model_of_the_compiler_from_source_runs_under_its_own_runtime(
    product: Product, shared_device: Callable[[str, str], list[str]]
) -> None:
    target = "x86_64"
    product.invoke("build-wheels", "--target", target, "--only", "tvm_runtime_source")
    found = measured(product, target, shared_device(target, "debian13"), "--compiler", "source")
    agrees(found)
    (tvm,) = [m for m in found["measurements"] if m["runtime"] == "tvm"]
    made, _ = build.recipe("tvm_runtime_source")
    assert tvm["versions"][made.name] == made.version

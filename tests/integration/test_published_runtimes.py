"""Runtimes by wheels that their projects publish: the one for the device's Python runs there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.product import Product
from toolchain import runtimes, targets

TARGET, MODEL = "x86_64", "digits-cnn"
PYTHON = {"debian12": "3.11", "debian13": "3.13"}


@pytest.mark.parametrize("system", PYTHON)
def test_every_runtime_of_a_target_agrees_on_one_network(
    product: Product, shared_device: Callable[[str, str], list[str]], system: str
) -> None:
    on = shared_device(TARGET, system)
    product.invoke("build-wheels", "--target", TARGET)
    product.invoke("compile", "--model", MODEL, "--target", TARGET)
    product.invoke("deploy", "--model", MODEL, "--runtime", "all", *on)
    found = product.json("bench", "--budget", "1", "--runtime", "all", *on)
    # ncnn's form and wheel are made by those who want them, ExecuTorch's of another kind of file
    extras = {"ncnn", "executorch"}
    serving = {runtime.name for runtime in runtimes.serving(targets.target(TARGET))} - extras
    ran = {m["runtime"] for m in found["measurements"]} - extras
    assert ran == serving > {"tflite", "tvm"}
    assert found["device"]["python"].startswith(f"{PYTHON[system]}.")
    for measured in found["measurements"]:
        assert measured["error"] is None
        assert measured["parity"]["max_abs"] < 1e-4
        assert measured["accuracy"]["correct"] > 475
    product.invoke("deploy", "--model", MODEL, "--runtime", "onnxruntime", *on)
    refused = product.refused("bench", "--budget", "1", "--runtime", "tvm", *on)
    assert "nothing on the device runs under TVM" in refused.output

"""A user's own picture through what is deployed, and a user's own program on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from deploy.inventory import reading
from deploy.ssh import connection
from tests.support.product import Product
from toolchain.core.errors import CommandError
from toolchain.samples import public_images

# run by the release's own Python: the library is there without a path being said
PROGRAM = """
import json, sys
import numpy as np
import edgewright_device
from edgewright_device import load

pixels = np.asarray(json.loads(sys.argv[1]), np.uint8)
found = {}
for runtime in ("tflite", "tvm"):
    net = load("digits-cnn", runtime=runtime)
    found[runtime] = net.classify(pixels, top=1)[0]
try:
    net(np.zeros((9, 9), np.uint8))
except edgewright_device.InputError as error:
    found["refused"] = str(error)
print(json.dumps([edgewright_device.models(), list(net.labels), found]))
"""


@pytest.fixture(scope="module")
def digit() -> tuple[np.ndarray, int]:
    """A held-out digit, 0 to 16, (8, 8), and what it is."""
    _, _, images, labels = public_images.digits()
    return images[0, ..., 0].astype(np.uint8), int(labels[0])


def where(product: Product, device: str) -> list[str]:
    return ["--host", device, "--inventory", str(product.inventory)]


def test_a_picture_is_run_before_anything_was_measured(
    product: Product,
    device: str,
    deployed: dict[str, Any],
    digit: tuple[np.ndarray, int],
    tmp_path: Path,
) -> None:
    pixels, label = digit
    PIL.Image.fromarray(pixels).save(tmp_path / "digit.png")
    given = ["--model", "digits-cnn", "--input", str(tmp_path / "digit.png")]
    out = ["--out", str(tmp_path / "found.npz")]
    found = product.json("run", *given, *out, "--compare", *where(product, device))
    (ran,) = found["ran"]
    assert ran["scores"][0]["label"] == str(label)
    assert ran["outputs"][0]["max_abs"] < 1e-4
    assert np.load(tmp_path / "found.npz")["output"].argmax() == label
    other = product.json("run", *given, "--runtime", "tvm", *where(product, device))
    assert other["runtime"] == "tvm"
    assert other["ran"][0]["scores"][0]["label"] == str(label)


def test_what_the_network_does_not_take_is_refused_in_one_line(
    product: Product, device: str, deployed: dict[str, Any], tmp_path: Path
) -> None:
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "large.png")
    given = ["--model", "digits-cnn", "--input", str(tmp_path / "large.png")]
    refused = product.refused("run", *given, *where(product, device))
    assert refused.returncode == 2
    assert "the picture is 9 x 9 pixels, and this network takes 8 x 8" in refused.output


def test_a_program_of_the_users_own_calls_the_networks_there(
    product: Product, device: str, deployed: dict[str, Any], digit: tuple[np.ndarray, int]
) -> None:
    pixels, label = digit
    found = reading.load(product.inventory).host(device)
    python = f"{found.root.removeprefix('~/')}/current/venv/bin/python"
    with connection.connect(found) as conn:
        text = conn.run([python, "-c", PROGRAM, json.dumps(pixels.tolist())], timeout=300)
        # the device's own Python knows nothing of it
        with pytest.raises(CommandError, match="exit status 1"):
            conn.run(["python3", "-c", "import edgewright_device"])
    models, labels, said = json.loads(text.strip().splitlines()[-1])
    assert models == ["digits-cnn", "mobilenetv3-large"]
    assert labels == [str(number) for number in range(10)]
    for runtime in ("tflite", "tvm"):
        name, score = said[runtime]
        assert name == str(label)
        assert score > 0.5
    assert said["refused"].startswith("the picture is 9 x 9 pixels")


def test_the_program_that_example_writes_runs_there(
    product: Product, device: str, deployed: dict[str, Any], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    product.invoke("example", "--model", "digits-cnn", "--out", str(program))
    found = reading.load(product.inventory).host(device)
    current = f"{found.root.removeprefix('~/')}/current"
    inputs = tmp_path / "digit.npy"
    with np.load(product.folder / "dist/models/digits-cnn/b1/samples.npz") as samples:
        np.save(inputs, samples["in:input"][0])
        wanted = samples["out:output"][0].argmax()
    with connection.connect(found) as conn:
        conn.push(program, "program.py")
        conn.push(inputs, "digit.npy")
        said = conn.run([f"{current}/venv/bin/python", "program.py", "digit.npy"], timeout=300)
    _, best, *_ = said.splitlines()
    assert best.split()[-1] == str(wanted)
    assert said.rstrip().splitlines()[-1].endswith(" ms under tflite")


def test_operators_are_told_under_the_runtimes_that_tell(
    product: Product, device: str, deployed: dict[str, Any]
) -> None:
    given = ["--model", "digits-cnn", "--inferences", "2"]
    found = {
        one["runtime"]: one for one in product.json("profile", *given, *where(product, device))
    }
    kinds = {kind["kind"]: kind for kind in found["tvm"]["kinds"]}
    assert "virtual machine" in kinds
    assert any("conv2d" in name for name in kinds)
    assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
    assert "doesn't tell" in found["tflite"]["error"]

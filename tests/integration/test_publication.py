"""The published index, as a user meets it: pip, in an environment of its own."""

from __future__ import annotations

import venv
from pathlib import Path

import numpy as np
import pytest

from tests.support.product import Product
from tests.support.static_server import served
from toolchain import targets
from toolchain.core import process

TARGET = "x86_64"


@pytest.mark.skipif(not targets.target(TARGET).native(), reason="this machine is no x86-64")
def test_pip_installs_the_interpreter_from_a_published_index(
    product: Product, tmp_path: Path
) -> None:
    keys = {"EDGEWRIGHT_KEYS": str(tmp_path / "keys")}
    index, environment = tmp_path / "index", tmp_path / "venv"
    product.invoke("build-wheels", "--target", TARGET, "--only", "tflite_runtime")
    product.invoke("keys", env=keys)
    publish = ["publish", "--to", str(index), "--target", TARGET, "--only", "tflite_runtime"]
    (wheel,) = product.json(*publish, env=keys)
    assert (wheel["project"], wheel["state"], wheel["signed"]) == ("tflite-runtime", "added", True)
    assert (index / f"{wheel['path']}.provenance.json.sig").is_file()

    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    # numpy is the device's own: here the one that these tests have
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "numpy.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    pip = [python, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    with served(index) as (address, asked):
        where = ["--no-cache-dir", "--index-url", f"{address}/simple/"]
        process.run([*pip, *where, "tflite-runtime"])
    assert asked[0] == "/simple/tflite-runtime/"
    script = "from tflite_runtime import interpreter as i; i.Interpreter; print(i.__file__)"
    assert process.run([python, "-c", script]).strip().startswith(str(packages))

    (again,) = product.json(*publish, env=keys)
    assert again == wheel | {"state": "unchanged"}

"""XNNPACK on the device: it takes every node, with the right result, on each kind of CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import reading
from deploy.ssh import connection
from tests.support.product import Product
from toolchain.core import process

NETWORKS = ("squeeze", "convolutions", "head")
CPUS = (
    "rv64,v=false",
    "rv64,v=true,vlen=128,vext_spec=v1.0",
    "rv64,v=true,vlen=256,vext_spec=v1.0",
)
MAKER = Path(__file__).with_name("operator_models.py")
ON_DEVICE = "delegate-test"
# A network that is taken whole is one DELEGATE whose outputs are the network's own.
PROGRAM = """
import json, sys
import numpy
from tflite_runtime.interpreter import Interpreter
found = {}
for name in sys.argv[2:]:
    samples = numpy.load(f"{sys.argv[1]}/{name}.npz")
    interpreter = Interpreter(f"{sys.argv[1]}/{name}.tflite", num_threads=2)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], samples["x"])
    interpreter.invoke()
    delegates = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    found[name] = {
        "difference": float(abs(interpreter.get_tensor(wanted["index"]) - samples["y"]).max()),
        "delegates": len(delegates),
        "whole": len(delegates) == 1
        and given["index"] in delegates[0]["inputs"]
        and wanted["index"] in delegates[0]["outputs"],
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_device(
    product: Product,
    device: str,
    deployed: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The networks, made here and sent; the folder on the device."""
    folder = tmp_path_factory.mktemp("operators")
    process.run([sys.executable, str(MAKER), str(folder)])
    with connection.connect(reading.load(product.inventory).host(device)) as conn:
        conn.run(["mkdir", "-p", ON_DEVICE])
        for path in sorted(folder.iterdir()):
            conn.push(path, f"{ON_DEVICE}/{path.name}")
    return ON_DEVICE


@pytest.mark.parametrize("cpu", CPUS)
def test_each_network_is_taken_whole_and_computed_right(
    product: Product, device: str, on_device: str, cpu: str
) -> None:
    host = reading.load(product.inventory).host(device)
    python = f"{host.root.removeprefix('~/')}/current/venv/bin/python"
    with connection.connect(host) as conn:
        command = ["env", f"QEMU_CPU={cpu}", python, "-c", PROGRAM, on_device, *NETWORKS]
        found = json.loads(conn.run(command, timeout=300).strip().splitlines()[-1])
    for name in NETWORKS:
        assert found[name]["difference"] < 1e-5, name
        assert found[name]["delegates"] == 1, name
        assert found[name]["whole"], name

"""From wheels and models to a report, on an emulated device over a real sshd."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import reading
from deploy.ssh import connection
from tests.support.product import HOST, Product
from toolchain.core import process
from toolchain.core.process import run
from toolchain.images.engine import LABEL, PROCESS
from toolchain.results import measurement

QEMU_WITHOUT_V = "rv64,v=false"


@pytest.fixture(scope="session")
def result(product: Product, device: str, deployed: dict[str, Any]) -> dict[str, Any]:
    where = ["--host", device, "--inventory", str(product.inventory)]
    found: dict[str, Any] = product.json("bench", *where, "--budget", "1")
    return found


def measured(result: dict[str, Any], model: str, runtime: str) -> dict[str, Any]:
    (found,) = [m for m in result["measurements"] if (m["model"], m["runtime"]) == (model, runtime)]
    assert found["error"] is None, found["error"]
    entry: dict[str, Any] = found
    return entry


def test_the_first_deployment_sends_everything(deployed: dict[str, Any]) -> None:
    assert deployed["status"] == "done"
    assert deployed["sent"] > 10_000_000
    assert deployed["models_loaded"] >= 4


@pytest.mark.parametrize("model", ["digits-cnn", "mobilenetv3-large"])
@pytest.mark.parametrize("runtime", ["tflite", "tvm"])
def test_the_device_agrees_with_the_reference(
    result: dict[str, Any], model: str, runtime: str
) -> None:
    found = measured(result, model, runtime)
    assert len(found["samples_ns"]) >= 3
    assert found["parity"]["max_abs"] < 1e-4
    assert found["parity"]["top1_agree"] == found["parity"]["count"] > 0


@pytest.mark.parametrize("runtime", ["tflite", "tvm"])
def test_accuracy_on_the_device_is_the_references(result: dict[str, Any], runtime: str) -> None:
    accuracy = measured(result, "digits-cnn", runtime)["accuracy"]
    assert accuracy["total"] == 500
    assert accuracy["correct"] == accuracy["reference_correct"]
    assert accuracy["correct"] > 475


def test_xnnpack_takes_the_whole_of_mobilenet(result: dict[str, Any]) -> None:
    delegated = measured(result, "mobilenetv3-large", "tflite")["delegated"]
    assert delegated["taken"] == delegated["total"] > 100
    assert delegated["parts"] == 1


def test_an_emulated_result_says_so_everywhere(product: Product, result: dict[str, Any]) -> None:
    assert result["emulated"] is True
    assert measurement.EMULATED in product.invoke("report")
    folder = product.folder / "reports"
    page = (folder / "report.html").read_text()
    assert measurement.EMULATED in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert json.loads((folder / "report.json").read_text())["emulated"] is True
    rows = list(csv.DictReader((folder / "report.csv").read_text().splitlines()))
    assert {row["emulated"] for row in rows} == {measurement.EMULATED}
    assert {row["latency_ms"] for row in rows} == {""}
    assert any(row["emulated_latency_ms"] for row in rows)


def test_instructions_are_the_same_number_each_time(
    product: Product, device: str, deployed: dict[str, Any]
) -> None:
    asked = ["--host", device, "--inventory", str(product.inventory), "--count-instructions"]
    asked += ["--model", "digits-cnn", "--runtime", "tflite"]
    counts = []
    for _ in range(2):
        found = product.json("bench", *asked)
        assert found["counted"] is True
        (measured,) = found["measurements"]
        assert measured["status"] == "ok"
        few, many = measured["instructions"]["inferences"]
        less, more = measured["instructions"]["totals"]
        counts.append((more - less) / (many - few))
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)
    # 0.34 million multiply-adds, in vectors of four
    assert 10_000 < counts[0] < 1_000_000


def test_the_same_deployment_again_sends_no_byte(
    product: Product, device: str, result: dict[str, Any]
) -> None:
    where = ["--host", device, "--inventory", str(product.inventory)]
    again = product.json("deploy", *where)
    assert again["status"] == "unchanged"
    assert again["sent"] == 0


@pytest.mark.parametrize("cpu", [QEMU_WITHOUT_V, "rv64,v=true,vlen=256,vext_spec=v1.0"])
def test_the_wheel_runs_with_and_without_vectors(
    product: Product, device: str, deployed: dict[str, Any], cpu: str
) -> None:
    """The same wheel on another CPU: an illegal instruction would end the process."""
    program = """
import sys
import numpy
from tflite_runtime.interpreter import Interpreter
folder = sys.argv[1] + "/models/mobilenetv3-large/b1/"
samples = numpy.load(folder + "samples.npz")
interpreter = Interpreter(folder + "fp32.tflite", num_threads=2)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples["in:input"][0])
interpreter.invoke()
found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
print(float(abs(found - samples["out:output"][0]).max()))
"""
    found = reading.load(product.inventory).host(device)
    current = f"{found.root.removeprefix('~/')}/current"
    with connection.connect(found) as conn:
        command = ["env", f"QEMU_CPU={cpu}", f"{current}/venv/bin/python", "-c", program, current]
        difference = float(conn.run(command, timeout=300).strip().splitlines()[-1])
    assert difference < 1e-4


def test_an_unknown_host_key_is_refused(
    product: Product, device: str, deployed: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "inventory.yml"
    other.write_text(product.inventory.read_text().replace("/known_hosts", "/none"))
    refused = product.refused("probe", "--host", HOST, "--inventory", str(other))
    assert refused.returncode == 8
    assert "host key" in refused.output


def test_no_container_of_a_build_is_left(deployed: dict[str, Any]) -> None:
    shown = ["--filter", f"label={LABEL}=build", "--format", f'{{{{.Label "{PROCESS}"}}}}']
    owners = run(["docker", "ps", "-a", *shown]).split()
    # another build of this machine may be at work: its containers are not left
    assert [one for one in owners if process.is_gone(one)] == []

"""A program on a device that goes with each release between two calls, without a restart."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.inventory.program import Health, Program
from deploy.release import deployment
from deploy.release.plan import Outcome
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.manifests import SHA, a_manifest
from tests.support.sshd import Sshd, deploy
from toolchain.core import paths
from toolchain.core.errors import ReleaseError
from toolchain.formats.signature import Tensor
from toolchain.models.manifest import File

pytestmark = pytest.mark.integration
# One call for each line that it is given.
PROGRAM = """\
import json, sys
import numpy as np
from edgewright_device import load

net = load("net", follow=True)
for line in sys.stdin:
    (label, score), = net.classify(np.ones((1, 2), np.float32), top=1)
    print(json.dumps([label, score, net.release, net.refused]), flush=True)
"""
FILE = "models/net/b1/net.onnx"


def bundle(folder: Path, factor: float, version: str = "1.0") -> Path:
    """A release of a network that gives its input times a factor, for ONNX Runtime."""
    weight = numpy_helper.from_array(np.diag([1, factor]).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    card = a_manifest().model_copy(
        update={
            "inputs": [Tensor(name="x", shape=(1, 2))],
            "outputs": [Tensor(name="y", shape=(1, 2))],
            "labels": File(file="labels.txt", sha256=SHA, size=1),
        }
    )
    runner = paths.ROOT / "deploy/runner"
    extra = {
        f"runner/{path.relative_to(runner)}": path.read_bytes() for path in runner.rglob("*.py")
    }
    extra[FILE] = model.SerializeToString()
    extra["models/net/b1/labels.txt"] = f"one\ntimes {factor:g}\n".encode()
    extra["models/net/b1/model.json"] = card.model_dump_json(by_alias=True).encode()
    form = {"runtime": "onnxruntime", "variant": "fp32", "file": FILE}
    entry = {
        "model": "net",
        "batch": 1,
        "folder": "models/net/b1",
        "card": "models/net/b1/model.json",
        "executables": [{**form, "inputs": ["x"], "outputs": ["y"]}],
    }
    return make_bundle(folder, version=version, extra=extra, models=[entry])


class Running:
    """A program on the device, with numpy and ONNX Runtime of this machine."""

    def __init__(self, sshd: Sshd) -> None:
        path = sshd.folder / "program.py"
        path.write_text(PROGRAM)
        packages = Path(onnx.__file__).parents[1]
        self.process = subprocess.Popen(
            [sshd.root / "current/venv/bin/python", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            env={"PYTHONPATH": str(packages), "HOME": str(sshd.folder)},
            cwd=sshd.folder,
            text=True,
        )

    def answer(self) -> tuple[str, float, str, str]:
        """Its next call: the best class, its score, the release, and why it is no other."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        label, score, release, refused = json.loads(self.process.stdout.readline())
        return label, score, release, refused


@pytest.fixture
def releases(sshd: Sshd, tmp_path: Path) -> Any:
    """Deploys a network with a factor."""

    def deployed(factor: float, *, keep: int = 3, **said: Any) -> Outcome:
        return deploy(sshd.device, bundle(tmp_path / f"{factor:g}", factor, **said), keep=keep)

    return deployed


@pytest.fixture
def running(sshd: Sshd, releases: Any) -> Iterator[tuple[Running, Outcome]]:
    """A program that began with the factor 2, and that release."""
    first = releases(2)
    program = Running(sshd)
    with program.process:
        yield program, first
        program.process.kill()


def test_a_running_program_takes_each_release_and_goes_back_with_it(
    sshd: Sshd, tmp_path: Path, releases: Any, running: tuple[Running, Outcome]
) -> None:
    program, first = running
    assert program.answer() == ("times 2", 2, first.release, "")
    second = releases(3)
    assert program.answer() == ("times 3", 3, second.release, "")
    with connection.connect(sshd.device) as conn:
        deployment.rollback(conn)
    assert program.answer() == ("times 2", 2, first.release, "")
    unwell = Program(health=Health(command="false", within=1))
    with pytest.raises(ReleaseError, match="so it went back"):
        deploy(dataclasses.replace(sshd.device, program=unwell), bundle(tmp_path / "4", 4))
    assert program.answer() == ("times 2", 2, first.release, "")


def test_other_wheels_are_refused_and_the_first_release_may_be_cleaned_away(
    sshd: Sshd, releases: Any, running: tuple[Running, Outcome]
) -> None:
    program, first = running
    other = releases(5, version="2.0")
    label, _, release, refused = program.answer()
    assert (label, release) == ("times 2", first.release)
    assert refused.startswith(f"release {other.release[:16]} has other code, tiny-2.0-")
    assert "restart the program" in refused
    last = releases(6, keep=1)
    assert not (sshd.root / "releases" / first.folder).exists()
    assert program.answer() == ("times 6", 6, last.release, "")

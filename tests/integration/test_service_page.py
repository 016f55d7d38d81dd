"""docs/tutorial/detector-service.md: its files and commands, on an emulated device for its Pi."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import openssh
from tests.support.product import RUN, Product, remove_left_behind
from tests.support.sshd import free_port
from toolchain.core import paths, process
from toolchain.core.errors import CommandError
from toolchain.workstation import extras

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the page's curl is missing: apt-get install curl"
)
PAGE = paths.ROOT / "docs/tutorial/detector-service.md"
# a file by the name in its first line, or a command; both are run in the order of the page
STEP = re.compile(
    r"(?ms)^```\w+\n# (?P<name>[\w.]+)\n(?P<text>.*?)^```$|^ {4}(?P<command>[a-z.][^\n]*)$"
)
# ONNX Runtime's wheel doesn't work on an emulated aarch64 (docs/reference/runtimes.md)
TARGET, DEVICE = "x86_64", f"{RUN}-service"
ADDRESS = "192.0.2.10"
# commands that the test's own machine has done, or that need PyTorch
DONE = ("mkdir detector-project", ". ~/edgewright", "edgewright setup", "error: my-pi")
BY_PYTORCH = "python train.py"
FAILS = "deploy my-pi --model detector --runtime onnxruntime,opencv"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of the page, and what came of it."""

    command: str
    output: str
    failed: bool


class Reader:
    """Who follows the page.

    Args:
        folder: of the project.
        product: makes the network where there is no PyTorch.
    """

    def __init__(self, folder: Path, product: Product) -> None:
        self.folder, self.product = folder, product
        self._forwarding: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._key = paths.cache() / "emulator" / DEVICE / "known_hosts"

    def follow(self) -> Iterator[Step]:
        """Do what the page says, from its first line to its last."""
        for step in STEP.finditer(PAGE.read_text()):
            if step["name"]:
                # the inventory's block goes below the entry that add-board has written at its end
                with (self.folder / step["name"]).open("a") as file:
                    file.write(step["text"])
            elif step["command"] == BY_PYTORCH and not has_pytorch():
                self._take_other_detector()
            elif not step["command"].startswith(DONE):
                yield self._run(step["command"])

    def close(self) -> None:
        """End what lets the device's service be reached."""
        if self._forwarding is not None:
            self._forwarding.terminate()
            self._forwarding.wait()

    def _reach_the_service(self) -> None:
        """Its port at one of this machine, where the page has the Pi's address."""
        if self._forwarding is None:
            where = f"127.0.0.1:{self._port}:127.0.0.1:8000"
            options = ["-o", "ExitOnForwardFailure=yes", "-L", where]
            self._forwarding = subprocess.Popen(["ssh", "-N", *options, f"edge@{ADDRESS}"])
        until = time.monotonic() + 60
        while not taken(self._port):
            assert self._forwarding.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)

    def _run(self, command: str) -> Step:
        try:
            output = process.run(
                ["bash", "-euc", self._here(command)],
                cwd=self.folder,
                env={"PYTHONPATH": str(paths.ROOT), "COLUMNS": "200"},
            )
        except CommandError as error:
            return Step(command=command, output=error.output, failed=True)
        return Step(command=command, output=output, failed=False)

    def _here(self, command: str) -> str:
        """The command with this machine's names in place of the page's."""
        if "add-board" in command:
            shown = process.run(["ssh-keygen", "-lf", str(self._key)]).split()[1]
            command += f" --fingerprint {shown}"
        if f"http://{ADDRESS}" in command:
            self._reach_the_service()
        if not has_pytorch():
            command = command.replace("detector.pt2", "detector.onnx")
        return (
            command.replace(f"http://{ADDRESS}:8000", f"http://127.0.0.1:{self._port}")
            # a forwarded port takes connections that the device then refuses
            .replace("--retry-connrefused", "--retry-all-errors")
            .replace("pi@", "edge@")
            .replace("~/edgewright", str(paths.ROOT))
        )

    def _take_other_detector(self) -> None:
        """A network of the same form, trained here by Keras, as a file of the user's."""
        self.product.invoke("convert", "--model", "digits-detector")
        made = self.product.folder / "dist/models/digits-detector/b1/model.onnx"
        shutil.copy(made, self.folder / "detector.onnx")


def taken(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def has_pytorch() -> bool:
    return extras.present(extras.EXTRAS["pytorch"])


@pytest.fixture(scope="module")
def steps(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Step]]:
    """The page's commands, all of them run."""
    folder = tmp_path_factory.mktemp("detector-project")
    remove_left_behind()
    named = ["--name", DEVICE, "--inventory", str(product.inventory)]
    product.invoke("emulator.up", "--target", TARGET, "--os", "debian13", *named)
    try:
        with pytest.MonkeyPatch.context() as patch:
            reached(patch, product, tmp_path_factory.mktemp("ssh"))
            with closing(Reader(folder, product)) as reader:
                yield list(reader.follow())
    finally:
        product.invoke("emulator.down", *named)


def reached(patch: pytest.MonkeyPatch, product: Product, folder: Path) -> None:
    """Let ssh, and who asks it, find the emulated device at the Pi's address."""
    patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    patch.delenv("EDGEWRIGHT_DIST", raising=False)
    port = re.search(rf"{DEVICE}:\n(?:.*\n)*?.*ansible_port: (\d+)", product.inventory.read_text())
    assert port
    key = paths.cache() / "emulator" / DEVICE / "id_ed25519"
    config = folder / "config"
    config.write_text(
        f"Host {ADDRESS}\n HostName 127.0.0.1\n Port {port[1]}\n IdentityFile {key}\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n"
        " GlobalKnownHostsFile /dev/null\n"
    )
    for program in ("ssh", "scp"):
        openssh.configured(patch, folder / program, config, program)


def outputs(steps: list[Step], part: str) -> list[str]:
    """What the commands with these words printed."""
    return [step.output for step in steps if part in step.command]


def test_every_command_does_what_the_page_says_of_it(steps: list[Step]) -> None:
    assert len(steps) > 20
    failed = [step for step in steps if step.failed]
    assert [step.command.split(" ", 1)[1] for step in failed] == [FAILS], failed
    assert failed[0] is [step for step in steps if FAILS in step.command][-1]


def test_the_network_sees_on_the_device_what_is_there(steps: list[Step]) -> None:
    (seen,) = outputs(steps, "edgewright run")
    assert set(re.findall(r"│ (\d) +│ 0\.[5-9]", seen)) == {"6", "7"}
    assert "ran under onnxruntime" in seen


def test_the_service_takes_each_release_and_keeps_the_one_that_works(steps: list[Step]) -> None:
    under = [json.loads(one)["runtime"] for one in outputs(steps, ":8000/health")]
    assert under == ["onnxruntime", "tvm", "tvm"]
    (boxes,) = outputs(steps, "--data-binary")
    assert {"5", "8"} <= {box["label"] for box in json.loads(boxes)}
    refused = outputs(steps, FAILS)[-1]
    assert "its health check did not succeed within 20 s, so it went back to" in refused
    (listed,) = outputs(steps, "edgewright releases")
    (runs,) = re.findall(r"│ (\w{16}) .*│ runs +│", listed)
    assert f"so it went back to {runs}" in refused


def test_the_report_has_all_runtimes(steps: list[Step]) -> None:
    (report,) = outputs(steps, "edgewright report")
    assert all(name in report for name in ("ORT fp32", "OpenCV fp32", "TVM O3"))

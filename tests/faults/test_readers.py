"""Damaged input to every reader that runs with the user's rights: it is read or refused, no more.

What reads a model whole runs without rights; these come before it, or read what a device, a file of
SSH's or somebody's inventory says. EDGEWRIGHT_FAULTS=long makes a million inputs, or as many as
EDGEWRIGHT_INPUTS says; EDGEWRIGHT_SEED draws others.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from deploy.inventory import reading
from deploy.measure import runner_protocol
from deploy.release import agent_answers, wheel_compatibility
from deploy.ssh import host_certificate
from deploy.ssh.known_hosts import KnownHost
from tests.support import measured
from tests.support.damage import damaged, twisted
from tests.support.deployed import started
from tests.support.manifests import a_manifest
from tests.support.model_files import a_program, an_onnx_model
from tests.support.openssh import keygen
from toolchain.core import process
from toolchain.core.errors import BenchError, InventoryError, ModelError
from toolchain.formats import onnx_file, pytorch_file
from toolchain.models.manifest import FILE, ModelManifest
from toolchain.report import answers
from toolchain.report.over_time import series
from toolchain.results import measurement
from toolchain.runtimes import runtime

LONG = os.environ.get("EDGEWRIGHT_FAULTS") == "long"
INPUTS = int(os.environ.get("EDGEWRIGHT_INPUTS", "1000000" if LONG else "5000"))
SEED = int(os.environ.get("EDGEWRIGHT_SEED", "23"))
SLOWEST_S = 20.0  # on a machine that others use; most take less than a millisecond


@dataclass(frozen=True)
class Reader:
    """What reads: a whole input, what is called with a damaged one, and the errors that are no."""

    whole: bytes
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = ()
    name: str = "input"
    harm: Callable[[bytes, random.Random], bytes] = damaged


def a_tflite_file() -> bytes:
    """Operators in TensorFlow's flatbuffer: builtin, beyond a byte, custom."""
    return base64.b64decode(
        "EAAAAFRGTDMIAAwACAAEAAgAAAAIAAAAAwAAAAMAAABcAAAALAAAABAAAAAMAAwACwAAAAAABAAMAAAAlgAAAAAA"
        "AH8MABQAEwAMAAgABAAMAAAAIAAAAAMAAAAIAAAAAAAAIAcAAABGbGV4RXJmAAwAEAAPAAAACAAEAAwAAAAJAAAA"
        "DAAAAAAAAAk="
    )


def a_wheel(folder: Path) -> bytes:
    """A wheel with an extension module."""
    path = folder / "w-1.0-cp311-abi3-manylinux_2_34_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/a.abi3.so", Path("/bin/true").read_bytes()[:4096])
        archive.writestr("w-1.0.dist-info/WHEEL", "Tag: cp311-abi3-manylinux_2_34_x86_64\n")
    return path.read_bytes()


def a_certificate(folder: Path) -> bytes:
    """A host's certificate, in the form in which it is sent."""
    keygen(folder / "ca", "ed25519")
    key = keygen(folder / "host", "ed25519")
    process.run(["ssh-keygen", "-q", "-s", folder / "ca", "-I", "x", "-h", "-n", "desk", key])
    return base64.b64decode((folder / "host-cert.pub").read_text().split()[1])


INVENTORY = b"""\
all:
  vars: {ansible_user: edge}
  children:
    desk:
      hosts:
        board:
          ansible_host: "192.0.2.7"
          ansible_port: 22
          edgewright: {target: rv64gc, root: ~/edgewright}
"""
INSPECTION = {
    "ok": {
        "releases": [{"folder": "0123456789abcdef", "serial": 1, "models": ["net"]}],
        "running": "0123456789abcdef",
    }
}


def answered(path: Path) -> object:
    """A line of the agent, and what each step's answer must be."""
    reply = agent_answers.Reply.model_validate_json(path.read_bytes())
    kinds: list[Any] = [agent_answers.Inspection, agent_answers.Preparation, dict[str, Any]]
    for kind in kinds:
        try:
            TypeAdapter(kind).validate_python(reply.ok, strict=True)
        except ValueError:
            continue
    return reply


def certified(path: Path) -> object:
    """What a certificate says: nothing about it is an error."""
    blob = path.read_bytes()
    return host_certificate.authority(blob), host_certificate.fault(blob, "desk")


def known(path: Path) -> object:
    """A file of known hosts, asked for a host on another port, by name and by address."""
    host = KnownHost("desk", 2222, "", [path])
    return host.verdict(b"key"), host.others(), host.preferred(["ssh-ed25519", "ssh-rsa"])


def listed(path: Path) -> object:
    """An inventory, and each of its devices."""
    found = reading.load(path)
    return [found.host(name) for name in found.names()]


def reported(path: Path) -> object:
    """A result, and what is made of it beside a good one."""
    results = [measurement.load(path), measured.result()]
    return answers.answers(results[0]), series.histories(results), measurement.latest(results)


def readers(folder: Path) -> dict[str, Reader]:
    """Each of them, by what it reads."""
    key = keygen(folder / "known", "ed25519").read_text().split()
    salt, public = base64.b64encode(bytes(20)).decode(), f"{key[0]} {key[1]}"
    names = ("desk,192.0.2.7", "@cert-authority *.lab", f"|1|{salt}|{salt}", "[desk]:2222")
    lines = [f"{name} {public} a comment" for name in names]
    result = measured.result().model_dump_json().encode()
    (folder / "model").mkdir()
    (folder / "net.data").write_bytes(bytes(16))
    tflite = runtime("tflite")
    return {
        "ONNX": Reader(an_onnx_model().SerializeToString(), onnx_file.FORMAT.digest, (ModelError,)),
        "archives of PyTorch": Reader(a_program(), _archive, (ModelError,)),
        "operators of TFLite": Reader(a_tflite_file(), tflite.lacks, (ModelError,)),
        "wheels": Reader(
            a_wheel(folder), wheel_compatibility.read_wheel,
            name="w-1.0-cp311-abi3-manylinux_2_34_x86_64.whl",
        ),
        "known hosts": Reader("\n".join(lines).encode(), known),
        "certificates of hosts": Reader(a_certificate(folder), certified),
        "inventories": Reader(INVENTORY, listed, (InventoryError,)),
        "answers of the agent": Reader(
            json.dumps(INSPECTION).encode(), answered, (ValueError,), harm=twisted
        ),
        "events of the runner": Reader(
            json.dumps(started()).encode(), _event, (ValueError,), harm=twisted
        ),
        "results": Reader(result, reported, (BenchError,), harm=twisted),
        "manifests of models": Reader(
            a_manifest().dump().encode(), lambda path: ModelManifest.load(path.parent),
            (ModelError,), f"model/{FILE}", twisted,
        ),
    }  # fmt: skip


def _archive(path: Path) -> None:
    pytorch_file.FORMAT.refuse_other(path)
    pytorch_file.refuse_pickled(path)


def _event(path: Path) -> object:
    found = runner_protocol.read(path.read_bytes().decode(errors="replace"))
    return found.described() if isinstance(found, runner_protocol.Started) else found


def test_damaged_input_is_read_or_refused_by_every_reader(folder: Path) -> None:
    every = readers(folder)
    each = max(1, INPUTS // len(every))
    for what, reader in every.items():
        chance = random.Random(f"{SEED} {what}")  # noqa: S311 (a seed is the point)
        path, read, slowest = folder / reader.name, 0, 0.0
        for number in range(each):
            path.write_bytes(content := reader.harm(reader.whole, chance))
            began = time.thread_time()
            try:
                reader.read(path)
                read += 1
            except reader.refusals:
                pass
            except Exception as error:
                raise AssertionError(f"{what}, input {number}: {content!r}") from error
            slowest = max(slowest, time.thread_time() - began)
        print(  # noqa: T201
            f"damaged {what}: {read} read, {each - read} refused, "
            f"the slowest in {slowest * 1e3:.1f} ms"
        )
        assert slowest < SLOWEST_S, what


@pytest.mark.parametrize("length", [0, 1, 3, 7])
def test_what_hardly_begins_is_refused_too(folder: Path, length: int) -> None:
    for what, reader in readers(folder).items():
        (folder / reader.name).write_bytes(reader.whole[:length])
        try:
            reader.read(folder / reader.name)
        except reader.refusals:
            continue
        except Exception as error:
            raise AssertionError(what) from error

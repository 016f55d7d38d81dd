"""What becomes of an emulated device's first words: its host key, and why it did not start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from deploy.emulator import devices
from deploy.emulator.devices import Emulated
from tests.support.sshd import keygen
from toolchain import targets
from toolchain.core import paths
from toolchain.core.errors import EngineError, UsageError
from toolchain.core.store import Store
from toolchain.images.container import Container

WARNING = "qemu-riscv64-static: warning: disabling zfa extension because privilege spec\n"


@pytest.fixture
def key(tmp_path: Path) -> str:
    keygen(tmp_path / "key")
    return (tmp_path / "key.pub").read_text()


@pytest.mark.parametrize("before", ["", WARNING, WARNING * 3, "ssh-ed25519 is slow here\n"])
def test_the_host_key_is_found_beside_what_the_emulator_says(key: str, before: str) -> None:
    assert devices.host_key(before + key) == " ".join(key.split()[:2])
    assert devices.host_key(before + key + WARNING) == " ".join(key.split()[:2])


@pytest.mark.parametrize("printed", ["", WARNING, "ssh-ed25519 AAAA root@x\n", "# {key}"])
def test_what_is_no_key_is_none(key: str, printed: str) -> None:
    with pytest.raises(EngineError, match="no host key"):
        devices.host_key(printed.format(key=key))


class Api:
    """An engine that tells a container's log."""

    def logs(self, identity: str, tail: int) -> bytes:
        assert identity == "c"
        assert tail > 0
        return b"sshd: no hostkeys available -- exiting.\n"


def test_a_device_that_does_not_start_says_why_and_not_where_its_log_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "START_S", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        api: Any = Api()
        with pytest.raises(EngineError) as caught:
            devices._await_sshd(Container(id="c", name="c", _api=api), unused.getsockname()[1])
    assert "no hostkeys available" in caught.value.detail
    assert "docker logs" not in caught.value.resolution


def test_a_device_that_ended_at_once_is_not_waited_for() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        api: Any = Api()
        with pytest.raises(EngineError, match="did not answer"):
            devices._await_sshd(
                Container(id="c", name="c", _api=api), unused.getsockname()[1], lambda: True
            )


def test_a_port_that_another_program_has_taken_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        device = Emulated(name="pi", target="aarch64", port=port, state="exited", image="i")
        with pytest.raises(EngineError, match="taken") as caught:
            devices._refuse_taken(device)
        assert "emulator.down --name pi" in caught.value.resolution
    devices._refuse_taken(device)


def test_the_program_that_starts_a_device_makes_one_host_key_alone() -> None:
    """Started again, ssh-keygen would ask whether to write over it, and the device would end."""
    text = (paths.ROOT / "docker/device/start").read_text()
    assert '[ -s "$key.pub" ] ||' in text


@pytest.mark.parametrize("name", ["a b", "", "../a", "-a", "a" * 64])
def test_a_name_that_can_be_none_is_refused_with_one_that_can(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be called") as caught:
        devices.up(
            targets.target("rv64gc"), name, tmp_path / "inventory.yml",
            cpu="", store=Store(tmp_path), progress=print,
        )  # fmt: skip
    assert "--name my-device" in caught.value.resolution

"""A board that is reached for the first time, as a user does it: `invoke add-board`."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.inventory import reading
from tests.support import openssh
from tests.support.product import Product
from tests.support.sshd import Sshd
from toolchain.core import process

pytestmark = pytest.mark.integration


@pytest.fixture
def known(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of known hosts, which knows none yet."""
    file, config = tmp_path / "known", tmp_path / "ssh_config"
    config.write_text(f"UserKnownHostsFile {file}\nGlobalKnownHostsFile /dev/null\n")
    openssh.configured(monkeypatch, tmp_path, config)
    return file


def asked(sshd: Sshd, inventory: Path, *options: str) -> list[str]:
    """The task's arguments."""
    key = str(sshd.folder / "user_key")
    address = f"root@127.0.0.1:{sshd.port}"
    return ["add-board", address, "--key", key, "--inventory", str(inventory), *options]


def shown(sshd: Sshd) -> str:
    return process.run(["ssh-keygen", "-lf", str(sshd.folder / "host_key.pub")]).split()[1]


def test_a_board_whose_key_nobody_vouches_for_is_not_entered(
    product: Product, sshd: Sshd, known: Path, tmp_path: Path
) -> None:
    for given in ((), ("--fingerprint", "SHA256:" + "A" * 43)):
        refused = product.refused(*asked(sshd, tmp_path / "inventory.yml", *given))
        assert refused.returncode == 8
        assert shown(sshd) in refused.output
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in refused.output
    assert not known.exists()
    assert not (tmp_path / "inventory.yml").exists()


def test_a_board_is_entered_with_what_it_is(
    product: Product, sshd: Sshd, known: Path, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.yml"
    text = "# mine\nall:\n    hosts:\n        old:\n            edgewright: {board: pi4}\n"
    inventory.write_text(text)
    sshd.remove_numpy()
    said = product.json(*asked(sshd, inventory, "--fingerprint", shown(sshd), "--name", "shelf"))
    assert f"[127.0.0.1]:{sshd.port} ssh-ed25519 " in known.read_text()
    assert inventory.read_text().startswith(text), "what the user wrote stays as it was"
    device = reading.load(inventory).host("shelf")
    assert (device.host, device.port, device.user) == ("127.0.0.1", sshd.port, "root")
    assert device.target == said["target"]
    assert device.target in said["fitting"]
    assert any("python3-numpy" in line for line in said["to_do"])
    # the next one needs no word about the key
    facts = product.json("probe", "--host", "shelf", "--inventory", str(inventory))
    assert facts["machine"] == said["facts"]["machine"]
    assert "already, as shelf" in product.refused(*asked(sshd, inventory)).output

"""A device that was given a key, over a real sshd."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.release import deployment, fleet, rollout
from deploy.release.fleet import Limits
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import Sshd, deploy
from toolchain.bundle import assemble
from toolchain.core import signing
from toolchain.core.errors import DeviceRefused

pytestmark = pytest.mark.integration


def test_a_device_with_a_key_takes_what_is_signed_and_nothing_else(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(tmp_path / "keys"))
    signing.make_key()
    work = rollout.trusting(signing.public_key())
    for expected in ("done", "unchanged"):
        (given,) = fleet.run([sshd.device], work, limits=Limits(), show=lambda *_: None)
        assert given.status == expected
    one, two = make_bundle(tmp_path / "1"), make_bundle(tmp_path / "2", version="2.0")
    with pytest.raises(DeviceRefused, match="not signed") as caught:
        deploy(sshd.device, one)
    assert "invoke keys" in caught.value.resolution
    assert {p.name for p in sshd.root.iterdir()} == {"edgewright-root", "lock", "trusted_keys"}

    signing.seal_bundles({one: assemble.load(one).release})
    first = deploy(sshd.device, one)
    assert first.status == "done"
    key = signing._private()
    for words, changes in {
        "older": {"counter": 1, "expires": 2**40},
        "expired": {"counter": 2**40, "expires": 2**40 - 1},
    }.items():
        seal = signing.seal(assemble.load(two).release, key=key, **changes)
        (two / signing.SEAL).write_text(seal.model_dump_json())
        with pytest.raises(DeviceRefused, match=words):
            deploy(sshd.device, two)
        assert sshd.running() == first.folder
    # the first one's seal does not let the second one in
    (two / signing.SEAL).write_text((one / signing.SEAL).read_text())
    with pytest.raises(DeviceRefused, match="no key that this device trusts"):
        deploy(sshd.device, two)
    signing.seal_bundles({two: assemble.load(two).release})
    second = deploy(sshd.device, two)
    assert sshd.running() == second.folder
    with connection.connect(sshd.device) as conn:
        assert deployment.rollback(conn).folder == first.folder

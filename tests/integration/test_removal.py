"""A release and a key are taken away from a device by name, over a real sshd."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.release import deployment, removal
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import Sshd, deploy
from toolchain.core import signing
from toolchain.core.errors import ReleaseError, UsageError

pytestmark = pytest.mark.integration


def blobs(sshd: Sshd) -> set[str]:
    return {p.name for p in (sshd.root / "blobs").iterdir()}


def test_a_release_goes_with_its_files_but_never_the_one_that_runs(
    sshd: Sshd, tmp_path: Path
) -> None:
    first = deploy(sshd.device, make_bundle(tmp_path / "1"))
    of_first = blobs(sshd)
    second = deploy(sshd.device, make_bundle(tmp_path / "2", version="2.0"))
    of_both = blobs(sshd)
    third = deploy(sshd.device, make_bundle(tmp_path / "3", version="3.0"))
    with connection.connect(sshd.device) as conn:
        with pytest.raises(ReleaseError, match="is the release that runs"):
            removal.remove_release(conn, third.folder, previous=True)
        with pytest.raises(ReleaseError, match="what a rollback goes back to") as caught:
            removal.remove_release(conn, second.folder, previous=False)
        assert "--force" in caught.value.resolution
        with pytest.raises(UsageError, match="no release ffff"):
            removal.remove_release(conn, "ffff", previous=True)
        assert len(deployment.releases(conn)) == 3

        assert removal.remove_release(conn, first.folder[:8], previous=False).folder == first.folder
        assert [r.folder for r in deployment.releases(conn)] == [second.folder, third.folder]
        # what it alone had is gone, and what others have is not
        assert of_first - blobs(sshd)
        assert blobs(sshd) >= of_both - of_first

        removal.remove_release(conn, second.folder, previous=True)
        (left,) = deployment.releases(conn)
        assert (left.folder, left.running) == (third.folder, True)
        assert not (sshd.root / "previous").is_symlink()
        with pytest.raises(ReleaseError, match="no earlier release") as caught:
            deployment.rollback(conn)
        assert "invoke deploy" in caught.value.resolution
    # what was removed comes again as if it had never been there
    assert deploy(sshd.device, tmp_path / "2").status == "done"


def test_a_key_goes_but_never_the_last_nor_unasked_ones_own(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for name in ("mine", "colleague"):
        monkeypatch.setenv("EDGEWRIGHT_KEYS", str(tmp_path / name))
        signing.make_key()
        lines.append(signing.public_key())
    mine, other = lines
    with connection.connect(sshd.device) as conn:
        assert removal.trusted(conn).keys == {}
        for line in lines:
            deployment.trust(conn, line)
        assert list(removal.trusted(conn).keys.values()) == lines
        with pytest.raises(UsageError, match="this machine's own key"):
            removal.remove_key(conn, mine, own=mine)
        with pytest.raises(UsageError, match="trusts no key SHA256:x"):
            removal.remove_key(conn, "SHA256:x", own=mine)
        mark = removal.print_of(other)
        assert mark.startswith("SHA256:")
        assert removal.remove_key(conn, mark, own=mine).keys == {removal.print_of(mine): mine}
        with pytest.raises(ReleaseError, match="the only key"):
            removal.remove_key(conn, mine, own="")
        assert (sshd.root / "trusted_keys").read_text() == f"{mine}\n"

"""A deployment over a real sshd, to a folder of this machine that plays the device."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.release import deployment, preflight
from deploy.release.shell.sessions import open_session
from deploy.ssh import connection
from tests.support.bundles import make_bundle, noise
from tests.support.sshd import Sshd, deploy, processes_with, wait_until
from toolchain.bundle import assemble
from toolchain.core.errors import (
    CommandError,
    ConnectionFailed,
    DeviceRefused,
    HostKeyError,
    ReleaseError,
    UsageError,
)

pytestmark = pytest.mark.integration


def test_a_release_is_installed_and_runs(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    done = deploy(sshd.device, folder)
    assert done.status == "done"
    assert done.imported == ["tiny"]
    assert done.sent == assemble.load(folder).payload_size()
    python = sshd.root / "current" / "venv" / "bin" / "python"
    answer = subprocess.run([python, "-c", "import tiny; print(tiny.WORKS)"],
                            capture_output=True, text=True, check=True)  # fmt: skip
    assert answer.stdout == "True\n"
    assert sshd.running() == done.release[:16]


def test_the_same_release_again_sends_nothing(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    deploy(sshd.device, folder)
    again = deploy(sshd.device, folder)
    assert again.status == "unchanged"
    assert again.sent == 0


def test_a_second_release_sends_only_what_is_new(sshd: Sshd, tmp_path: Path) -> None:
    big = noise(300_000)
    deploy(sshd.device, make_bundle(tmp_path / "1", extra={"models/m": big}))
    done = deploy(sshd.device, make_bundle(tmp_path / "2", version="2.0", extra={"models/m": big}))
    assert done.sent is not None
    assert 0 < done.sent < 100_000
    assert done.replaced is not None


def test_a_damaged_release_is_made_again(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    first = deploy(sshd.device, folder)
    harmed = sshd.root / "releases" / first.folder / "runner" / "main.py"
    harmed.unlink()
    harmed.write_bytes(b"print('rum')\n")
    second = deploy(sshd.device, folder)
    assert second.status == "done"
    assert second.folder != first.folder
    assert (sshd.root / "current" / "runner" / "main.py").read_bytes() == b"print('run')\n"


def test_a_plan_changes_nothing(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    with connection.connect(sshd.device) as conn:
        planned = deployment.plan(conn, folder)
    assert planned.action == "install"
    assert planned.payload == assemble.load(folder).payload_size()
    assert not sshd.root.exists()


def test_rollback_goes_back_and_forth(sshd: Sshd, tmp_path: Path) -> None:
    one = deploy(sshd.device, make_bundle(tmp_path / "1"))
    two = deploy(sshd.device, make_bundle(tmp_path / "2", version="2.0"))
    with connection.connect(sshd.device) as conn:
        assert deployment.rollback(conn).folder == one.folder
        assert sshd.running() == one.folder
        assert deployment.rollback(conn).folder == two.folder
        assert [r.folder for r in deployment.releases(conn) if r.running] == [two.folder]


def test_rollback_without_an_earlier_release_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    deploy(sshd.device, make_bundle(tmp_path / "1"))
    with connection.connect(sshd.device) as conn, pytest.raises(ReleaseError, match="no earlier"):
        deployment.rollback(conn)


def test_old_releases_go_but_never_the_running_or_previous_one(sshd: Sshd, tmp_path: Path) -> None:
    done = [
        deploy(sshd.device, make_bundle(tmp_path / v, version=v), keep=1)
        for v in ("1.0", "2.0", "3.0")
    ]
    assert {p.name for p in (sshd.root / "releases").iterdir()} == {d.folder for d in done[1:]}
    assert done[2].removed == [done[0].folder]
    blobs = {p.name for p in (sshd.root / "blobs").iterdir()}
    kept = {f.sha256 for v in ("2.0", "3.0") for f in assemble.load(tmp_path / v).files}
    assert blobs == kept


def test_without_an_sftp_server_files_go_as_a_stream(sshd: Sshd, tmp_path: Path) -> None:
    sshd.stop()
    sshd.sftp = False
    sshd.start()
    done = deploy(sshd.device, make_bundle(tmp_path / "b", extra={"models/m": noise(1_000_000)}))
    assert done.status == "done"


@pytest.mark.parametrize("sftp", [True, False])
def test_a_dropped_link_keeps_the_old_release_and_the_rest_is_resumed(
    sshd: Sshd, tmp_path: Path, sftp: bool
) -> None:
    sshd.stop()
    sshd.sftp = sftp
    sshd.start()
    old = deploy(sshd.device, make_bundle(tmp_path / "1"))
    folder = make_bundle(tmp_path / "2", version="2.0", extra={"models/m": noise(24_000_000)})
    dropped = False

    def drop(text: str) -> None:
        nonlocal dropped
        if text.startswith("sending: 16") and not dropped:
            dropped = True
            sshd.drop_links()

    with connection.connect(sshd.device) as conn, pytest.raises(ConnectionFailed):
        deployment.deploy(conn, folder, say=drop)
    assert dropped
    assert sshd.running() == old.folder
    again = deploy(sshd.device, folder)
    assert again.status == "done"
    assert again.sent is not None
    assert again.sent < assemble.load(folder).payload_size() - 4_000_000
    assert sshd.running() == again.folder


def test_a_link_dropped_while_installing_ends_the_work_there(sshd: Sshd, tmp_path: Path) -> None:
    slow = "import time, sys\nif sys.argv[0] == '-': time.sleep(600.25)\n"
    old = deploy(sshd.device, make_bundle(tmp_path / "1"))
    folder = make_bundle(tmp_path / "2", version="2.0", code=slow)

    def drop(text: str) -> None:
        if text.startswith("checking"):
            threading.Timer(1.5, sshd.drop_links).start()

    with connection.connect(sshd.device) as conn, pytest.raises(ConnectionFailed):
        deployment.deploy(conn, folder, say=drop)
    assert sshd.running() == old.folder
    base = str(sshd.root / "releases" / assemble.load(folder).release[:16])
    assert wait_until(lambda: not processes_with(base))
    done = deploy(sshd.device, make_bundle(tmp_path / "3", version="3.0"))
    assert sshd.running() == done.folder
    assert {p.name for p in (sshd.root / "releases").iterdir()} == {old.folder, done.folder}


def test_a_release_that_does_not_work_is_not_switched_to(sshd: Sshd, tmp_path: Path) -> None:
    old = deploy(sshd.device, make_bundle(tmp_path / "1"))
    bad = make_bundle(tmp_path / "2", version="2.0", code="raise OSError('no such board')\n")
    with pytest.raises(ReleaseError) as caught:
        deploy(sshd.device, bad)
    assert "no such board" in caught.value.detail
    assert sshd.running() == old.folder
    assert {p.name for p in (sshd.root / "releases").iterdir()} == {old.folder}


def test_a_wheel_with_another_hash_is_refused_by_pip(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", extra={"unused": b""})
    wrong = "tiny==1.0 --hash=sha256:" + "0" * 64 + "\n"
    make_bundle(tmp_path / "c", extra={"r.txt": wrong.encode()})
    text = (tmp_path / "c" / "manifest.json").read_text()
    (tmp_path / "c" / "manifest.json").write_text(resealed(text, requirements="r.txt"))
    with pytest.raises(ReleaseError, match="pip"):
        deploy(sshd.device, tmp_path / "c")
    assert deploy(sshd.device, folder).status == "done"


def test_a_file_that_changed_since_the_bundle_was_made_is_not_installed(
    sshd: Sshd, tmp_path: Path
) -> None:
    folder = make_bundle(tmp_path / "b")
    (folder / "runner" / "main.py").write_bytes(b"print('rum')\n")
    with pytest.raises(ReleaseError, match="arrived damaged"):
        deploy(sshd.device, folder)
    assert sshd.running() is None


def test_two_deployers_at_once_do_not_mix(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    with connection.connect(sshd.device) as conn:
        with open_session(conn) as session:
            session.lock("ann@desk")
            with pytest.raises(DeviceRefused, match="another deployment") as caught:
                deploy(sshd.device, folder)
        assert "ann@desk" in caught.value.detail
    assert deploy(sshd.device, folder).status == "done"


def test_an_unknown_host_key_is_refused(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(HostKeyError, match="not known") as caught, connection.connect(sshd.device):
        pass
    assert f"[127.0.0.1]:{sshd.port} ssh-ed25519 " in caught.value.resolution
    assert "Accepted" not in (sshd.folder / "log").read_text()


def test_a_changed_host_key_is_refused_before_authentication(sshd: Sshd) -> None:
    sshd.trust("other_host_key")
    with pytest.raises(HostKeyError) as caught, connection.connect(sshd.device):
        pass
    assert "not the one that is known" in caught.value.brief
    assert "ssh-keygen -R" in caught.value.resolution
    assert (sshd.folder / "known_hosts").read_text().count("\n") == 1


def test_a_key_that_is_not_let_in_is_said_so(sshd: Sshd) -> None:
    device = dataclasses.replace(sshd.device, key_file=sshd.folder / "other_host_key")
    with pytest.raises(ConnectionFailed, match="did not let us in"), connection.connect(device):
        pass


def test_a_device_that_is_off_is_said_so(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(ConnectionFailed, match="no connection"), connection.connect(sshd.device):
        pass


def test_the_wrong_machine_is_refused_before_a_byte_is_written(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="bundle is for pdp11"):
        deploy(sshd.device, make_bundle(tmp_path / "b", machine="pdp11"))
    assert not sshd.root.exists()


def test_a_plan_is_refused_for_what_a_deployment_is_refused_for(sshd: Sshd, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", machine="s390x", modules=["numpy", "no_such_module"])
    with connection.connect(sshd.device) as conn, pytest.raises(DeviceRefused) as planned:
        deployment.plan(conn, folder)
    with pytest.raises(DeviceRefused) as deployed:
        deploy(sshd.device, folder)
    assert str(planned.value) == str(deployed.value)
    assert planned.value.detail == deployed.value.detail


def test_a_device_without_numpy_is_refused_before_a_byte_is_written(
    sshd: Sshd, tmp_path: Path
) -> None:
    sshd.remove_numpy()
    with pytest.raises(DeviceRefused, match="no numpy") as caught:
        deploy(sshd.device, make_bundle(tmp_path / "b"))
    assert "apt-get install python3-numpy" in caught.value.resolution
    assert not sshd.root.exists()


def test_the_probe_says_what_this_machine_is(sshd: Sshd) -> None:
    with connection.connect(sshd.device) as conn:
        facts = preflight.probe(conn, modules=("numpy", "no_such_module"))
    assert facts.machine == os.uname().machine
    assert facts.modules == {"numpy": "1.2.3", "no_such_module": None}
    assert facts.libc == "glibc"
    assert abs(facts.clock_offset) < 1
    assert not facts.emulated
    assert facts.disk_free > 0
    assert facts.isa


def test_a_device_without_that_python_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    device = dataclasses.replace(sshd.device, python="3.99")
    with pytest.raises(DeviceRefused, match=r"no python3\.99"):
        deploy(device, make_bundle(tmp_path / "b"))
    assert not sshd.root.exists()


def test_a_python_that_does_not_run_is_refused_with_what_it_said(
    sshd: Sshd, tmp_path: Path
) -> None:
    program = sshd.folder / "bin" / f"python{sshd.device.python}"
    program.write_text("#!/bin/sh\necho no libz.so.1 >&2; exit 126\n")
    with pytest.raises(DeviceRefused, match="does not run our program") as caught:
        deploy(sshd.device, make_bundle(tmp_path / "b"))
    assert "no libz.so.1" in caught.value.detail
    assert not sshd.root.exists()


def test_a_command_that_takes_too_long_is_ended_on_the_device(sshd: Sshd) -> None:
    mark = "987654.125"
    with connection.connect(sshd.device) as conn:
        started = time.monotonic()
        with pytest.raises(ConnectionFailed, match="too long"):
            conn.run(["sh", "-c", "trap '' TERM; sleep $0 & wait; sleep $0", mark], timeout=1)
        assert time.monotonic() - started < 8
        assert wait_until(lambda: not processes_with(mark))


def test_a_command_that_falls_silent_is_given_up_and_ended(sshd: Sshd) -> None:
    mark = "987655.125"
    heard: list[str] = []
    with connection.connect(sshd.device) as conn:
        with pytest.raises(ConnectionFailed, match="has said nothing for 2 s"):
            conn.run(
                ["sh", "-c", "echo 1; sleep 1; echo 2; sleep 1; echo 3; sleep $0", mark],
                timeout=60,
                silence=2,
                on_line=heard.append,
            )
        assert heard == ["1", "2", "3"]
        assert wait_until(lambda: not processes_with(mark))


def test_a_command_that_fails_gives_its_status_and_words(sshd: Sshd) -> None:
    with connection.connect(sshd.device) as conn:
        with pytest.raises(CommandError) as caught:
            conn.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert caught.value.returncode == 3
        assert "out" in caught.value.output
        assert "err" in caught.value.output
        seen: list[str] = []
        assert conn.run(["cat"], input_text="a\nb\n", on_line=seen.append) == "a\nb\n"
        assert seen == ["a", "b"]


def test_an_output_without_end_is_given_up_and_one_that_is_read_is_not_kept(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LONGEST_OUTPUT", 1 << 20)
    seen: list[str] = []
    with connection.connect(sshd.device) as conn:
        with pytest.raises(ConnectionFailed, match="without end"):
            conn.run(["sh", "-c", "yes"])
        last = conn.run(["sh", "-c", "yes | head -n 100000"], on_line=seen.append)
    assert len(seen) == 100_000
    assert last == "y\n" * connection.LAST_LINES


def test_hostile_arguments_reach_the_device_as_they_are(sshd: Sshd) -> None:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    awkward = st.sampled_from(
        ["-o", "$(id)", "`id`", "a\nb", "'", '"', "\\", "\u202e", "*", "", "~", "!!", "a\rb"]
    )

    with connection.connect(sshd.device) as conn:

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(text | awkward, min_size=20, max_size=60))
        def arrives(arguments: list[str]) -> None:
            answer = conn.run(["printf", "%s\\0", *arguments])
            assert answer.removesuffix("\n").split("\0")[:-1] == arguments

        arrives()
        with pytest.raises(UsageError, match="NUL"):
            conn.run(["echo", "a\0b"])


def resealed(text: str, **changes: object) -> str:
    import json

    fields = {**json.loads(text), **changes}
    fields["release"] = assemble.release_id(fields)
    return json.dumps(fields)

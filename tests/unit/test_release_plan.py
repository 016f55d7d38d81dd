"""Plans of deployments, and the steps that the device takes, without a connection."""

from __future__ import annotations

import ast
import json
import os
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.agent.files import Failure, safe
from deploy.agent.state import State
from deploy.agent.steps import Steps
from deploy.inventory.program import Program, Service
from deploy.release import agent_session
from deploy.release.agent_answers import Inspection
from deploy.release.plan import Plan, make_plan
from tests.support.bundles import deliver, make_bundle
from toolchain.bundle import assemble
from toolchain.bundle.assemble import Manifest

OTHER = "0123456789abcdef"


def seen(**changes: Any) -> Inspection:
    return Inspection.model_validate({
        "root": "/r", "current": None, "previous": None, "releases": [], "intact": None,
        "have": [], "partial": {}, "holder": None, "pending": None, "keys": [],
        "accepted": 0, **changes,
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", extra={"models/a": b"same", "models/b": b"same"})


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return assemble.load(folder)


def complete(steps: Steps, folder: Path) -> str:
    name = deliver(steps, folder)
    (Path(steps.release(name)) / "venv").mkdir()
    steps.finish(name)
    return name


def switch(steps: Steps, name: str) -> None:
    assert steps.switch(name, 60)
    steps.confirm()


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    made = Steps(str(tmp_path / "device"))
    made.lock("test")
    return made


def test_an_empty_device_gets_each_content_once(manifest: Manifest) -> None:
    plan = make_plan("h", seen(), manifest)
    assert plan.action == "install"
    assert len(plan.uploads) == len({f.sha256 for f in manifest.files}) == len(manifest.files) - 1
    assert plan.payload == sum(u.size for u in plan.uploads)
    assert plan.steps[-1].startswith("switch from nothing to")


def test_what_is_there_is_not_sent(manifest: Manifest) -> None:
    have = [manifest.files[0].sha256]
    plan = make_plan("h", seen(have=have), manifest)
    assert manifest.files[0].sha256 not in {u.sha256 for u in plan.uploads}


def test_an_interrupted_file_goes_on_where_it_stopped(manifest: Manifest) -> None:
    whole = make_plan("h", seen(), manifest)
    first = max(whole.uploads, key=lambda u: u.size)
    part = make_plan("h", seen(partial={first.sha256: 5}), manifest)
    assert part.payload == whole.payload - 5
    too_long = make_plan("h", seen(partial={first.sha256: first.size + 1}), manifest)
    assert too_long.payload == whole.payload


def test_the_running_release_is_left_alone(manifest: Manifest) -> None:
    name = manifest.release[:16]
    plan = make_plan("h", seen(current=name, intact=name), manifest)
    assert (plan.action, plan.payload, plan.uploads) == ("unchanged", 0, ())
    assert "nothing to send" in plan.steps[0]
    with_program = make_plan(
        "h",
        seen(current=name, intact=name),
        manifest,
        Program(service=Service(command="serve --port 80")),
    )
    assert with_program.steps[1:] == ("start serve --port 80, unless it runs",)


def test_an_unconfirmed_switch_counts_as_not_done(manifest: Manifest) -> None:
    name = manifest.release[:16]
    state = seen(current=name, intact=name, pending={"back": OTHER, "previous": None})
    plan = make_plan("h", state, manifest)
    assert (plan.action, plan.replaces) == ("switch", OTHER)


def test_a_release_that_is_there_is_only_switched_to(manifest: Manifest) -> None:
    plan = make_plan("h", seen(current=OTHER, intact=manifest.release[:16]), manifest)
    assert (plan.action, plan.payload, plan.replaces) == ("switch", 0, OTHER)


def test_a_plan_is_plain_data(manifest: Manifest) -> None:
    plan = make_plan("h", seen(holder="ann"), manifest)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_bundle_of_an_earlier_version_is_still_taken(steps: Steps, folder: Path) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    for file in fields["files"]:
        file["executable"] = False
    fields["release"] = assemble.release_id(fields)
    path.write_text(json.dumps(fields))
    assert assemble.load(folder).release == fields["release"]
    name = complete(steps, folder)
    assert steps.intact(fields["release"]) == name


def test_looking_changes_nothing(tmp_path: Path, manifest: Manifest) -> None:
    root = tmp_path / "device"
    files = [{"sha256": f.sha256, "size": f.size} for f in manifest.files]
    assert State(str(root)).inspect(manifest.release, files)["current"] is None
    assert not root.exists()


def test_steps_that_change_need_the_lock(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="lock"):
        Steps(str(tmp_path / "d")).prepare([])


def test_a_release_is_switched_to_only_when_complete(steps: Steps, folder: Path) -> None:
    name = deliver(steps, folder)
    with pytest.raises(Failure, match="not a complete release"):
        steps.switch(name, 60)
    (Path(steps.release(name)) / "venv").mkdir()
    steps.finish(name)
    switch(steps, name)
    assert str((Path(steps.root) / "current").readlink()) == f"releases/{name}"
    assert steps.intact(assemble.load(folder).release) == name


def test_a_cut_off_release_is_cleared_by_the_next_one(steps: Steps, folder: Path) -> None:
    first = deliver(steps, folder)
    assert deliver(steps, folder) == first
    assert not list((Path(steps.root) / "incoming").iterdir())


def test_a_received_file_with_wrong_bytes_is_dropped(steps: Steps, manifest: Manifest) -> None:
    steps.prepare([])
    digest = manifest.files[0].sha256
    (Path(steps.root) / "incoming" / digest).write_bytes(b"wrong")
    assert not steps.take(digest)
    assert not steps.take(digest)
    assert not list((Path(steps.root) / "blobs").iterdir())


def test_a_kept_file_that_went_bad_is_asked_for_again(steps: Steps, folder: Path) -> None:
    complete(steps, folder)
    files = [{"sha256": f.sha256, "size": f.size} for f in assemble.load(folder).files]
    blob = Path(steps.root) / "blobs" / str(files[0]["sha256"])
    size = blob.stat().st_size
    blob.unlink()
    blob.write_bytes(b"x" * size)
    assert [m["sha256"] for m in steps.prepare(files)["missing"]] == [files[0]["sha256"]]


@pytest.mark.parametrize("harm", ["payload", "venv", "manifest", "marker"])
def test_a_damaged_release_is_not_intact(steps: Steps, folder: Path, harm: str) -> None:
    name = complete(steps, folder)
    base = Path(steps.release(name))
    if harm == "payload":
        (base / "runner" / "main.py").unlink()
    elif harm == "venv":
        (base / "venv" / "more").write_text("")
    elif harm == "manifest":
        text = (base / "manifest.json").read_text()
        (base / "manifest.json").write_text(text.replace('"rv64gc"', '"rv64gd"'))
    else:
        (base / "installed.json").write_text("{")
    assert steps.intact(assemble.load(folder).release) is None


def test_a_manifest_whose_id_is_not_its_hash_is_refused(steps: Steps, folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["python"] = "3.99"
    steps.prepare([])
    steps.authorize(content["release"], None)
    with pytest.raises(Failure, match="not the hash"):
        steps.assemble(json.dumps(content))


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "a/../x", "a//b", "", ".", "venv/bin/python", "a\nb", "a\0b",
             "installed.json", "a/\u202eb"],
)  # fmt: skip
def test_a_path_that_leaves_the_release_is_refused(path: str) -> None:
    with pytest.raises(Failure):
        safe(path)


@given(st.text(max_size=30))
def test_a_path_that_is_taken_stays_inside(path: str) -> None:
    try:
        safe(path)
    except Failure:
        return
    assert os.path.normpath(f"/base/{path}").startswith("/base/")


def test_rollback_needs_a_release_that_is_whole(steps: Steps, tmp_path: Path) -> None:
    one = complete(steps, make_bundle(tmp_path / "1"))
    switch(steps, one)
    two = complete(steps, make_bundle(tmp_path / "2", version="2.0"))
    switch(steps, two)
    assert steps.rollback(60) == {
        "from": two, "to": one, "release": assemble.load(tmp_path / "1").release,
    }  # fmt: skip
    # one file under two names: the release's, and what was received
    (Path(steps.release(two)) / "runner" / "main.py").chmod(0o644)
    (Path(steps.release(two)) / "runner" / "main.py").write_text("print('rum')\n")
    with pytest.raises(Failure, match="damaged"):
        steps.rollback(60)
    assert steps.linked("current") == one


def test_a_rollback_goes_to_the_release_that_is_named(steps: Steps, tmp_path: Path) -> None:
    names = [
        complete(steps, make_bundle(tmp_path / version, version=version))
        for version in ("1.0", "2.0", "3.0")
    ]
    for name in names:
        release = steps.manifest(name)["release"]
        steps.authorize(release, None)
        switch(steps, name)
    assert steps.rollback(60, names[0])["to"] == names[0]
    assert (steps.linked("current"), steps.linked("previous")) == (names[0], names[2])
    for named, why in (
        (names[0], "runs already"),
        ("0" * 16, "not a complete"),
        ("../x", "not a release"),
    ):
        with pytest.raises(Failure, match=why):
            steps.rollback(60, named)
    assert steps.linked("current") == names[0]


def test_rollback_lays_a_damaged_installation_out_again(steps: Steps, tmp_path: Path) -> None:
    one = installed(steps, make_bundle(tmp_path / "1"))
    two = installed(steps, make_bundle(tmp_path / "2", version="2.0"))
    library(steps, one).write_text("WORKS = Fals\n")
    back = steps.rollback(60)
    assert back == {
        "from": two, "to": f"{one}-2", "release": assemble.load(tmp_path / "1").release,
    }  # fmt: skip
    assert steps.whole(f"{one}-2")
    assert steps.folders() == sorted([f"{one}-2", two])


def installed(steps: Steps, folder: Path) -> str:
    """A bundle installed on the device by pip, and running."""
    name = deliver(steps, folder)
    steps.install(name, 60)
    steps.finish(name)
    switch(steps, name)
    return name


def library(steps: Steps, name: str) -> Path:
    """What pip installed of the wheel of a release."""
    (path,) = (Path(steps.release(name)) / "venv").rglob("tiny/__init__.py")
    return path


@pytest.mark.parametrize("noted", ["every byte", "names and sizes"])
def test_one_byte_of_an_installation_is_enough_to_lay_it_out_again(
    steps: Steps, tmp_path: Path, noted: str
) -> None:
    folder = make_bundle(tmp_path / "b")
    name = installed(steps, folder)
    marker = Path(steps.release(name)) / "installed.json"
    if noted == "names and sizes":
        kept = json.loads(marker.read_text())
        del kept["content"]
        marker.write_text(json.dumps(kept))
    release = assemble.load(folder).release
    assert steps.intact(release) == name
    library(steps, name).write_text("WORKS = Trux\n")
    assert steps.intact(release) is None
    again = installed(steps, folder)
    assert again == steps.intact(release) == f"{name}-2"
    assert steps.linked("previous") is None
    assert steps.clean(3) == [name]


def test_a_home_with_files_of_librarys_names_is_no_library(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("json", "importlib", "email", "zipfile", "tiny"):
        (home / f"{name}.py").write_text("raise SystemExit('not the library')\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PYTHONPATH", str(home))
    name = installed(steps, make_bundle(tmp_path / "b"))
    program = (agent_session.AGENT / "programs" / "selfcheck.py").read_text()
    assert steps.check(name, program, [], 60) == {"imported": ["tiny"], "models": 0}


def test_why_a_module_does_not_import_is_said(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    library = "libopenblas.so.0: cannot open shared object file"
    (site / "lacks.py").write_text(f"raise ImportError({library!r})\n")
    (site / "kills.py").write_text("import os\nos.kill(os.getpid(), 4)\n")
    (site / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    assert steps.imports(["json", "lacks", "kills"], 60) == {
        "lacks": f"ImportError: {library}",
        "kills": "ended by SIGILL (an instruction that this CPU does not have)",
    }
    assert steps.imports(["hangs"], 0.5) == {"hangs": "took longer than 0 s"}


def test_a_self_check_that_dies_of_a_signal_says_so(steps: Steps, tmp_path: Path) -> None:
    name = installed(steps, make_bundle(tmp_path / "b"))
    with pytest.raises(Failure) as caught:
        steps.check(name, "import os; os.kill(os.getpid(), 4)", [], 60)
    assert "SIGILL" in caught.value.fields["detail"]


def test_a_link_that_leads_elsewhere_and_a_file_that_is_no_program_any_more_are_damage(
    steps: Steps, tmp_path: Path
) -> None:
    name = installed(steps, make_bundle(tmp_path / "b"))
    venv = Path(steps.release(name)) / "venv"
    library(steps, name).chmod(0o755)
    assert not steps.whole(name)
    library(steps, name).chmod(0o644)
    assert steps.whole(name)
    (venv / "bin" / "python3").unlink()
    (venv / "bin" / "python3").symlink_to("/bin/false")
    assert not steps.whole(name)


AGENTS = [
    agent_session.AGENT / f"{name}.py" for name in (*agent_session.MODULES, "programs/selfcheck")
]
AGENTS += [agent_session.RUNNER / f"{name}.py" for name in agent_session.SHARED]


@pytest.mark.parametrize("program", AGENTS, ids=lambda program: program.stem)
def test_device_programs_use_the_standard_library_alone(program: Path) -> None:
    tree = ast.parse(program.read_text(), feature_version=(3, 8))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    foreign = {n for n in names if n.split(".")[0] not in sys.stdlib_module_names}
    sent = {f"edgewright_runner.{name}" for name in agent_session.SHARED}
    assert all(n.startswith("deploy.agent.") or n in sent for n in foreign)

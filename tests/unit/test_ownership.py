"""The root on a device: taken when it is empty or ours, and never when it is someone else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.agent.files import Failure
from deploy.agent.ownership import MARK, strangers
from deploy.agent.state import State
from deploy.agent.steps import Steps
from tests.support.bundles import deliver, make_bundle


def locked(root: Path) -> Steps:
    steps = Steps(str(root))
    steps.lock("test")
    return steps


def filled(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a user's")
    return root


@pytest.mark.parametrize(
    "names",
    [
        ["notes.txt"],
        ["incoming/letter.txt"],
        ["releases/20240101/app", "shared/log"],
        ["releases/20240101/app"],
        ["lock", "photos/one.jpg"],
        ["lock", "releases/0123456789abcdef/app", "photos/one.jpg"],
        [".hidden"],
    ],
)
def test_a_folder_with_other_things_in_it_is_refused_and_left_as_it_is(
    tmp_path: Path, names: list[str]
) -> None:
    root = filled(tmp_path / "root", *names)
    before = sorted(root.rglob("*"))
    with pytest.raises(Failure, match="other things"):
        locked(root)
    assert sorted(root.rglob("*")) == before
    assert State(str(root)).look([])["strangers"] != []


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, "root")
    with pytest.raises(Failure, match="other things"):
        locked(tmp_path / "root")


@pytest.mark.parametrize("names", [[], ["lost+found/x"]])
def test_an_empty_folder_is_taken_and_marked(tmp_path: Path, names: list[str]) -> None:
    root = filled(tmp_path, *names)
    os.close(locked(root).lock_file)
    assert (root / MARK).is_file()
    filled(root, "a note of the user's")  # in a folder that says whose it is
    os.close(locked(root).lock_file)
    assert strangers(str(root)) == []


def test_a_root_of_an_earlier_version_is_recognised(tmp_path: Path) -> None:
    root = tmp_path / "root"
    steps = locked(root)
    (root / MARK).unlink()
    assert strangers(str(root)) == []  # a lock alone: a first deployment that was cut off
    name = deliver(steps, make_bundle(tmp_path / "b"))
    (root / "releases" / name / "venv").mkdir()
    steps.finish(name)
    assert strangers(str(root)) == []
    filled(root, "a note of the user's")
    assert strangers(str(root)) == []
    os.close(steps.lock_file)
    os.close(locked(root).lock_file)
    assert (root / MARK).is_file()

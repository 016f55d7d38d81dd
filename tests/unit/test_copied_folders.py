"""What comes back from an engine elsewhere stays in the folders that were given to it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from toolchain.core.errors import EngineError
from toolchain.images import copied_folders


def archive(folder: Path, *names: str) -> Path:
    path = folder / "0.tar"
    (folder / "file").write_text("theirs")
    with tarfile.open(path, "w") as made:
        for name in names:
            made.add(folder / "file", arcname=name)
    return path


def test_a_file_of_the_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "given/below").mkdir(parents=True)
    names = (".", "./a", "./below", "./below/b", "./new/c")
    copied_folders._stay_inside(tmp_path / "given", archive(tmp_path, *names))


@pytest.mark.parametrize("name", ["./link/authorized_keys", "../beside"])
def test_one_that_would_leave_it_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/link").symlink_to(tmp_path)  # left by an earlier archive
    with pytest.raises(EngineError, match="another folder"):
        copied_folders._stay_inside(tmp_path / "given", archive(tmp_path, "./a", name))

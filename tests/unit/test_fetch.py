"""Only the bytes that the lock names get in, and nothing is unpacked outside its folder."""

from __future__ import annotations

import errno
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mirror import Mirror
from tests.support.pins import pin
from toolchain.core.errors import LockError, NoSpaceError
from toolchain.core.store import Store
from toolchain.lock import fetch
from toolchain.lock import unpack as unpacking

Unpack = Callable[..., None]


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """A tar of files (bytes) and symbolic links (str)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_a_file_is_fetched_once(store: Store, mirror: Mirror) -> None:
    wanted = pin(b"bytes")
    mirror.put(wanted.path, b"bytes")
    fetch.fetch_all([wanted, wanted], store)
    fetch.fetch_all([wanted], store)
    assert len(mirror.asked) == 1
    assert fetch.path_of(wanted, store).read_bytes() == b"bytes"


@pytest.mark.parametrize(
    ("served", "said"),
    [(b"other", "don't match"), (b"shor", "another size"), (b"longer bytes", "another size")],
)
def test_other_bytes_are_refused(store: Store, mirror: Mirror, served: bytes, said: str) -> None:
    wanted = pin(b"bytes")
    mirror.put(wanted.path, served)
    with pytest.raises(LockError, match=said):
        fetch.fetch_all([wanted], store)
    assert store.blob(wanted.sha256) is None
    assert list((store.root / "tmp").iterdir()) == []


def test_a_redirect_is_refused(store: Store, mirror: Mirror) -> None:
    mirror.redirect = True
    with pytest.raises(LockError) as caught:
        fetch.fetch_all([pin(b"bytes")], store)
    assert "redirect" in caught.value.detail


def test_all_files_that_are_gone_are_named_in_one_error(store: Store, mirror: Mirror) -> None:
    gone = [pin(b"a", "pool/a_1.deb"), pin(b"b", "pool/b_1.deb")]
    there = pin(b"c", "pool/c_1.deb")
    mirror.put(there.path, b"c")
    with pytest.raises(LockError) as caught:
        fetch.fetch_all([*gone, there], store)
    assert "a_1.deb" in caught.value.detail
    assert "b_1.deb" in caught.value.detail
    assert "invoke lock" in caught.value.resolution
    assert store.blob(there.sha256) is not None


def test_a_damaged_blob_is_fetched_again(store: Store, mirror: Mirror) -> None:
    wanted = pin(b"bytes")
    mirror.put(wanted.path, b"bytes")
    fetch.path_of(wanted, store).write_bytes(b"rotte")
    assert fetch.path_of(wanted, store).read_bytes() == b"bytes"
    assert len(mirror.asked) == 2


def test_a_source_is_unpacked_without_its_top_folder(
    store: Store, mirror: Mirror, tmp_path: Path
) -> None:
    content = tar(("x-1/a", b"1"), ("x-1/sub/b", b"2"))
    wanted = pin(content)
    mirror.put(wanted.path, content)
    fetch.unpack(wanted, store, tmp_path / "x")
    assert (tmp_path / "x" / "a").read_bytes() == b"1"
    assert (tmp_path / "x" / "sub" / "b").read_bytes() == b"2"


@pytest.mark.parametrize("unpack", [unpacking.unpack, unpacking.unpack_apart])
@pytest.mark.parametrize("top", ["x-1", "./x-1"])
def test_of_a_source_only_the_wanted_parts_are_unpacked(
    unpack: Unpack, top: str, store: Store, mirror: Mirror, tmp_path: Path
) -> None:
    names = ("a", "sub/b", "subway", "c/d", "more/sub/e")
    content = tar(*((f"{top}/{name}", b"1") for name in names))
    wanted = pin(content)
    mirror.put(wanted.path, content)
    archive = fetch.path_of(wanted, store)
    unpack(archive, wanted.file_name, tmp_path / "x", ("a", "sub"))
    files = [p.relative_to(tmp_path / "x") for p in (tmp_path / "x").rglob("*") if p.is_file()]
    assert sorted(map(str, files)) == ["a", "sub/b"]
    with pytest.raises(LockError, match="lacks what is wanted") as caught:
        unpack(archive, wanted.file_name, tmp_path / "y", ("a", "gone"))
    assert caught.value.detail == "gone"


def test_a_full_disk_is_called_so_by_the_process_that_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "unpack", full)
    request = unpacking.UnpackRequest(
        archive=tmp_path / "a", name="a.tar", into=tmp_path / "x", parts=()
    )
    with pytest.raises(NoSpaceError, match="no space left"):
        unpacking.unpack_as_asked(request, lambda _: None)


@pytest.mark.parametrize(
    "content",
    [
        tar(("../outside", b"x")),
        tar(("/absolute/outside", b"x"), ("../../outside", b"y")),
        tar(("link", "../.."), ("link/outside", b"x")),
        b"no archive at all",
    ],
)
def test_an_archive_that_leaves_its_folder_is_refused(
    store: Store, mirror: Mirror, tmp_path: Path, content: bytes
) -> None:
    wanted = pin(content)
    mirror.put(wanted.path, content)
    with pytest.raises(LockError, match="can't be unpacked"):
        fetch.unpack(wanted, store, tmp_path / "deep" / "er" / "x")
    inside = tmp_path / "deep" / "er" / "x"
    assert not [p for p in tmp_path.rglob("outside") if inside not in p.parents]


def test_a_wheel_that_leaves_its_folder_is_refused(
    store: Store, mirror: Mirror, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../outside", "x")
    wanted = pin(buffer.getvalue(), "pool/x-1-py3-none-any.whl")
    mirror.put(wanted.path, buffer.getvalue())
    with pytest.raises(LockError, match="can't be unpacked"):
        fetch.unpack(wanted, store, tmp_path / "deep" / "x")
    assert not list(tmp_path.rglob("outside"))

"""An image's id is the hash of its content, whatever engine made it and when."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from toolchain.images import normalise

EPOCH = 1_700_000_000


def layer(path: Path, names: list[str], *, mtime: int) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mtime = mtime
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = 1
                tar.addfile(member, io.BytesIO(b"x"))
    return path


def saved(path: Path, layers: list[Path]) -> Path:
    with tarfile.open(path, "w") as tar:
        for item in layers:
            tar.add(item, item.name)
        manifest = json.dumps([{"Layers": [item.name for item in layers]}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        tar.addfile(member, io.BytesIO(manifest))
    return path


def seal_of(folder: Path, order: list[str], mtime: int) -> list[str]:
    folder.mkdir()
    base = layer(folder / "base.tar", ["a"], mtime=1)
    added = layer(folder / "added.tar", order, mtime=mtime)
    archive = saved(folder / "saved.tar", [base, added])
    return [x.diff_id for x in normalise.added_layers(archive, folder, EPOCH)]


def test_order_and_time_leave_no_trace(tmp_path: Path) -> None:
    one = seal_of(tmp_path / "1", ["etc/", "etc/b", "etc/a"], EPOCH + 5)
    two = seal_of(tmp_path / "2", ["etc/", "etc/a", "etc/b"], EPOCH + 9_000)
    assert one == two
    assert len(one) == 1


def test_content_does_leave_a_trace(tmp_path: Path) -> None:
    one = seal_of(tmp_path / "1", ["etc/", "etc/a"], EPOCH)
    two = seal_of(tmp_path / "2", ["etc/", "etc/b"], EPOCH)
    assert one != two


def test_a_layer_of_logs_and_backups_alone_is_dropped(tmp_path: Path) -> None:
    assert seal_of(tmp_path / "1", ["var/log/", "var/log/x.log", "etc/", "etc/passwd-"], 1) == []


def test_the_id_ignores_what_an_engine_adds_to_the_configuration(tmp_path: Path) -> None:
    base = normalise.Layer.of(layer(tmp_path / "base.tar", ["a"], mtime=1))
    plain = {"Env": ["A=1"], "Cmd": ["sh"]}
    noisy = {**plain, "Hostname": "f00", "Image": "sha256:1", "Labels": None, "User": ""}
    ids = {
        normalise.write_archive(tmp_path / "out.tar", [base], config, "riscv64", EPOCH, "t:1")
        for config in (plain, noisy)
    }
    assert len(ids) == 1
    other = normalise.write_archive(tmp_path / "out.tar", [base], plain, "amd64", EPOCH, "t:1")
    assert other not in ids


def test_the_archive_is_one_that_an_engine_can_load(tmp_path: Path) -> None:
    base = normalise.Layer.of(layer(tmp_path / "base.tar", ["a"], mtime=1))
    image_id = normalise.write_archive(tmp_path / "out.tar", [base], {}, "riscv64", EPOCH, "t:1")
    with tarfile.open(tmp_path / "out.tar") as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        (manifest,) = json.load(stream)
        assert manifest["Config"] == image_id.removeprefix("sha256:") + ".json"
        assert manifest["RepoTags"] == ["t:1"]
        assert set(manifest["Layers"]) <= set(tar.getnames())

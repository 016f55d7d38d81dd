"""A bundle's folder, which several deployments of one checkout fill and send at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.bundles import make_bundle
from toolchain.bundle import assemble, placement
from toolchain.core.store import Store


def test_bundles_made_at_once_do_not_take_each_others_parts(tmp_path: Path) -> None:
    sources = [make_bundle(tmp_path / v, version=v) for v in ("1.0", "2.0")]
    store, final = Store(tmp_path / "cache"), tmp_path / "bundles" / "net"
    final.parent.mkdir()

    def put(number: int) -> str:
        mine = Path(shutil.copytree(sources[number % 2], tmp_path / "scratch" / str(number)))
        placement.put(mine, final, store)
        return mine.name

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(put, range(48)))) == 48
    assert assemble.load(final).release in {assemble.load(s).release for s in sources}
    assert placement.same(final, final)
    assert [path.name for path in final.parent.iterdir()] == ["net"]


def test_a_bundle_that_is_there_already_is_left_to_those_who_send_it(tmp_path: Path) -> None:
    source = make_bundle(tmp_path / "source")
    store, final = Store(tmp_path / "cache"), tmp_path / "bundles" / "net"
    final.parent.mkdir()
    for name in ("first", "second"):
        placement.put(Path(shutil.copytree(source, tmp_path / name)), final, store)
        identity = final.stat().st_ino
        with (final / "runner" / "main.py").open() as sent:
            placement.put(Path(shutil.copytree(source, tmp_path / f"{name}-2")), final, store)
            assert sent.read() == "print('run')\n"
        assert final.stat().st_ino == identity
    (final / "runner" / "main.py").write_text("print('rum')\n")
    placement.put(Path(shutil.copytree(source, tmp_path / "third")), final, store)
    assert placement.same(source, final)


def test_what_is_sent_is_not_replaced_meanwhile(tmp_path: Path) -> None:
    one, two = (make_bundle(tmp_path / v, version=v) for v in ("1.0", "2.0"))
    store, final = Store(tmp_path / "cache"), tmp_path / "bundles" / "net"
    final.parent.mkdir()
    own = tmp_path / "bundles" / ".own"
    placement.put(Path(shutil.copytree(one, tmp_path / "scratch" / "1")), final, store, own)
    assert (own / "manifest.json").stat().st_ino == (final / "manifest.json").stat().st_ino
    (own / "seal").write_text("of its own")
    placement.put(Path(shutil.copytree(two, tmp_path / "scratch" / "2")), final, store)
    assert placement.same(one, own)
    assert placement.same(two, final)
    assert not (final / "seal").exists()


def test_a_disk_without_second_names_has_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, _target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "one").write_text("x")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    placement.share(str(tmp_path / "one"), str(tmp_path / "two"))
    assert (tmp_path / "two").read_text() == "x"


def test_many_models_have_a_folder_that_a_disk_takes(tmp_path: Path) -> None:
    models = {f"a-network-of-some-length-{number}" for number in range(40)}
    name = placement.name_of(models)
    (tmp_path / name).mkdir()
    assert name.startswith("a-network-of-some-length-0+")
    assert name != placement.name_of(models | {"another"})
    assert placement.name_of({"b", "a"}) == "a+b"

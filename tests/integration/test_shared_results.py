"""Results of many people in real places: OpenSSH's server, and one that speaks S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import measured
from tests.support.sshd import Sshd
from toolchain.core import paths
from toolchain.results import measurement, shared_folder

pytestmark = pytest.mark.integration


@pytest.fixture
def over_ssh(sshd: Sshd, ssh_config: Path, tmp_path: Path) -> str:
    (tmp_path / "there").mkdir()
    return f"sftp://127.0.0.1:{sshd.port}{tmp_path}/there/a folder"


@pytest.mark.parametrize("place", ["over_ssh", "s3"])
def test_what_one_gives_another_reports(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = request.getfixturevalue(place)
    monkeypatch.setenv(shared_folder.VARIABLE, address)
    said: list[str] = []

    def at(name: str) -> None:
        monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path / name))
        monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / f"{name}-cache"))

    def seen() -> list[measurement.Result]:
        others = shared_folder.files(said.append)[shared_folder.MEASUREMENTS]
        return measurement.load_all(paths.results(), said.append, others)

    at("anna")
    # other tests may have both cores meanwhile
    monkeypatch.setattr(shared_folder, "PATIENCE_S", 120.0)
    assert seen() == []
    first = measured.result()
    second = first.model_copy(update={"release": "c" * 64})
    measurement.save(first, paths.results())
    assert shared_folder.give_all(said.append) == 1
    at("ben")
    path = measurement.save(second, paths.results())
    shared_folder.give(path, shared_folder.MEASUREMENTS, said.append)
    shared_folder.give(path, shared_folder.METRICS, said.append)
    for name in ("anna", "ben", "carla"):
        at(name)
        assert sorted(r.release for r in seen()) == sorted([first.release, second.release])
    assert [p.name for p in shared_folder.files(said.append)[shared_folder.METRICS]] != []
    assert said == []


@pytest.mark.parametrize("place", ["over_ssh", "s3"])
def test_one_that_is_too_large_is_fetched_once(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shared_folder.VARIABLE, request.getfixturevalue(place))
    shared_folder._place.cache_clear()  # in other tests another server had that address
    monkeypatch.setattr(shared_folder, "PATIENCE_S", 120.0)
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path / "anna"))
    said: list[str] = []
    first = measurement.save(measured.result(), paths.results())
    first.with_name("large.json").write_bytes(first.read_bytes() + b" " * 1_000_000)
    assert shared_folder.give_all(said.append) == 2
    monkeypatch.setattr(shared_folder, "LARGEST", 100_000)
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path / "ben"))
    for _ in range(2):  # it is kept in mind which it was
        (found,) = shared_folder.measurements(said.append)
        assert found.read_bytes() == first.read_bytes()
        (line,) = said
        assert "left out: large-" in line

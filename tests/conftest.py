"""Fakes shared by all tests. Each stands for one seam."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.mirror import Mirror
from tests.support.shared_caches import Team
from tests.support.sshd import Sshd
from toolchain.core.store import Store
from toolchain.lock import pins

# before anything imports ONNX Runtime, whose published wheels report to their maker
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# how long an example takes is the machine's affair: others run beside it
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failed test stands what each sshd that it uses has said last."""
    report = yield
    if report.failed:
        for name, used in getattr(item, "funcargs", {}).items():
            if isinstance(used, Sshd) and (used.folder / "log").is_file():
                last = (used.folder / "log").read_text(errors="replace").splitlines()[-20:]
                report.sections.append((f"log of the sshd {name}", "\n".join(last)))
    return report


@pytest.fixture(scope="session", autouse=True)
def no_records_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tuning has measured is the test run's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWRIGHT_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror(tmp_path / "mirror")
    monkeypatch.setenv("EDGEWRIGHT_DEBIAN_MIRROR", served.address)
    yield served
    served.close()


@pytest.fixture
def own_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dist/, results/ and reports/ of the test's own."""
    folder = tmp_path / "output"
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(folder))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def lock_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of the test's own."""
    folder = tmp_path / "lock"
    folder.mkdir()
    monkeypatch.setattr(pins, "FOLDER", folder)
    monkeypatch.setattr(pins, "SOURCES", folder / "sources.toml")
    pins.sources.cache_clear()
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folder of a team's cache."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def team(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    return Team(tmp_path, str(shared), monkeypatch)

"""The runtimes that there are: those of our folder, and a user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.manifests import a_check, a_library, a_manifest
from toolchain import runtimes
from toolchain.core import paths, plugins, process
from toolchain.core.errors import UsageError

THEIRS = """
from __future__ import annotations
import dataclasses
from typing import ClassVar
from toolchain.runtimes import Runtime
@dataclasses.dataclass(frozen=True, kw_only=True)
class Another(Runtime):
    kept: ClassVar[int] = 0
RUNTIME = Another(name="another", label="Another", title="Another runtime")
"""


def a_plugin(folder: Path, code: str) -> Path:
    (folder / "runtimes").mkdir(parents=True)
    (folder / "runtimes" / "another.py").write_text(code)
    return folder


def test_the_runtimes_are_the_modules_of_the_folder() -> None:
    names = {p.stem for p in (paths.ROOT / "toolchain" / "runtimes").glob("[!_]*.py")}
    assert runtimes.all_runtimes().keys() == names
    assert runtimes.names() == sorted(names)
    assert runtimes.runtime("tvm").has_opt_levels
    assert not runtimes.runtime("tflite").has_opt_levels


def test_an_unknown_runtime_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown runtime: nothing") as caught:
        runtimes.runtime("nothing")
    assert caught.value.resolution == f"known runtimes: {', '.join(runtimes.names())}"
    assert {"tflite", "tvm"} <= set(runtimes.names())


def test_a_library_is_of_one_target() -> None:
    made = a_manifest().with_library("rv64gc", a_library(3), a_check(3))
    (artifact,) = runtimes.runtime("tvm").artifacts(made, "rv64gc")
    assert (artifact.variant, artifact.opt_level) == ("fp32", 3)
    assert artifact.file.file == "rv64gc/O3.so"
    assert runtimes.runtime("tvm").artifacts(made, "x86_64") == []


def test_a_users_folder_brings_a_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = runtimes.names()
    monkeypatch.setenv(plugins.VARIABLE, str(a_plugin(tmp_path, THEIRS)))
    assert list(runtimes.all_runtimes()) == runtimes.names() == sorted([*ours, "another"])


@pytest.mark.parametrize("code", ["", THEIRS.replace('"another"', '"other"')])
def test_a_module_holds_the_runtime_of_its_name(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(a_plugin(tmp_path, code)))
    with pytest.raises(UsageError, match=r"another\.py holds no RUNTIME of its name"):
        runtimes.all_runtimes()


def test_two_runtimes_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both = [str(a_plugin(tmp_path / name, THEIRS)) for name in ("one", "two")]
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(both))
    with pytest.raises(UsageError, match="there is a runtime another already"):
        runtimes.all_runtimes()


def test_a_plugin_that_fails_is_told_with_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(a_plugin(tmp_path, "import nothing_of_that_name")))
    with pytest.raises(UsageError, match=r"another\.py: this plug-in can't be imported") as caught:
        runtimes.all_runtimes()
    assert "nothing_of_that_name" in caught.value.detail


def test_a_folder_of_plugins_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UsageError, match="which is no folder"):
        runtimes.all_runtimes()


def test_listing_the_runtimes_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "tvm", "numpy", "pydantic", "packaging", "importlib.metadata")
    script = (
        "import sys; from toolchain import runtimes; runtimes.all_runtimes(); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    assert text.strip() == "[]", "import it in the method that uses it"

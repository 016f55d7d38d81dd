"""How the agent begins, by the Python of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.release import agent_session


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


def test_a_file_where_a_login_begins_is_no_module_of_the_agents(tmp_path: Path) -> None:
    for name in ("json", "glob", "queue", "deploy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not the library')\n")
    ended = subprocess.run(
        [sys.executable, "-u", "-c", agent_session.BOOT, str(tmp_path / "root"), "60"],
        input=agent_session.sources() + b'{"do": "look", "modules": ["json"]}\n{"do": "bye"}\n',
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    hello, facts = (json.loads(line)["ok"] for line in ended.stdout.splitlines())
    assert hello["root"] == str(tmp_path / "root")
    assert facts["modules"].keys() == {"json"}


def test_what_an_unchanged_deployment_imports_is_little(tmp_path: Path) -> None:
    """Each of these takes a small board as long as all that is done there."""
    slow = ("typing", "platform", "sysconfig", "subprocess", "ctypes.util", "shutil", "tempfile")
    requests = [{"do": "look", "modules": []}, {"do": "inspect", "release": "", "files": []}]
    lines = "".join(f"{json.dumps(r)}\n" for r in [*requests, {"do": "bye"}])
    boot = agent_session.BOOT + "print([n for n in sys.argv[3:] if n in sys.modules])\n"
    ended = subprocess.run(
        [sys.executable, "-S", "-u", "-c", boot, str(tmp_path / "root"), "60", *slow],
        input=agent_session.sources() + lines.encode(), capture_output=True, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == b"[]"

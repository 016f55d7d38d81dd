"""Whatever a device without Python answers, its session ends in one line of ours or goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.release.shell import agent
from deploy.release.shell.session import ShellSession
from deploy.ssh.remote_process import RemoteProcess
from tests.support.bundles import make_bundle
from toolchain.bundle import assemble, placement
from toolchain.core.errors import EdgewrightError, ReleaseError

FOLDER = "0123456789abcdef"
MARKER = json.dumps({"release": "a" * 64, "serial": 1, "venv": "", "content": ""})
WORDS = (
    *("", "ok", "no", "yes", "have", "part", "current", "previous", "release", "pending", "key"),
    *("class", "disk", "ram", "time", "auxv", "cpuinfo", "temperature", "mount", "lacks"),
    *("-1", "1", "9" * 30, "nan", "/", "a" * 64, FOLDER, MARKER, "{}", "null", "[" * 3000),
    *('{"back": 1}', '{"serial": "x"}', "wrong", "\x1b[2J"),
)
LINES = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
SAID = st.lists(st.tuples(st.sampled_from("++++-"), LINES).map("".join), max_size=6)


class Answers:
    """A process that says some lines, whatever it is asked; then the same again."""

    def __init__(self, said: Sequence[str]) -> None:
        self._lines = self._forever([*said, "ok"])

    @staticmethod
    def _forever(said: Sequence[str]) -> Iterator[str]:
        while True:
            yield from said

    def write(self, content: bytes) -> None:
        """Hear nothing of it."""

    def errors(self) -> str:
        """Nothing more than it says."""
        return ""

    def line(self, *, within: float) -> str:
        """The next line."""
        del within
        return next(self._lines)


def session(said: Sequence[str]) -> ShellSession:
    return ShellSession("board", cast("RemoteProcess", Answers(said)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


STEPS: dict[str, Callable[[ShellSession, assemble.Manifest, str], Any]] = {
    "begin": lambda s, _m, _t: s.begin(),
    "look": lambda s, _m, _t: s.look(["numpy"]),
    "inspect": lambda s, m, _t: s.inspect(m.release, m.files),
    "lock": lambda s, _m, _t: s.lock("me"),
    "prepare": lambda s, m, _t: s.prepare(m.files),
    "take": lambda s, m, _t: s.take(m.files[0].sha256),
    "assemble": lambda s, _m, t: s.assemble(t),
    "check": lambda s, _m, _t: s.check(FOLDER, "", []),
    "rollback": lambda s, _m, _t: s.rollback(),
    "clean": lambda s, _m, _t: s.clean(2),
    "remove": lambda s, _m, _t: s.remove(FOLDER, previous=True),
    "undo": lambda s, _m, _t: s.undo(),
    "runs": lambda s, _m, _t: s.runs(),
}


@settings(deadline=None, max_examples=60)
@given(said=SAID, step=st.sampled_from(sorted(STEPS)))
def test_no_answer_is_an_error_of_python(bundle: Path, said: list[str], step: str) -> None:
    manifest, text = assemble.load(bundle), (bundle / placement.MANIFEST).read_text()
    board = session(said)
    board.root = "/root"
    with suppress(EdgewrightError):
        STEPS[step](board, manifest, text)


@pytest.mark.parametrize(("step", "line"), [("inspect", "+have"), ("inspect", "+"), ("begin", "+")])
def test_an_answer_that_lacks_a_word_is_told(bundle: Path, step: str, line: str) -> None:
    board, manifest = session([line, line]), assemble.load(bundle)
    board.root = "/root"
    with pytest.raises(ReleaseError, match="answer can't be read"):
        STEPS[step](board, manifest, "")


def test_an_answer_without_end_is_given_up_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "MOST_BYTES", 1000)
    with pytest.raises(ReleaseError, match="answer can't be read"):
        session([f"+{'x' * 100}"] * 10 + ["+"]).step("manifest", FOLDER)
    assert session([f"+{'x' * 100}"] * 5).step("manifest", FOLDER) == ["x" * 100] * 5

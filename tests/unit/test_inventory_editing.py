"""An edit of an inventory changes the host that it is about and no other byte."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from deploy.inventory import reading

TWO = """\
# devices
all:
  hosts:
    board:  # at the window
      ansible_host: 192.0.2.7
      edgewright:
        target: rv64gc
  vars:
    ansible_user: "edge"
"""
FOUR = """\
all:
    hosts:
        board:
            ansible_host: 192.0.2.7
            edgewright:
                target: rv64gc
"""
THREE = """\
all:
   hosts:
      board:
         ansible_host: 192.0.2.7
         edgewright:
            target: rv64gc
"""
STYLES = {
    "two": TWO,
    "three": THREE,
    "four": FOUR,
    "begun": f"---\n{TWO}",
    "begun by a comment": f"# mine\n---\n{FOUR}",
    "ended": f"---\n{TWO}...\n",
    "one line's end less": FOUR.rstrip("\n"),
}


def edited(path: Path, content: bytes) -> tuple[bytes, bytes]:
    """A file with a host more, and with that host removed again."""
    path.write_bytes(content)
    reading.add_host(path, "new", {"ansible_host": "192.0.2.8", "edgewright": {"target": "rv64gc"}})
    more = path.read_bytes()
    assert set(reading.load(path).names()) == {"board", "new"}
    reading.remove_host(path, "new")
    return more, path.read_bytes()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("style", STYLES)
def test_indents_line_ends_marks_and_beginnings_stay(
    tmp_path: Path, style: str, end: str, mark: bytes
) -> None:
    content = mark + STYLES[style].replace("\n", end).encode()
    more, back = edited(tmp_path / "inventory.yml", content)
    whole = content if content.endswith(end.encode()) else content + end.encode()
    assert back == whole
    lines, had = more.splitlines(keepends=True), whole.splitlines(keepends=True)
    changes = difflib.SequenceMatcher(None, had, lines, autojunk=False).get_opcodes()
    assert {kind for kind, *_ in changes} == {"equal", "insert"}
    added = [
        line for kind, _, _, one, two in changes if kind == "insert" for line in lines[one:two]
    ]
    indent = {"four": 4, "three": 3, "begun by a comment": 4, "one line's end less": 4}
    assert b" " * 2 * indent.get(style, 2) + b"new:" + end.encode() in added
    assert len(added) == len(lines) - len(had) == 4
    assert all(line.endswith(end.encode()) for line in lines)


@pytest.mark.parametrize("dash", [0, 2, 4])
def test_lists_keep_their_place(tmp_path: Path, dash: int) -> None:
    listed = f"{FOUR}    vars:\n        names:\n{' ' * (8 + dash)}- a\n"
    _, back = edited(tmp_path / "inventory.yml", listed.encode())
    assert back == listed.encode()

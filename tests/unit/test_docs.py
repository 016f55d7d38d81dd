"""The documents: every link leads somewhere, and every path that is named is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.core import paths, process

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# `a/b.py`, `a/b/`: what stands between backticks and has only what a path has
NAMED = re.compile(r"`([\w.*-]+(?:/[\w.*-]+)*/?)`")
NAMED_TEST = re.compile(r"`(test_\w+)`")
IN_CODE = re.compile(r"\bdocs/[\w/.-]*\w")
# what a reader puts a name of their own for
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|…|<")


def tracked(pattern: str) -> list[str]:
    return process.run(["git", "ls-files", "--", pattern], cwd=paths.ROOT).split()


DOCUMENTS = tracked("*.md")
TOP = {name.split("/")[0] for name in tracked("*") if "/" in name}
BASENAMES = {Path(name).name for name in tracked("*")}


def anchors(text: str) -> set[str]:
    """The fragments of a document's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken(document: Path, text: str) -> Iterator[str]:
    """The links of a document that lead to no file of the repository, or to no heading in it."""
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        there = document.parent / name if name else document
        if not there.exists() or (fragment and fragment not in anchors(there.read_text())):
            yield link


def absent(text: str) -> Iterator[str]:
    """The paths of the repository that a document names and that are not there."""
    for name in NAMED.findall(text):
        if PLACEHOLDER.search(name):
            continue
        if "/" not in name:
            there = not name.endswith(".py") or name in BASENAMES
        elif name.split("/")[0] in TOP:
            there = any(paths.ROOT.glob(name.rstrip("/")))
        else:
            there = True
        if not there:
            yield name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_of_a_document_leads_somewhere(document: str) -> None:
    path = paths.ROOT / document
    assert list(broken(path, path.read_text())) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    assert list(absent((paths.ROOT / document).read_text())) == []


def test_every_document_that_the_code_names_is_there() -> None:
    named = {
        (name, document)
        for name in tracked("*.py")
        for document in IN_CODE.findall((paths.ROOT / name).read_text())
    }
    assert named
    assert [pair for pair in sorted(named) if not (paths.ROOT / pair[1]).exists()] == []


def test_every_test_that_a_document_names_is_there() -> None:
    defined = "".join((paths.ROOT / name).read_text() for name in tracked("tests/*.py"))
    named = {one for d in DOCUMENTS for one in NAMED_TEST.findall((paths.ROOT / d).read_text())}
    assert {one for one in named if f"def {one}(" not in defined} == set()
    assert named


def test_every_document_is_found_from_the_index() -> None:
    index = paths.ROOT / "docs" / "README.md"
    linked = {
        (index.parent / link.split("#")[0]).resolve() for link in LINK.findall(index.read_text())
    }
    documents = {(paths.ROOT / name).resolve() for name in tracked("docs/*.md")} - {index}
    assert documents - linked == set()


@pytest.mark.parametrize("top", ["toolchain", "deploy"])
def test_the_map_of_the_house_has_every_folder_that_is_there(top: str) -> None:
    text = (paths.ROOT / "docs/design.md").read_text()
    block = re.search(rf"(?m)^    {top}/ .*\n((?:      .*\n)+)", text)
    assert block
    drawn = re.findall(r"(?m)(?:^| {2})(?: *)(\w+)/ {2,}", block[1])
    there = {name.split("/")[1] for name in tracked(f"{top}/*.py") if name.count("/") > 1}
    assert sorted(drawn) == sorted(there)


def test_the_page_of_variables_has_those_that_are_read_and_no_other() -> None:
    variable = re.compile(r"[\"'`(]+(EDGEWRIGHT_[A-Z_]+)")
    code = [(paths.ROOT / name).read_text() for name in [*tracked("*.py"), "Makefile"]]
    read = {name for text in code for name in variable.findall(text)}
    page = (paths.ROOT / "docs/reference/environment.md").read_text()
    assert set(re.findall(r"`(EDGEWRIGHT_[A-Z_]+)[`=]", page)) == read


def test_a_link_to_nowhere_and_a_path_that_is_gone_are_seen(tmp_path: Path) -> None:
    text = "# A heading\n[a](b.md) [c](#d) [e](#a-heading) `toolchain/gone.py` `gone.py` `docs/`\n"
    document = tmp_path / "a.md"
    document.write_text(text)
    assert list(broken(document, text)) == ["b.md", "#d"]
    assert list(absent(text)) == ["toolchain/gone.py", "gone.py"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_block_of_commands_is_indented_from_its_first_line(document: str) -> None:
    """A line of prose with an indented one right below it swallows that line as prose."""
    prose = re.sub(r"(?s)```.*?```", "", (paths.ROOT / document).read_text())
    assert re.findall(r"(?m)^(?![-*|#>]|\d+\.)(\S.*)\n    \S", prose) == []

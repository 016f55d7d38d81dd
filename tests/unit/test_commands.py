"""The commands that documents and example files give: each names a task and options of its own."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import tasks
from deploy.inventory import reading
from toolchain.core import paths, process

# making a context takes the help out of its task, so it is done on a copy
CONTEXTS = {context.name: context for context in copy.deepcopy(tasks.ns).to_contexts()}
CORE = {"--list", "--list-format", "--help", "--debug", "--version"}
EXAMPLES = sorted((paths.ROOT / "docs/how-to/ci").glob("*.yml"))
# where a command begins in a line, with its environment and folder
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ +)*(?:\S+/)?(?:invoke|edgewright) +(\S.*)")
INLINE = re.compile(r"`((?:invoke|edgewright) [^`]+)`")
# commands in a document's text that stand for others
WORDS = {"TASK", "X"}


def wrong(command: str) -> Iterator[str]:
    """What is wrong with a command of ours: a task that is not there, an option it doesn't have."""
    found = COMMAND.match(command)
    if not found:
        return
    words = shlex.split(found.group(1))
    if words[0] in CORE | WORDS:
        return
    if words[0] not in CONTEXTS:
        yield f"no task {words[0]} in: {command}"
        return
    for option in (word.split("=")[0] for word in words[1:] if word.startswith("--")):
        if option not in CONTEXTS[words[0]].flags:
            yield f"no option {option} in: {command}"


def commands(line: str) -> Iterator[str]:
    """The commands of a line of a shell, without its comment."""
    for part in re.split(r" && | \| |; ", re.split(r" #", line)[0]):
        yield part.strip().rstrip("\\ ")


def strings(value: object) -> Iterator[str]:
    """Every string of a parsed file."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_of_ci_is_yaml_whose_commands_exist(example: Path) -> None:
    parsed = YAML(typ="safe").load(example.read_text())
    lines = [line for text in strings(parsed) for line in text.splitlines()]
    run = [line for line in lines if re.match(r"\s*edgewright ", line)]
    tasks_run = {line.split()[1] for line in run}
    assert {"build-wheels", "verify", "compile", "deploy", "bench", "report"} <= tasks_run
    assert [fault for line in run for part in commands(line) for fault in wrong(part)] == []


def test_hooks_run_the_programs_of_make_check_and_fetch_nothing() -> None:
    parsed = YAML(typ="safe").load((paths.ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in parsed["repos"]] == ["local"]
    (hooks,) = (repository["hooks"] for repository in parsed["repos"])
    recipe = (paths.ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    checks = re.findall(r"\$\(BIN\)/(\w+(?: check| format)?)", recipe)
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in hooks]
    assert [entry.removesuffix(" --force-exclude") for entry in entries] == checks


def test_the_examples_inventory_has_the_canary_and_its_group(tmp_path: Path) -> None:
    text = (paths.ROOT / "docs/how-to/ci/README.md").read_text()
    block = re.search(r"\n    all:\n(?:    .*\n)+", text)
    assert block
    (tmp_path / "inventory.yml").write_text(block.group())
    for name in ("boards.key", "boards.known_hosts"):
        (tmp_path / name).touch(0o600)
    inventory = reading.load(tmp_path / "inventory.yml")
    assert [d.name for d in inventory.select([], ["boards"])] == ["canary", "second"]


@pytest.mark.parametrize(
    "document", process.run(["git", "ls-files", "*.md"], cwd=paths.ROOT).split()
)
def test_every_command_of_a_document_exists(document: str) -> None:
    text = (paths.ROOT / document).read_text()
    blocks = [line for line in text.splitlines() if line.startswith("    ")]
    inline = [found.replace("\n", " ") for found in INLINE.findall(text)]
    named = [part for line in blocks + inline for part in commands(line)]
    assert [fault for command in named for fault in wrong(command)] == []


def test_a_task_that_is_gone_and_an_option_too_are_seen() -> None:
    assert list(wrong("invoke build-wheel --target rv64gc")) != []
    assert list(wrong("edgewright bench --hosts canary")) != []
    assert list(wrong("EDGEWRIGHT_TARGETS=all .venv/bin/invoke bench --host canary")) == []
    assert list(commands("    cd here && invoke report   # once")) == ["cd here", "invoke report"]

"""YAML a person wrote, read so that every complaint names the file and the line.

Plain values only: no custom tags, no duplicate keys, few anchors, bounded size and depth. A hostile
file is refused while it is being scanned, before anything is built from it. What the values mean
is not decided here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.parser import Parser

from toolchain.core.errors import InventoryError

MAX_BYTES = 128 << 10
MAX_DEPTH = 24
MAX_ANCHORS = 32
MAX_FLOWS = 2000
MAX_LINES = 10_000
MAX_LINE = 16 << 10
MAX_NODES = 20_000

PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
STRING_TAG = "tag:yaml.org,2002:str"
MERGE_TAG = "tag:yaml.org,2002:merge"

Place = tuple[str | int, ...]


@dataclass(kw_only=True)
class Document:
    """The values of a file, and the line each one stands on, by its keys from the top."""

    path: Path
    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest thing around it that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, place: Place, message: str, *, resolution: str = "") -> InventoryError:
        """The error that says what is wrong with the value at a place."""
        key = ".".join(str(part) for part in place)
        return _error(
            self.path,
            self.line(place),
            f"{key}: {message}" if key else message,
            resolution=resolution,
        )


def _error(path: Path, line: int, message: str, *, resolution: str = "") -> InventoryError:
    printable = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in message)
    return InventoryError(f"{path}, line {line}: {printable}", resolution=resolution)


def read(path: Path, top: str) -> Document:
    """Read a file.

    Args:
        path: the file.
        top: the one key at its top.

    Raises:
        InventoryError: it can't be read, isn't YAML, or asks for more than plain values.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InventoryError(
            f"{path} can't be read",
            detail=error.strerror or str(error),
            resolution="`inventory.yml` in the repository shows how one is written",
        ) from error
    if len(raw) > MAX_BYTES:
        raise _error(path, 1, f"larger than {MAX_BYTES >> 10} KiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _error(path, line, "this is not UTF-8 text") from error
    return parse(text, path, top)


def parse(text: str, path: Path, top: str) -> Document:
    """Read a text; `path` is only what errors call it.

    Raises:
        InventoryError: as for `read`.
    """
    document = Document(path=path)
    try:
        _check_size(text, path)
        root = _compose(text, path, top)
        if root is not None:
            document.value = _Builder(document).build(root, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        what = ": ".join(str(part) for part in (error.context, error.problem) if part)
        raise _error(path, line, f"not valid YAML: {what}") from error
    except YAMLError as error:
        raise _error(path, 1, f"not valid YAML: {error}") from error
    return document


def _loader() -> YAML:
    return YAML(typ="safe", pure=True)


def _check_size(text: str, path: Path) -> None:
    """Refuse what the scanner would take long over, before the first event comes."""
    if text.count("{") + text.count("[") > MAX_FLOWS:
        raise _error(path, 1, f"more than {MAX_FLOWS} of [ and {{")
    if text.count("\n") > MAX_LINES:
        raise _error(path, 1, f"more than {MAX_LINES} lines")
    if max(map(len, text.split("\n"))) > MAX_LINE:
        raise _error(path, 1, f"a line longer than {MAX_LINE >> 10} KiB")
    if text.count("\n%") > 1 or text.count("\n---") > 1:
        # each is scanned as a document of its own, slowly
        raise _error(path, 1, "not valid YAML: more than one document")


class _Bounds:
    """Counts events as the composer takes them, and refuses depth, anchors, size and shape.

    The text is scanned once, and no further than to the first event that is refused: scanning takes
    most of the time that a file takes.
    """

    def __init__(self, parser: Parser, path: Path, top: str) -> None:
        self.next_event = parser.get_event
        self.path, self.top = path, top
        self.depth = self.anchors = self.nodes = self.at_top = 0

    def __call__(self) -> Event:
        event: Event = self.next_event()
        line = event.start_mark.line + 1
        if isinstance(event, NodeEvent) and self.depth < 2:
            self.check_top(event, line)
        if isinstance(event, CollectionStartEvent):
            self.depth += 1
        elif isinstance(event, CollectionEndEvent):
            self.depth -= 1
        if isinstance(event, NodeEvent):
            self.nodes += 1
            self.anchors += event.anchor is not None or isinstance(event, AliasEvent)
        if self.depth > MAX_DEPTH:
            raise _error(self.path, line, f"nested more than {MAX_DEPTH} deep")
        if self.anchors > MAX_ANCHORS:
            raise _error(self.path, line, f"more than {MAX_ANCHORS} anchors and aliases")
        if self.nodes > MAX_NODES:
            raise _error(self.path, line, f"more than {MAX_NODES} values")
        return event

    def check_top(self, event: NodeEvent, line: int) -> None:
        """Refuse a file that is no mapping, or has another key than the one it may have."""
        if self.depth == 0:
            if not isinstance(event, MappingStartEvent):
                kind = "a list" if isinstance(event, CollectionStartEvent) else "a single value"
                raise _error(self.path, line, f"must be a mapping, not {kind}")
            return
        self.at_top += 1
        key = event.value if isinstance(event, ScalarEvent) else "a collection"
        if self.at_top % 2 and key != self.top:
            raise _error(self.path, line, f"unknown key {key[:60]}; known here: {self.top}")
        if self.at_top > 2:
            raise _error(self.path, line, f"{self.top}: this key stands here twice")


def _compose(text: str, path: Path, top: str) -> Node | None:
    """The nodes of a text; None of an empty one."""
    constructor, parser = _loader().get_constructor_parser(text)
    constructor.composer.warn_double_anchors = False
    parser.get_event = _Bounds(parser, path, top)
    root: Node | None = constructor.composer.get_single_node()
    return root


class _Builder:
    """Plain values from nodes. Aliases are followed, on a budget."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.budget = MAX_NODES
        self.merging = 0
        self.scalars = SafeConstructor(loader=_loader())

    def build(self, node: Node, place: Place) -> object:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(place, line)
        self.budget -= 1
        if self.budget < 0 or len(place) > MAX_DEPTH:
            raise _error(self.document.path, line, "its aliases expand to too many values")
        if isinstance(node, MappingNode):
            return self.mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
        return self.scalar(node, line)

    def mapping(self, node: MappingNode, place: Place) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == MERGE_TAG:
                self.merging += 1
                if self.merging > MAX_ANCHORS:
                    raise _error(self.document.path, line, "<<: merges itself")
                for source in self.merge_sources(value_node, line):
                    for key, value in self.mapping(source, place).items():
                        merged.setdefault(key, value)
                self.merging -= 1
                continue
            if not isinstance(key_node, ScalarNode) or key_node.tag != STRING_TAG:
                raise _error(
                    self.document.path, line, f"a key must be a string, not {_show(key_node)}"
                )
            key = key_node.value
            if key in own:
                name = ".".join(map(str, (*place, key)))
                raise _error(self.document.path, line, f"{name}: this key stands here twice")
            self.document.lines[(*place, key)] = line
            own[key] = self.build(value_node, (*place, key))
        return {**merged, **own}

    def merge_sources(self, node: Node, line: int) -> Iterator[MappingNode]:
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            self.budget -= 1
            if not isinstance(source, MappingNode) or self.budget < 0:
                raise _error(self.document.path, line, "<<: takes a mapping")
            yield source

    def scalar(self, node: Node, line: int) -> object:
        if node.tag == STRING_TAG:
            return str(node.value)
        if node.tag not in PLAIN_TAGS:
            # A date is text here: no key of ours takes one. Any other tag asks for an object.
            if node.tag == "tag:yaml.org,2002:timestamp":
                return str(node.value)
            raise _error(self.document.path, line, f"the tag {node.tag} is not allowed here")
        try:
            return self.scalars.construct_object(node, deep=True)
        except (ValueError, ArithmeticError, LookupError) as error:
            kind = node.tag.rpartition(":")[2]
            raise _error(self.document.path, line, f"not of type {kind}: {_show(node)}") from error


def _show(node: Node) -> str:
    text = str(node.value) if isinstance(node, ScalarNode) else "a collection"
    return textwrap.shorten(text, 60, placeholder="...") if " " in text else text[:60]

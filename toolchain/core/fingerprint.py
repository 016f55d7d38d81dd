"""The fingerprint of code: every module that some work imports, found by reading and not by a list.

`of` begins at the modules where the work begins, and goes on to all that they import: at their top
or inside a function, and the packages that these modules are in. Of each it hashes the source
without comments, docstrings and blank lines, so that these rebuild nothing. It is only read, never
imported, and the same on every Python.

What it does not see, the caller adds to the key of what is built:

- a module that is found by its folder or name as the program runs (a kind of file, an instruction
  set, a wheel's recipe, a worker's job, what a user has added of these): the caller gives those
  that are in use as entries too;
- libraries that are not ours: by their versions;
- data files (targets, the catalogue, locks): by the values that the work takes from them;
- imports for types alone, below `if TYPE_CHECKING`: nothing of them runs.

A docstring that the work itself read (`__doc__`) would be missed; none does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolchain.core import paths

PACKAGES = ("toolchain", "deploy")
# Comments, and strings with their prefix, whichever begins first. In a raw string too, a quote
# behind a backslash ends nothing; Python 3.11 has no quote of an f-string's own kind inside it.
LEXEMES = re.compile(
    rb"#[^\n]*"
    rb"|[bBfFrRuU]{0,2}"
    rb'(?:"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    rb"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    rb'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    rb"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')",
    re.DOTALL,
)
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# CPython 3.11 fails now and then where two threads parse: "SystemError: AST constructor recursion
# depth mismatch".
PARSING = threading.Lock()


def of(*entries: str | Path, root: Path = paths.ROOT) -> dict[str, str]:
    """The hash of each module that the work of some modules imports, by its name.

    Args:
        entries: modules, such as "toolchain.compile.compilation_job", or their files; the file of a
            user's own module stands under its file name.
        root: the folder of our packages.
    """
    found: dict[str, str] = {}
    waiting: list[str] = []
    for entry in entries:
        if isinstance(entry, Path) and not entry.is_relative_to(root):
            found[entry.name], imported = _read(entry)
            waiting += imported
        else:
            name = _name(entry, root) if isinstance(entry, Path) else entry
            waiting += _with_packages(name)
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if name in found or path is None:
            continue
        found[name], imported = _read(path)
        waiting += imported
    return dict(sorted(found.items()))


def _name(path: Path, root: Path) -> str:
    """The name of the module of a file of ours."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


def _with_packages(name: str) -> Iterator[str]:
    """A module and the packages that it is in, which are imported with it."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@functools.cache
def _file(root: Path, name: str) -> Path | None:
    """The file of a module of ours; None where the name is something else in a module."""
    place = root.joinpath(*name.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """The hash of a module and what it may import; read once in a process."""
    source = path.read_bytes()
    with PARSING:
        tree = ast.parse(source)
    statements = list(_statements(tree))
    text = without_remarks(source, [tree, *statements])
    names = {name for statement in statements for name in _imported(statement)}
    return hashlib.sha256(text).hexdigest(), tuple(sorted(names))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements in a node but those for types alone; expressions hold none."""
    for block in BLOCKS:
        if block == "body" and isinstance(node, ast.If) and _for_types(node.test):
            continue
        children = getattr(node, block, ())
        for child in children if isinstance(children, list) else ():
            yield child
            yield from _statements(child)


def _for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _imported(statement: ast.AST) -> Iterator[str]:
    """The names that may be modules of ours, of an import statement."""
    if isinstance(statement, ast.Import):
        given = [alias.name for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom):
        # what is imported from a package may be a module, or something in it
        module = statement.module or ""
        given = [f"{module}.{alias.name}" for alias in statement.names]
    else:
        return
    for name in given:
        if name.split(".")[0] in PACKAGES:
            yield from _with_packages(name)


def without_remarks(source: bytes, nodes: Iterable[ast.AST]) -> bytes:
    """What of a module's source counts: no comments, docstrings, blank lines or trailing spaces.

    Args:
        source: UTF-8.
        nodes: its tree and the statements in it.

    Returns:
        the code with its strings left out, then the strings, so that nothing in them is changed.
    """
    docstrings = set(_docstrings(source, nodes))
    code: list[bytes] = []
    strings: list[bytes] = []
    position = 0
    for found in LEXEMES.finditer(source):
        code.append(source[position : found.start()])
        position = found.end()
        if not found[0].startswith(b"#") and found.start() not in docstrings:
            code.append(b"\0")
            strings.append(found[0])
    code.append(source[position:])
    tidied = re.sub(rb"\s*\n", b"\n", b"".join(code)).strip()
    return b"\0".join([tidied, *strings])


def _docstrings(source: bytes, nodes: Iterable[ast.AST]) -> Iterator[int]:
    """Where each docstring begins, in bytes."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in nodes:
        if not isinstance(node, DOCUMENTED) or not node.body:
            continue
        first = node.body[0]
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield starts[first.lineno - 1] + first.col_offset

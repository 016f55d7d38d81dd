"""The fingerprint of code is that of every module that the work imports, and of nothing else."""

from __future__ import annotations

import ast
import functools
import io
import json
import os
import shutil
import sys
import threading
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolchain.accuracy.sharding import shards_request
from toolchain.compile import compilation
from toolchain.compile.compilation_request import COMPILE
from toolchain.convert.requests import CONVERT, MAKE_VARIANT
from toolchain.core import fingerprint, paths, plugins, process
from toolchain.formats import all_formats
from toolchain.images import assembly
from toolchain.images import build as images
from toolchain.lock.unpack import UNPACK
from toolchain.targets import instruction_sets
from toolchain.wheels import build as wheels

# Where each kind of work begins.
WORK = {
    **{
        f"conversion of {name}": (CONVERT.module, f"toolchain.formats.{one.code.stem}")
        for name, one in all_formats().items()
    },
    "variant": (MAKE_VARIANT.module,),
    "compilation": (
        COMPILE.module,
        *(f"{instruction_sets.__name__}.{name}" for name in plugins.names(instruction_sets, "")),
    ),
    "shards": (shards_request.PREPARE.module,),
    "unpacking": (UNPACK.module,),
    "root of an image": (images.ROOT_RECIPE,),
    "image": (assembly.__name__,),
    **{name: (wheels.STEPS, f"{wheels.PACKAGE}.{name}") for name in wheels.recipes()},
}


@functools.cache
def loaded(entries: tuple[str, ...]) -> frozenset[str]:
    """Our modules that a Python has loaded when it has imported some."""
    script = (
        f"import importlib, json, sys; [importlib.import_module(name) for name in {entries!r}]; "
        f"ours = [n for n in sys.modules if n.split('.')[0] in {fingerprint.PACKAGES!r}]; "
        "print(json.dumps(ours))"
    )
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    return frozenset(json.loads(text.strip().splitlines()[-1]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our packages, whose modules may be changed."""
    root = tmp_path_factory.mktemp("tree")
    for name in fingerprint.PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(paths.ROOT / name, root / name, ignore=ignored)
    return root


def of(work: str, root: Path) -> dict[str, str]:
    """The fingerprint of a kind of work, read anew."""
    fingerprint._read.cache_clear()
    return fingerprint.of(*WORK[work], root=root)


@contextmanager
def changed(modules: Iterable[str], root: Path, change: Callable[[str], str]) -> Iterator[None]:
    """Change the source of modules for a while."""
    kept = {}
    for name in modules:
        path = fingerprint._file(root, name)
        assert path is not None
        kept[path] = path.read_text()
        path.write_text(change(kept[path]))
    yield
    for path, text in kept.items():
        path.write_text(text)


@pytest.mark.parametrize("work", WORK)
def test_a_line_changed_in_a_module_that_the_work_imports_changes_the_key(
    work: str, tree: Path
) -> None:
    modules = loaded(WORK[work])
    before = of(work, tree)
    assert set(WORK[work]) <= modules <= before.keys()
    with changed(modules, tree, lambda text: f"{text}\nchanged = True\n"):
        after = of(work, tree)
    assert [name for name in modules if after[name] == before[name]] == []


@pytest.mark.parametrize("work", WORK)
def test_a_comment_a_docstring_and_blank_lines_change_no_key(work: str, tree: Path) -> None:
    def say_otherwise(text: str) -> str:
        told = text.replace('"""', '"""It is said otherwise. ', 1)
        return f"# a comment\n\n{told}\n\n    # another\n"

    before = of(work, tree)
    with changed(before, tree, say_otherwise):
        after = of(work, tree)
    assert after == before


def test_every_instruction_set_is_in_the_key_of_a_library() -> None:
    assert fingerprint.of(*WORK["compilation"]) == compilation.code()


def test_what_only_shows_finds_or_runs_a_wheel_is_not_in_its_key() -> None:
    outside = {"core.console", "images.engine", "lock.fetch", "images.build", "wheels.build"}
    for name in wheels.recipes():
        found = fingerprint.of(*WORK[name])
        assert {f"toolchain.{module}" for module in outside} & found.keys() == set()


def folder(root: Path, **modules: str) -> Path:
    """A package of ours with these modules; `a__in__b` is the module b of its package a."""
    for name, text in {"__init__": "", **modules}.items():
        path = root / "toolchain" / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_imports_are_followed_wherever_they_stand_but_not_those_for_types(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        begin="from typing import TYPE_CHECKING\n"
        "import toolchain.plain, numpy, missing\n"
        "from toolchain.inner import deep as other, VALUE\n"
        "if TYPE_CHECKING:\n    from toolchain import types\n"
        "else:\n    from toolchain import otherwise\n"
        "class A:\n    def f(self):\n        try:\n            from toolchain import lazy\n"
        "        except ImportError:\n            from toolchain import handled\n",
        plain="import toolchain.begin\n",
        inner__in____init__="from toolchain import initial\nVALUE = 1\n",
        inner__in__deep="",
        inner__in__left="",
        **dict.fromkeys(("types", "otherwise", "lazy", "handled", "initial", "left"), ""),
    )
    found = fingerprint.of("toolchain.begin", root=root)
    names = {name.removeprefix("toolchain").removeprefix(".") for name in found}
    assert names == {
        *("", "begin", "plain", "inner", "inner.deep"),
        *("otherwise", "lazy", "handled", "initial"),
    }


PLAIN = 'x = "a # b"\n\n\ndef f():\n    return x\n'


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('x = "a # b"  # why\n\ndef f():\n    # how\n    return x', True),
        (
            '"""Head."""\nx = "a # b"\ndef f():\n    """It\'s\n\n    # on."""\n    return x\n',
            True,
        ),
        ("x = \"a # b\"\ndef f():\n    r'''Raw \\d.'''\n    return x\n", True),
        ('x = "a # c"\ndef f():\n    return x\n', False),
        ("x = 'a # b'\ndef f():\n    return x\n", False),
        ('x = "a # b"\ndef f():\n  return x\n', False),
        ('x = "a # b"\ndef f():\n    y = """It."""\n    return x\n', False),
        ('x = "a # b"\ndef f():\n    return x, f"""\n\n# {x}"""\n', False),
    ],
)
def test_only_code_counts_of_a_source(source: str, same: bool) -> None:
    one, other = (_counted(text) for text in (PLAIN, source))
    assert (one == other) is same


def test_a_users_own_module_counts_with_what_it_imports(tmp_path: Path) -> None:
    root = folder(tmp_path / "ours", one="", two="")
    own = tmp_path / "own.py"
    own.write_text("from toolchain import one\n")
    found = fingerprint.of(own, root / "toolchain" / "two.py", root=root)
    assert [*found] == ["own.py", "toolchain", "toolchain.one", "toolchain.two"]


def test_blank_lines_in_a_string_count() -> None:
    assert _counted('x = """a\n\n# b\n"""\n') != _counted('x = """a\n# b\n"""\n')


def _counted(text: str) -> bytes:
    tree = ast.parse(text)
    return fingerprint.without_remarks(text.encode(), [tree, *fingerprint._statements(tree)])


def test_no_two_threads_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 fails now and then where they do."""
    parse = ast.parse
    alone = threading.Lock()

    def noted(source: bytes) -> ast.AST:
        assert alone.acquire(blocking=False), "another is parsing"
        try:
            time.sleep(0.001)  # another thread's turn
            return parse(source)
        finally:
            alone.release()

    fingerprint._read.cache_clear()
    monkeypatch.setattr(ast, "parse", noted)
    entries = (COMPILE.module, CONVERT.module, *(module for (module, *_) in WORK.values()))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fingerprint.of, entries))


def test_comments_are_found_as_python_finds_them() -> None:
    for path in paths.ROOT.glob("toolchain/**/*.py"):
        source = path.read_bytes()
        found = [m[0].decode() for m in fingerprint.LEXEMES.finditer(source) if m[0][:1] == b"#"]
        tokens = tokenize.tokenize(io.BytesIO(source).readline)
        assert found == [t.string for t in tokens if t.type == tokenize.COMMENT], path

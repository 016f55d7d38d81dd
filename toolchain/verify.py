"""Proof that a build is the same: everything built twice, the second time elsewhere.

A wheel's second build differs from the first in whatever this machine can change (`conditions`).
Images and models are made again with an empty store, in another folder, time zone, locale and
umask. Wheels and a model's files are compared byte by byte, images by id. What differs is told by
diffoscope where it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toolchain import paths, process
from toolchain.errors import BuildError, CommandError, UsageError
from toolchain.store import Store, digest_file
from toolchain.targets import Target, target
from toolchain.wheels import build, conditions, sbom

Say = Callable[[str], None]
Step = Callable[[Say], "list[Verdict]"]
MODEL = "digits-cnn"
DIFFERENT = 1  # diffoscope's exit status when it found a difference
INSTALL = "(with diffoscope installed, what differs inside is shown: apt-get install diffoscope)"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One thing, built twice.

    Attributes:
        what: a wheel's file name, an image's or a library's name.
        first: sha256 of the one that is there (an image: its id).
        second: the same of the one built anew.
        account: what differs, for people; empty when nothing does.
    """

    what: str
    first: str
    second: str
    account: str = ""

    @property
    def same(self) -> bool:
        """Whether both are the same, byte by byte."""
        return self.first == self.second


def steps(
    chosen: Target, store: Store, kinds: Mapping[str, bool], only: Sequence[str]
) -> list[tuple[str, Step]]:
    """What to build again, each with its title.

    Args:
        chosen: the target.
        store: where the first builds are.
        kinds: whether to take "images", "wheels", "models".
        only: wheels to take; all when empty.

    Raises:
        UsageError: there is no such wheel.
    """
    names = list(only) or list(build.ALL)
    for name in names:
        build.recipe(name)
    found: list[tuple[str, Step]] = []
    if kinds["images"]:
        found.append((f"images of {chosen.name}", lambda say: images(chosen, store, say)))
    if kinds["wheels"]:
        found += [
            (f"wheel {name} for {chosen.name}", partial(wheel, chosen, name, store))
            for name in names
        ]
    if kinds["models"]:
        found.append((f"{MODEL} for {chosen.name}", lambda say: models(chosen, store, say)))
    return found


def wheel(chosen: Target, name: str, store: Store, say: Say) -> list[Verdict]:
    """Build a wheel once more under other conditions and compare it with the first.

    Raises:
        EdgewrightError: a build failed.
    """
    first = build.build(chosen, name, store, progress=say)
    others, _ = conditions.other()
    with store.scratch() as scratch:
        second = build.again(chosen, name, store, others, scratch, progress=say)
        return [_compare(first.path, second)]


def images(chosen: Target, store: Store, say: Say) -> list[Verdict]:
    """Build a target's images, of all its systems, once more with an empty store; compare ids."""
    found: dict[str, Verdict] = {}
    for system in chosen.systems():
        arguments = ["build-images", "--target", chosen.name, "--os", system]
        first = _task(arguments, store.root, None, say)
        with store.scratch() as scratch:
            second = _task(arguments, _cold(store, scratch), None, say)
        ids = {image["name"]: image["id"] for image in second}
        for image in first:
            name = image["name"]
            found[name] = Verdict(what=name, first=image["id"], second=ids[name])
    return list(found.values())


def models(chosen: Target, store: Store, say: Say) -> list[Verdict]:
    """Convert and compile a model once more with an empty store and compare what came out."""
    arguments = ["compile", "--model", MODEL, "--target", chosen.name]
    with store.scratch() as scratch:
        _task(arguments, store.root, scratch / "one", say)
        _task(arguments, _cold(store, scratch), scratch / "two", say)
        first = scratch / "one" / "dist" / "models"
        files = sorted([*first.rglob("*.tflite"), *first.rglob(f"{chosen.name}/*.so")])
        if not files:
            raise BuildError(f"{MODEL} has no file to compare")
        return [
            _compare(path, scratch / "two" / path.relative_to(scratch / "one")) for path in files
        ]


def from_provenance(path: Path, store: Store) -> tuple[str, Step]:
    """How to build a wheel again from its provenance statement and compare it with what that says.

    Raises:
        UsageError: the file is no statement of ours.
        BuildError: the inputs that it names are not the ones of this checkout.
    """
    statement = _statement(path)
    definition = statement["predicate"]["buildDefinition"]
    parameters = definition["externalParameters"]
    chosen = target(parameters["target"])
    stated, present = definition["internalParameters"], build.inputs(parameters["only"], chosen)
    if stated != json.loads(json.dumps(present)):
        keys = sorted(k for k in stated.keys() | present.keys() if stated.get(k) != present.get(k))
        raise BuildError(
            f"{path.name} is of other inputs than this checkout has",
            detail="they differ in: " + ", ".join(keys),
            resolution="check out the commit that built it, then try again",
        )
    subject = statement["subject"][0]

    def step(say: Say) -> list[Verdict]:
        others, _ = conditions.other()
        with store.scratch() as scratch:
            second = build.again(chosen, parameters["only"], store, others, scratch, progress=say)
            stated = subject["digest"]["sha256"]
            return [Verdict(what=subject["name"], first=stated, second=digest_file(second))]

    return f"wheel {subject['name']}", step


def _statement(path: Path) -> dict[str, Any]:
    try:
        statement: dict[str, Any] = json.loads(path.read_text())
        definition = statement["predicate"]["buildDefinition"]
        known = (statement["_type"], statement["predicateType"], definition["buildType"])
        if known != (sbom.STATEMENT, sbom.PREDICATE, sbom.BUILD_TYPE):
            raise ValueError("another kind of statement")
        for key in ("target", "only"):
            _ = definition["externalParameters"][key]
        _ = statement["subject"][0]["digest"]["sha256"], definition["internalParameters"].keys()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no provenance statement of a wheel",
            detail=str(error),
            resolution="take the .provenance.json beside a wheel in dist/wheels/",
        ) from error
    return statement


def _compare(first: Path, second: Path) -> Verdict:
    one = digest_file(first)
    two = digest_file(second) if second.is_file() else ""
    account = "" if one == two else _account(first, second)
    return Verdict(what=first.name, first=one, second=two, account=account)


def _account(first: Path, second: Path) -> str:
    """What differs between two files: diffoscope's account, or else which members of wheels."""
    if not second.is_file():
        return "the second build has no such file"
    if shutil.which("diffoscope"):
        account = second.with_name(second.name + ".diffoscope")
        try:
            process.run(["diffoscope", "--text", str(account), str(first), str(second)])
        except CommandError as error:
            if error.returncode == DIFFERENT and account.is_file():
                return account.read_text()
    if first.suffix != ".whl":
        return INSTALL
    members = []
    for path in (first, second):
        with zipfile.ZipFile(path) as archive:
            members.append({i.filename: (i.CRC, i.external_attr) for i in archive.infolist()})
    one, two = members
    differing = sorted(n for n in one.keys() | two.keys() if one.get(n) != two.get(n))
    return "\n".join([*differing, INSTALL])


def _cold(store: Store, scratch: Path) -> Path:
    """An empty cache that has the fetched files alone: their bytes are checked by the lock."""
    cache = scratch / "cache"
    cache.mkdir()
    shutil.copytree(store.root / "blobs", cache / "blobs", copy_function=os.link)
    return cache


def _task(arguments: Sequence[str], cache: Path, output: Path | None, say: Say) -> Any:
    """Run a task as a user would, with a cache of its own and, for a cold one, elsewhere."""
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    if output is not None:
        env["EDGEWRIGHT_DIST"] = str(output)
    command = [sys.executable, "-m", "invoke", *arguments, "--json"]
    if cache != paths.cache():
        env |= {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
        command = ["sh", "-c", 'umask 0027; exec "$@"', "sh", *command]
    text = process.run(command, cwd=paths.ROOT, env=env, on_line=say)
    start = min(i for i in (text.find("\n["), text.find("\n{")) if i >= 0)
    value, _ = json.JSONDecoder().raw_decode(text[start + 1 :])
    return value

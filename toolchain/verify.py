"""Proof that a build is the same: everything built twice, the second time elsewhere.

A wheel's second build differs from the first in whatever this machine can change (`conditions`).
Images and models are made again with an empty store, in another folder, time zone, locale and
umask. Wheels and a model's files are compared byte by byte, images by id. What differs is told by
diffoscope where it is installed.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from toolchain import runtimes
from toolchain.cluster.place_of_work import PlaceOfWork
from toolchain.cluster.works import models_elsewhere, wheels_elsewhere
from toolchain.cluster.works.models_again import cold_cache
from toolchain.compile import cross_link, source_compiler
from toolchain.compile.compilation import Compiler, LibraryPlan, Linker, compile_model, needed
from toolchain.compile.compilation_request import TileRecord
from toolchain.core import paths, process, provenance
from toolchain.core.errors import BuildError, CommandError, UsageError
from toolchain.core.provenance import Claim
from toolchain.core.store import Store, digest_file
from toolchain.images import build as image_builder
from toolchain.images import specification
from toolchain.images.engine import Engine
from toolchain.models.manifest import FILE as CARD
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.models.variants import PLAIN, library
from toolchain.targets import Target, all_targets, target
from toolchain.wheels import build, variations

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
    chosen: Target,
    store: Store,
    kinds: Mapping[str, bool],
    only: Sequence[str],
    at: PlaceOfWork,
) -> list[tuple[str, Step]]:
    """What to build again, each with its title.

    Args:
        chosen: the target.
        store: where the first builds are.
        kinds: whether to take "images", "wheels", "models".
        only: wheels to take; all when empty.
        at: where wheels and the model are made again; images are here.

    Raises:
        UsageError: there is no such wheel.
    """
    names = list(only) or runtimes.wheels_built(chosen)
    for name in names:
        build.recipe(name)
    found: list[tuple[str, Step]] = []
    if kinds["images"]:
        found.append((f"images of {chosen.name}", lambda say: images(chosen, store, say)))
    if kinds["wheels"] and at.executor is not None:
        title = f"wheels for {chosen.name} on the cluster"
        found.append((title, partial(_wheels_elsewhere, chosen, names, at.store, at.executor)))
    elif kinds["wheels"]:
        found += [
            (f"wheel {name} for {chosen.name}", partial(wheel, chosen, name, store))
            for name in names
        ]
    if kinds["models"] and at.executor is not None:
        title = f"{MODEL} for {chosen.name} on the cluster"
        found.append((title, partial(_models_elsewhere, chosen, at.store, at.executor)))
    elif kinds["models"]:
        found.append((f"{MODEL} for {chosen.name}", lambda say: models(chosen, store, say)))
    return found


def wheel(chosen: Target, name: str, store: Store, say: Say) -> list[Verdict]:
    """Build a wheel once more under other conditions and compare it with the first.

    Raises:
        EdgewrightError: a build failed.
    """
    first = build.build(chosen, name, store, progress=say)
    others, _ = variations.other()
    with store.scratch() as scratch:
        second = build.again(chosen, name, store, others, scratch, progress=say)
        return [_compare(first.path, second)]


def _wheels_elsewhere(
    chosen: Target, names: Sequence[str], store: Store, executor: Executor, say: Say
) -> list[Verdict]:
    """As `wheel`, for several, each at a worker; the store is that of the executor."""
    wheels_elsewhere.build(names, chosen, executor, store, say)
    seconds = wheels_elsewhere.again(names, chosen, executor, store, say)
    firsts = [build.build(chosen, name, store, progress=say).path for name in names]
    return [_compare(first, second) for first, second in zip(firsts, seconds, strict=True)]


def images(chosen: Target, store: Store, say: Say) -> list[Verdict]:
    """Build a target's images, of all its systems, once more with an empty store; compare ids."""
    found: dict[str, Verdict] = {}
    for system in chosen.systems():
        arguments = ["build-images", "--target", chosen.name, "--os", system]
        first = _task(arguments, store.root, None, say)
        with store.scratch() as scratch:
            second = _task(arguments, cold_cache(store, scratch), None, say)
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
        _task(arguments, cold_cache(store, scratch), scratch / "two", say)
        models = Path("dist", "models")
        return _compare_models(chosen, scratch / "one" / models, scratch / "two" / models)


def _models_elsewhere(chosen: Target, store: Store, executor: Executor, say: Say) -> list[Verdict]:
    """As `models`, both at workers; the store is that of the executor. Tuning has no part in it."""
    linker = cross_link.linker(chosen, store)
    with store.scratch() as scratch:
        spec = resolve_model(MODEL)
        first, second = models_elsewhere.twice(
            spec, chosen, linker, executor=executor, store=store, out=scratch, say=say
        )
        return _compare_models(chosen, first, second)


def _compare_models(chosen: Target, first: Path, second: Path) -> list[Verdict]:
    """What is in a folder of models, or of one, with what is at the same place in another."""
    files = sorted([*first.rglob("*.tflite"), *first.rglob(f"{chosen.name}/*.so")])
    if not files:
        raise BuildError(f"{MODEL} has no file to compare")
    return [_compare(path, second / path.relative_to(first)) for path in files]


def from_provenance(path: Path, store: Store) -> tuple[str, Step]:
    """How to build an output again from its provenance statement, and compare the two.

    Raises:
        UsageError: the file is no statement of ours.
        BuildError: the inputs that it names are not the ones of this checkout.
    """
    claim = provenance.read(path)
    try:
        present, again = AGAIN[claim.kind](claim, path, store)
    except KeyError as error:
        raise UsageError(
            f"{path} is no provenance statement of ours", detail=f"it lacks {error}"
        ) from error
    if dict(claim.inputs) != json.loads(json.dumps(present)):
        keys = sorted(
            k for k in claim.inputs.keys() | present.keys() if claim.inputs.get(k) != present.get(k)
        )
        raise BuildError(
            f"{path.name} is of other inputs than this checkout has",
            detail="they differ in: " + ", ".join(keys),
            resolution="check out the commit that built it, then try again",
        )

    def step(say: Say) -> list[Verdict]:
        with store.scratch() as scratch:
            second = again(scratch, say)
        return [Verdict(what=claim.subject, first=claim.sha256, second=second)]

    return f"{claim.kind} {claim.subject}", step


# The inputs as they are now, and what builds the output again in a folder and returns its hash.
Again = tuple[dict[str, object], Callable[[Path, Say], str]]


def _wheel_again(claim: Claim, _path: Path, store: Store) -> Again:
    chosen, name = target(claim.parameters["target"]), claim.parameters["only"]

    def again(scratch: Path, say: Say) -> str:
        others, _ = variations.other()
        return digest_file(build.again(chosen, name, store, others, scratch, progress=say))

    return build.inputs(name, chosen), again


def _image_again(claim: Claim, _path: Path, store: Store) -> Again:
    name = claim.parameters["image"]
    known = specification.every(specification.kinds(), all_targets().values())
    spec = next((s for s in known if s.name == name), None)
    if spec is None:
        raise BuildError(f"this checkout has no image {name}")

    def again(scratch: Path, say: Say) -> str:
        built = image_builder.build(spec, Engine(), Store(cold_cache(store, scratch)), progress=say)
        return built.id.removeprefix("sha256:")

    return image_builder.inputs(spec), again


def _library_again(claim: Claim, path: Path, store: Store) -> Again:
    """The statement stands beside the library, below the converted model's folder."""
    chosen, level = target(claim.parameters["target"]), int(claim.parameters["opt-level"])
    variant = claim.parameters.get("variant", PLAIN)
    # what tuning has found since is not what this one was made of
    tuned = TypeAdapter(dict[str, TileRecord]).validate_python(claim.inputs.get("tuned", {}))
    folder = path.resolve().parent.parent
    present = ModelManifest.load(folder)

    def parts(where: Store, say: Say) -> tuple[Linker, Compiler]:
        by = source_compiler.by_name(claim.parameters["compiler"], where, say)
        return cross_link.linker(chosen, where), by

    def again(scratch: Path, say: Say) -> str:
        copy = scratch / "model"
        copy.mkdir()
        for name in (CARD, *(file.file for file in needed(present, variant))):
            shutil.copyfile(folder / name, copy / name)
        # the compiler's and linker's images are taken from the store; what they make is not
        linker, by = parts(store, say)
        cold = Store(scratch / "cache")
        made = compile_model(
            copy,
            chosen,
            level,
            variant=variant,
            linker=linker,
            compiler=by,
            tuned=tuned,
            check_in_parallel=False,  # a single compilation does both at once
            cache=cold,
            progress=say,
        )
        return made.libraries[chosen.name][library(variant, level)].sha256

    linker, by = parts(store, lambda _: None)
    plan = LibraryPlan.of(
        folder, chosen, level, linker=linker, compiler=by, variant=variant, tuned=tuned
    )
    return plan.inputs(), again


AGAIN: dict[str, Callable[[Claim, Path, Store], Again]] = {
    "wheel": _wheel_again,
    "image": _image_again,
    "library": _library_again,
}


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


def _task(arguments: Sequence[str], cache: Path, output: Path | None, say: Say) -> Any:
    """Run a task as a user would, with a cache of its own and, for a cold one, elsewhere."""
    env = {"EDGEWRIGHT_CACHE": str(cache)}
    if cache != paths.cache():
        env |= {"EDGEWRIGHT_SHARED_CACHE": "", "EDGEWRIGHT_SHARE": ""}  # it would be no proof
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

"""TVM: a library of each variant at each opt level, compiled for one target.

Compiler and runtime of TVM fit only when they are of one version, so a bundle holds the libraries
of one TVM, and that one's runtime: the installed release's, or that of the compiler from source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.core.errors import BuildError, UsageError
from toolchain.runtimes import Artifact, Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target

# The recipes of the runtime's wheel: of the release, and of the compiler from source.
RELEASE, SOURCE = "tvm_runtime", "tvm_runtime_source"
# Both need it, and a device may lack it.
PINNED = ("typing-extensions",)


class Tvm(Runtime):
    """What compilation leaves as `libraries` in a model's manifest."""

    def artifacts(self, manifest: ModelManifest, target: str) -> list[Artifact]:
        """The target's libraries, in the order of their names."""
        return [
            Artifact(
                variant=library.variant,
                opt_level=library.opt_level,
                target=target,
                file=library,
                reference=library.kernels,
            )
            for _, library in sorted(manifest.libraries.get(target, {}).items())
        ]

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """The foreign function interface that both share, and the runtime of the compiler.

        Raises:
            UsageError: the libraries are of different TVMs, or of one that is no more.
        """
        return Wheels(built=("tvm_ffi", _recipe(target.name, manifests)), pinned=PINNED)

    def check(
        self, installed: Mapping[str, str], manifests: Sequence[ModelManifest], target: str
    ) -> None:
        """Refuse libraries that another TVM compiled than the one whose runtime is there.

        Raises:
            BuildError: they are of another.
        """
        runtimes = {installed[name] for name in _recipes() if name in installed}
        compiled = set().union(*(versions(manifest, target) for manifest in manifests))
        if compiled and compiled != runtimes:
            raise BuildError(
                f"the bundle's libraries were compiled by TVM {', '.join(sorted(compiled))}, "
                f"its runtime is {', '.join(sorted(runtimes)) or 'missing'}",
                resolution="compile the models again with one --compiler, then deploy again",
            )


def versions(manifest: ModelManifest, target: str) -> set[str]:
    """The versions of TVM that compiled a model's libraries for a target."""
    return {library.tvm for library in manifest.libraries.get(target, {}).values()}


def _recipes() -> dict[str, tuple[str, str]]:
    """The distribution of each runtime -> its recipe's name and its version."""
    from toolchain.wheels import build

    recipes = {name: build.recipe(name)[0] for name in (RELEASE, SOURCE)}
    return {recipe.name: (name, recipe.version) for name, recipe in recipes.items()}


def _recipe(target: str, manifests: Sequence[ModelManifest]) -> str:
    by = {(m.model, m.batch): versions(m, target) for m in manifests}
    compiled = set().union(*by.values())
    if not compiled:
        return RELEASE
    known = {version: name for name, version in _recipes().values()}
    if len(compiled) == 1 and compiled <= known.keys():
        return known[compiled.pop()]
    raise UsageError(
        f"one bundle holds the libraries of one TVM, not of {', '.join(sorted(compiled))}",
        detail="\n".join(
            f"{model}, batch {batch}: {', '.join(sorted(found))}"
            for (model, batch), found in by.items()
        ),
        resolution="compile them again with one --compiler, or deploy them one at a time (--model)",
    )


RUNTIME = Tvm(
    name="tvm",
    label="TVM",
    title="TVM",
    has_opt_levels=True,
    opened_by_c=("tvm_ffi/lib/libtvm_ffi.so", "tvm/lib/libtvm_runtime.so"),
)

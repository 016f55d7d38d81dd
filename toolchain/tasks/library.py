"""The task that makes the library for programs in C and C++: parse, call, print."""

from __future__ import annotations

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, SHARE, Board


@task(help=options.help_of(Board) | {"share": SHARE, "json": JSON})
@guarded
@options.given(board=Board)
def build_library(_: Context, *, board: Board, share: bool = False, json: bool = False) -> None:
    """Cross-build the library for programs in C and C++ into dist/library/<target>/."""
    from toolchain import targets
    from toolchain.core.store import digest_of
    from toolchain.library import library_folder
    from toolchain.shared_cache import shared_store
    from toolchain.wheels import build
    from toolchain.workstation import durations

    target = board.name()
    chosen, name = targets.target(target), library_folder.RECIPE
    store = shared_store.opened(console.note, share=share)
    if store.entry(digest_of(build.inputs(name, chosen))) is None:
        took = durations.expected([name], store)
        console.note(
            f"to be built ({took} here from nothing; a minute or two where the wheel "
            "tflite_runtime was built)"
        )
    with console.step(f"library for {target}") as say:
        counter = console.counter(say)
        made = library_folder.build(chosen, store, progress=say, fetched=counter)
    durations.record(name, made.archive.seconds, store)
    archive = made.archive
    if json:
        console.show_json(
            {
                "folder": str(made.folder),
                "archive": str(archive.path),
                "sha256": archive.sha256,
                "versions": archive.versions,
                "fresh": archive.fresh,
            }
        )
        return
    row = [
        str(made.folder),
        f"{(made.folder / library_folder.SHARED_OBJECT).stat().st_size / 1e6:.2f} MB",
        archive.versions.get("GLIBC", "-"),
        archive.versions.get("GLIBCXX", "-"),
        f"{archive.seconds:.0f} s" if archive.fresh else "unchanged",
    ]
    columns = ["folder", "libedgewright.so", "GLIBC", "GLIBCXX", "built in"]
    console.show_table(f"library of {target}", columns, [row])

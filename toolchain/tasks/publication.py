"""The task that publishes wheels: parse, call, print."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import DEFAULT_TARGET, JSON


@task(
    help={
        "to": "the folder of the index, which a web server hands out; made when it isn't there. Or "
        "sftp://host/folder, s3://bucket/folder",
        "target": "names of targets, separated by commas",
        "only": "wheels to publish, separated by commas; all that the targets need when left out",
        "replace": "let a wheel take the place of another of its name that is in the index",
        "json": JSON,
    }
)
@guarded
def publish(
    _: Context,
    *,
    to: str = "",
    target: str = DEFAULT_TARGET,
    only: str = "",
    replace: bool = False,
    json: bool = False,
) -> None:
    """Put built wheels into an index that pip installs from, signed and with their provenance."""
    from toolchain import targets
    from toolchain.core.store import Store
    from toolchain.publication import index, wheels
    from toolchain.publication.folder import Files, Folder
    from toolchain.publication.remote_folder import RemoteFolder

    folder = options.required("to", to, "~/index")
    store = Store()
    chosen = [targets.target(options.target_named(name)) for name in options.names(target)]
    with console.step(f"wheels of {target} into {folder}") as say, store.scratch() as scratch:
        names = options.names(only)
        files = [path for one in chosen for path in wheels.of_target(one, names, store, scratch)]
        into: Files = (
            RemoteFolder(folder, scratch) if "://" in folder else Folder(Path(folder).expanduser())
        )
        published = index.publish(files, into, store, replace=replace, say=say)
    if json:
        console.show_json([vars(one) for one in published])
        return
    rows = [[one.project, one.version, one.sha256[:12], one.state] for one in published]
    console.show_table(into.name, ["project", "version", "sha256", ""], rows)
    if not all(one.signed for one in published):
        console.note("not signed, for want of a key: invoke keys makes one")
    console.note("serve this folder; on a board: pip install --index-url ADDRESS/simple/ PROJECT")

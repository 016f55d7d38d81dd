"""The task that takes a new board into the inventory: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import INVENTORY, JSON

if TYPE_CHECKING:
    from deploy.release.board_addition import Accepts, Described
    from deploy.ssh.host_key_policy import UnknownHostKeyError
    from toolchain.commandline.options import Devices

SHOWN = ("board", "cpu", "cores", "machine", "os", "kernel", "glibc", "python")


def target_of(asked: Devices) -> str:
    """The target of devices of the inventory, for the tasks that make things for it.

    Raises:
        UsageError: they are of several targets, or a name means nothing.
        InventoryError: the inventory can't be read, or a device of it can't be used.
    """
    from deploy.inventory import selection

    return selection.target_of(asked)


def target_named(name: str) -> str:
    """The target that a name stands for: a board's, or its own."""
    from toolchain.targets import boards

    board = boards.all_boards().get(name)
    return board.target if board else name


@task(
    positional=["address"],
    help={
        "address": "how ssh reaches it: [user@]host[:port], or a name of ssh's configuration",
        "name": "what the inventory shall call it; the board's own name when left out",
        "board": "what it is, a name in toolchain/targets/boards.toml; asked of it when left out",
        "target": options.TARGET + "; the best that fits it when left out",
        "key": "file of the private key to log in with; ssh's own when left out",
        "python": "which of its Pythons to use, such as 3.12; its python3 when left out",
        "fingerprint": "take its host key without asking if it is this one: SHA256:…",
        "accept-new": "take its host key without asking, whichever it shows",
        "inventory": options.INVENTORY_HELP,
        "json": JSON,
    },
)
@guarded
def add_board(
    _: Context,
    address: str,
    name: str = "",
    board: str = "",
    *,
    target: str = "",
    key: str = "",
    python: str = "",
    fingerprint: str = "",
    accept_new: bool = False,
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Reach a board, find out what it is, and enter it in the inventory."""
    from deploy.inventory import reading, selection
    from deploy.release import board_addition

    target = target_named(target)
    board_addition.refuse_unknown(board, target)
    file = selection.file_of(inventory)
    reached = board_addition.variables(address, key)
    board_addition.refuse_known(file, name, reached)
    host = str(reached["ansible_host"])
    accepts = _accepts(fingerprint, accept_new=accept_new)
    console.note(f"connecting to {address}")
    facts = board_addition.look(name or host, reached, python or "3", accepts)
    found = board_addition.describe(facts, board=board, target=target)
    chosen = name or board_addition.name_for(file, host, facts)
    block = found.block() | ({"python": python} if python else {})
    entry = reached | {"edgewright": block}
    reading.add_host(file, chosen, entry)
    if json:
        console.show_json(
            {
                "name": chosen,
                "entry": entry,
                "facts": facts.model_dump(mode="json"),
                "target": found.target,
                "fitting": [fit.name for fit in found.fitting],
                "to_do": found.to_do(),
                "works": found.works() or "everything",
                "next": found.following(chosen),
            }
        )
    else:
        _show(chosen, file, found)


def _show(name: str, file: Path, found: Described) -> None:
    """What was found, what was written, and what is left to do."""
    facts, board = found.facts, found.board
    plain = facts.model_dump(mode="json")
    rows = [[k, str(plain[k] or "-")] for k in SHOWN if plain[k] or k != "board"]
    rows += [
        ["numpy", facts.modules.get("numpy") or "-"],
        ["extensions", " ".join(found.extensions()) or "-"],
        ["memory", f"{facts.ram / 1e9:.1f} GB"],
        ["disk free", f"{facts.disk_free / 1e9:.1f} GB"],
    ]
    if board is not None:
        known = f"{board.cores} cores of {board.cpu}" + (f"; {board.note}" if board.note else "")
        rows.insert(0, ["it is", f"{board.title} ({board.name}): {known}"])
    console.show_table(name, ["what", "found"], rows)
    others = [fit.name for fit in found.fitting if fit.name != found.target]
    also = f" ({', '.join(others)} would fit too)" if others else ""
    console.out.print(f"{name} is in {file}: target {found.target}{also}", soft_wrap=True)
    for line in found.to_do():
        console.out.print(f"to do: {line}", soft_wrap=True)
    if works := found.works():
        console.out.print(works, soft_wrap=True)
    console.note(f"next: {', then '.join(found.following(name))}")


def _accepts(fingerprint: str, *, accept_new: bool) -> Accepts:
    """Who decides about a host key that isn't known: an option, or else who sits at the terminal.

    Without either it is refused, and the error says how to go on.
    """

    def decided(unknown: UnknownHostKeyError) -> bool:
        if fingerprint:
            if unknown.fingerprint != fingerprint:
                unknown.brief += ", and is not the one that was given"
                unknown.resolution = f"another machine may be answering: {unknown.compare}"
            return unknown.fingerprint == fingerprint
        if accept_new:
            console.note(f"taking its host key as it comes: {unknown.fingerprint}")
            return True
        if not console.can_ask():
            unknown.resolution += (
                "\nor give what it should be: --fingerprint SHA256:… (--accept-new takes any)"
            )
            return False
        console.note(f"{unknown.brief}\n  {unknown.detail}\n{unknown.compare}")
        answer = console.ask("is it the same? (yes, no, or the fingerprint that it should be)")
        return answer in ("yes", unknown.fingerprint)

    return decided

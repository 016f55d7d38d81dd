"""Which loops of compute kernels keep a sum on the stack, read from a library's disassembly.

A kernel's inner loop holds its sums in registers. Where the compiler runs out of them, a sum is
loaded from the stack, added to and stored in every turn, and the loop waits for memory.

Not counted: a constant that is loaded from the stack in every turn, and a value that is put there
and taken back within a turn; neither makes a turn wait for the one before. Not seen: a slot that
is reached by another register than the stack's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FUNCTION = re.compile(r"[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\s+(.+)$")

Body = list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Disassembly:
    """How the text that objdump gives of an instruction set is read: regular expressions.

    Attributes:
        jump: an instruction that may go to another address; its group is that address, hexadecimal.
        load: an instruction that takes a floating point or vector register from the stack; its
            group is the slot, none where the text doesn't say it.
        store: one that puts it there, likewise.
    """

    jump: str
    load: str
    store: str


@dataclass(frozen=True, kw_only=True)
class Loop:
    """An innermost loop that keeps sums on the stack.

    Attributes:
        function: its name.
        instructions: how many the loop has.
        sums: slots of the stack that a turn reads before it writes them.
    """

    function: str
    instructions: int
    sums: int


def loops(text: str, form: Disassembly, functions: str) -> list[Loop]:
    """The innermost loops with sums on the stack.

    A loop is what a jump back closes; an innermost one has no other inside.

    Args:
        text: what `objdump --disassemble --no-show-raw-insn` printed.
        form: how to read it.
        functions: regular expression of the names to look at.
    """
    return [
        loop
        for name, body in _functions(text.splitlines())
        if re.search(functions, name)
        for loop in _spilling(name, body, form)
    ]


def _functions(lines: Iterable[str]) -> Iterator[tuple[str, Body]]:
    """Each function: its name, and address and text of each instruction."""
    name, body = "", Body()
    for line in lines:
        if start := FUNCTION.match(line):
            if name:
                yield name, body
            name, body = start[1], Body()
        elif found := INSTRUCTION.match(line):
            body.append((int(found[1], 16), found[2].strip()))
    if name:
        yield name, body


def _spilling(name: str, body: Body, form: Disassembly) -> Iterator[Loop]:
    jumps = ((address, re.match(form.jump, text)) for address, text in body)
    closed = {
        (start, address)
        for address, jump in jumps
        if jump and body[0][0] <= (start := int(jump[1], 16)) <= address
    }
    for start, end in sorted(closed):
        if any(start <= s and e <= end and (s, e) != (start, end) for s, e in closed):
            continue
        turn = [text for address, text in body if start <= address <= end]
        if sums := _carried(turn, form):
            yield Loop(function=name, instructions=len(turn), sums=len(sums))


def _carried(turn: list[str], form: Disassembly) -> set[str | None]:
    """The slots that a turn of a loop reads first and writes later."""
    read: set[str | None] = set()
    written: set[str | None] = set()
    for text in turn:
        if stored := re.match(form.store, text):
            written.add(stored[1])
        elif (loaded := re.match(form.load, text)) and loaded[1] not in written:
            read.add(loaded[1])
    return read & written

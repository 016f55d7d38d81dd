"""The terminal as all text reaches it: what comes from elsewhere is shown and never obeyed.

Names, answers and error messages of devices, of model files and of tools are other people's text. A
control character in one could move the cursor, change the title or hide what stands before it, and
square brackets are no markup of ours.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 120
# control, formatting (marks that turn the direction of writing among them), half characters, and
# separators of lines and paragraphs
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
CONTROL_PICTURES = 0x2400
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Terminal(Console):
    """A console without markup, on which no text can do more than be read.

    Args:
        file: what it writes to; standard output when neither is given.
        stderr: write to standard error.
        force_terminal: take the file for a terminal.
        width: in columns; the terminal's own, or 120 where there is none, when not given.
    """

    def __init__(
        self,
        *,
        file: IO[str] | None = None,
        stderr: bool = False,
        force_terminal: bool | None = None,
        width: int | None = None,
    ) -> None:
        stream = file or (sys.stderr if stderr else sys.stdout)
        if width is None and not force_terminal and not stream.isatty():
            width = WIDTH_WITHOUT_TERMINAL
        super().__init__(
            file=file,
            stderr=stderr,
            force_terminal=force_terminal,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it will be shown, so that its width is measured as that."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is to be shown, piece by piece: every text passes here, and is made visible."""
        for segment in super().render(renderable, options):
            if segment.control:  # rich's own: the cursor of a live line
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


def visible(text: str) -> str:
    """A text whose control characters are pictures of themselves, one column each."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _seen(character) else _picture(character) for character in text)


def _seen(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in UNSEEN


def _picture(character: str) -> str:
    code = ord(character)
    return chr(CONTROL_PICTURES + code) if code < 0x20 else REPLACEMENT


def size(count: int) -> str:
    """Bytes in words: kB below a million, MB from there."""
    return f"{count / 1e3:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"

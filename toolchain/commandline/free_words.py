"""Words of a command line that stand after no option: taken for the option they must mean.

`invoke bench my-board` is `invoke bench --host my-board`, `invoke convert net.onnx` is `--model
net.onnx`. What can't be meant is refused in one line that says what to type. Invoke's parser
answers all of these with "No idea what 'my-board' is!".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from invoke.exceptions import Exit
from invoke.parser import parser
from invoke.parser.parser import ParseMachine

from toolchain.commandline import console
from toolchain.core.errors import UsageError

# The first of these that a task has is what a word alone means there. A task with --target has
# --host only to read the target of it.
MEANT = ("host", "model", "model-file", "folder", "to", "name", "target", "extra")
# those that take several, separated by commas
SEVERAL = ("host", "model", "extra")


class WordsMachine(ParseMachine):  # type: ignore[misc]  # invoke has no types
    """Invoke's state machine, which also knows what a word after no option means."""

    def handle(self, token: str) -> None:
        """Take the next word of the command line.

        Raises:
            Exit: it means nothing; the text says what to type instead.
        """
        if not self._is_unknown(token):
            super().handle(token)
        elif self.context is None or not self.context.name:
            known = [*self.contexts, *self.contexts.aliases]
            raise _refused(
                f"there is no task {token!r}",
                f"{_instead(token, known, console.task_command)}"
                f"{console.task_command} --list shows them",
            )
        elif token.startswith("-"):
            name = self.context.name
            known = [*self.context.flags, *self.context.flags.aliases]
            command = f"{console.task_command} {name}"
            raise _refused(
                f"{name} has no {token}",
                f"{_instead(token, known, command)}"
                f"{console.task_command} --help {name} lists what it has",
            )
        else:
            self._take(token)

    def complete_flag(self) -> None:
        """Close the option before this word.

        Raises:
            Exit: it takes a value and has none.
        """
        flag = self.flag
        if flag and flag.takes_value and flag.raw_value is None and not flag.optional:
            raise _refused(f"--{_typed(flag)} takes a value, and none stands after it", HELP)
        super().complete_flag()

    def complete_context(self) -> None:
        """Close the task before this word.

        Raises:
            Exit: it can't do without a word that was not given.
        """
        if self.context and (lacking := self.context.missing_positional_args):
            name, wanted = self.context.name, " ".join(_typed(one).upper() for one in lacking)
            raise _refused(
                f"{name} needs a word after it: {wanted}",
                f"{console.task_command} --help {name} says which",
            )
        super().complete_context()

    def _is_unknown(self, token: str) -> bool:
        """Whether invoke would have no idea what it is."""
        context, initial = self.context, self.initial
        known = [self.contexts, *([initial.flags] if initial else [])]
        known += [context.flags, context.inverse_flags] if context else []
        return not (
            self.ignore_unknown
            or self.current_state == "unknown"
            or self.waiting_for_flag_value
            or (context and context.missing_positional_args)
            or any(token in names for names in known)
        )

    def _take(self, word: str) -> None:
        arguments = {_typed(argument): argument for argument in self.context.args.values()}
        meant = _meant(arguments)
        name = self.context.name
        if meant is None:
            raise _refused(f"{name} takes no word without an option, such as {word!r}", HELP)
        before = arguments[meant].raw_value
        if before is not None:
            again = f"--{meant} {before},{word}" if meant in SEVERAL else f"--{meant} {word}"
            raise _refused(
                f"{word!r} stands after no option, and --{meant} is {before} already",
                f"{console.task_command} {name} {again}, or the option that it is for before it",
            )
        self.switch_to_flag(f"--{meant}")
        self.see_value(word)


# its metaclass gives each class those of its own body alone, and no other way to inherit them
WordsMachine._class_states = ParseMachine._class_states  # noqa: SLF001  # as above
WordsMachine._class_transitions = ParseMachine._class_transitions  # noqa: SLF001  # as above

HELP = "--help after the task's name lists its options"


def install() -> None:
    """Have invoke read command lines so; it has no setting for that."""
    parser.ParseMachine = WordsMachine


def _meant(options: Iterable[str]) -> str | None:
    """The option of a task that a word alone is for, if it has one."""
    there = set(options)
    if "target" in there:
        there -= {"host"}
    return next((option for option in MEANT if option in there), None)


def _typed(argument: Any) -> str:
    """An option's name as it is typed."""
    return str(argument.name).replace("_", "-")


def _instead(token: str, known: Iterable[str], command: str) -> str:
    close = difflib.get_close_matches(token, list(known), n=1)
    return f"{command} {close[0]}? " if close else ""


def _refused(what: str, instead: str) -> Exit:
    said = f"error: {what}\nwhat to do: {instead}"
    return Exit(said, code=UsageError.exit_code)

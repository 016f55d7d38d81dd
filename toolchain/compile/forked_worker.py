"""A forked worker: work in a copy of this process, which has all that this one has in memory.

A compiled module can't be handed to another process, but a fork has it already. What is forked has
one thread, so nothing may be forked once TVM has run code of its own (its thread pool).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from toolchain.core.errors import EdgewrightError

Result = TypeVar("Result")


class ForkedWorker(Generic[Result]):
    """A copy of this process, at work.

    Attributes:
        process_id: of the copy.

    Args:
        work: what it does; its result, which is pickled, is the copy's only trace here besides
            the files it writes.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        # the standard library's newer ways of starting a process copy no memory
        context = multiprocessing.get_context("fork")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_send_result, args=(work, answers), daemon=True)
        self._process.start()
        self.process_id = self._process.pid
        answers.close()

    def result(self) -> Result:
        """What the work returned; waits for it.

        Raises:
            EdgewrightError: the one that it raised.
            RuntimeError: it failed in another way, and has said how on standard error.
        """
        try:
            answer: Result | EdgewrightError = self._answers.recv()
        except EOFError as error:
            self._process.join()
            code = self._process.exitcode or 0
            if code < 0:
                # killed, or crashed: end the same way, and whoever waits for us explains it
                os.kill(os.getpid(), -code)
            raise RuntimeError("the copy of this process failed") from error
        self._process.join()
        if isinstance(answer, EdgewrightError):
            raise answer
        return answer

    def end(self) -> None:
        """Stop it, when it is still at work."""
        self._process.kill()
        self._process.join()
        self._answers.close()


@contextmanager
def run_forked(work: Callable[[], Result]) -> Iterator[ForkedWorker[Result]]:
    """Start work in a copy of this process; it is stopped with the block."""
    copy = ForkedWorker(work)
    try:
        yield copy
    finally:
        copy.end()


def attempt(work: Callable[[], object], seconds: float = 60.0) -> str:
    """Try something in a copy of this process, which may crash or hang; why it failed, else "".

    Args:
        work: what is tried; nothing of it is left here.
        seconds: how long it may take.
    """
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)
    copy = context.Process(target=_send_failure, args=(work, answer), daemon=True)
    copy.start()
    answer.close()
    try:
        if not answers.poll(seconds):
            return f"it takes more than {seconds:.0f} s"
        return str(answers.recv())
    except EOFError:
        copy.join()
        return f"it ended by signal {-(copy.exitcode or 0)}"
    finally:
        copy.kill()
        copy.join()
        answers.close()


def _send_failure(work: Callable[[], object], answer: Connection) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 # whatever it is, it is why
        answer.send((str(error).strip().splitlines() or [type(error).__name__])[-1])
    else:
        answer.send("")


def _send_result(work: Callable[[], Result], answers: Connection) -> None:
    try:
        answers.send(work())
    except EdgewrightError as error:
        answers.send(error)

"""What an emulated device asks of the engine and no build does: to stop, and to start again."""

from __future__ import annotations

from toolchain.images.engine import Engine
from toolchain.images.engine_connection import explained


class DeviceEngine(Engine):
    """The engine, for containers that stay.

    Raises:
        EngineError: none answers.
    """

    def stop(self, name: str) -> None:
        """Stop a container; its files stay.

        Raises:
            EngineError: there is none, or the engine went away.
        """
        with explained():
            self._client.containers.get(name).stop()

    def start_again(self, name: str) -> None:
        """Start a container that was stopped, with the ports that it had.

        Raises:
            EngineError: there is none, or it can't be started.
        """
        with explained():
            self._client.containers.get(name).start()

    def has_ended(self, name: str) -> bool:
        """Whether a container does not run any more."""
        return self.services().get(name, {}).get("state") == "exited"

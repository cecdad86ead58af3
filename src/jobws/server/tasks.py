"""The tasks of a bridge, which exist while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobws.server.supervisor import Health, supervise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from anyio.abc import TaskGroup


class Tasks:
    """Starts tasks while the bridge runs."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None

    @property
    def are_running(self) -> bool:
        """Whether the bridge runs: after `begin` and before `end`. Only then are tasks started."""
        return self._group is not None

    def begin(self, group: TaskGroup) -> None:
        """From now on, start tasks in `group`."""
        self._group = group

    def end(self) -> None:
        """From now on, start no tasks. Running tasks continue until the group is cancelled."""
        self._group = None

    def spawn(self, run: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Start a task that ends by itself, and that raises nothing: an error would end the bridge.

        Does nothing if the bridge does not run.
        """
        if self._group is not None:
            self._group.start_soon(run, *args)

    def spawn_supervised(self, name: str, run: Callable[[], Awaitable[None]], health: Health | None = None) -> None:
        """Start a task that is started again when it ends. Do nothing if the bridge does not run.

        Args:
            name: The name of the task in the log.
            run: The task's function.
            health: Counts the crashes of the task; None if they need not be counted.
        """
        if self._group is not None:
            self._group.start_soon(supervise, name, run, health or Health())

"""The tasks of a bridge that runs, and of one that does not, and what wakes them."""

from __future__ import annotations

import anyio

from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.supervisor import Health
from jobws.server.tasks import Tasks
from tests.support import EVENTUALLY_SECONDS


async def test_tasks_begin_only_while_the_bridge_runs() -> None:
    tasks, began = Tasks(), list[str]()
    ended = anyio.Event()

    async def note(name: str) -> None:
        began.append(name)
        ended.set()

    tasks.spawn(note, "before")
    tasks.spawn_supervised("before", lambda: note("before"))
    async with anyio.create_task_group() as group:
        tasks.begin(group)
        assert tasks.are_running
        tasks.spawn(note, "meanwhile")
        with anyio.fail_after(EVENTUALLY_SECONDS):
            await ended.wait()
        tasks.end()
        tasks.spawn(note, "after")
    assert (began, tasks.are_running) == (["meanwhile"], False)


async def test_what_is_kept_is_started_again() -> None:
    tasks, health, again = Tasks(), Health(), anyio.Event()
    starts: list[int] = []

    async def run() -> None:
        starts.append(health.crashes)
        if len(starts) > 1:
            again.set()

    async with anyio.create_task_group() as group:
        tasks.begin(group)
        tasks.spawn_supervised("the test", run, health)
        with anyio.fail_after(EVENTUALLY_SECONDS):
            await again.wait()
        group.cancel_scope.cancel()
    assert starts[:2] == [0, 1]


async def test_an_event_that_was_set_ends_one_wait() -> None:
    event = AutoResetEvent()
    event.set()
    event.set()
    with anyio.fail_after(EVENTUALLY_SECONDS):
        await event.wait()
    with anyio.move_on_after(0.01) as first:
        await event.wait()
    assert first.cancelled_caught, "it was reset"
    event.set()
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await event.wait()
    with anyio.fail_after(EVENTUALLY_SECONDS):
        await event.wait()

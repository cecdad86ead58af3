"""Log lines in the Python client: in order, once, for each who wants them, also across connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

import jobws.sync
from jobws.client import connect
from jobws.client.job_lines import KEPT_BYTES, RoomLines, room_of
from jobws.client.room import RoomState
from jobws.client.watcher import Answer, Delivery, Item, Watcher
from jobws.protocol.messages import Room
from jobws.server.app import RESTART
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.logger import Logger

if TYPE_CHECKING:
    from jobws.client.event import Event
    from jobws.client.handed import Events
    from tests.support.redis import Redis

LOGS = "bull:http:7:logs"


async def told(events: Events, last: str) -> list[Any]:
    """The lines, and the names of other events, up to the line or event `last`."""
    items: list[Any] = []
    while last not in items:
        event = await anext(events)
        items += _lines(event) if event.event == "job-log" else [event.event]
    return items


def _lines(event: Event) -> list[Any]:
    lines = event.data["lines"]
    assert isinstance(lines, list)
    return lines


async def test_lines_are_watched_up_to_the_outcome(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with (
        live_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("7", "http", logs=True) as events,
        jobs.watch("7", "http", ["*"]) as others,
    ):
        assert await told(events, "b") == ["a", "b"]
        redis.client.rpush(LOGS, "c")
        redis.add_event("http", "completed", "7", returnvalue="1")
        assert await told(events, "completed") == ["c", "completed"]
        assert [event.event async for event in others] == ["completed"]


async def test_whoever_comes_later_gets_all_lines_and_nobody_gets_one_twice(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush(LOGS, "a", "b")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs, jobs.watch("7", logs=True) as first:
        assert await told(first, "b") == ["a", "b"]
        async with jobs.watch("7", logs=True) as second:
            redis.client.rpush(LOGS, "c")
            assert await told(second, "c") == ["a", "b", "c"]
            assert await told(first, "c") == ["c"]
            async with jobs.watch("7", "http", logs=True) as named:
                assert await told(named, "c") == ["a", "b", "c"]
                redis.client.rpush(LOGS, "d")
                for events in (first, second, named):
                    assert await told(events, "d") == ["d"]


async def test_a_lost_connection_costs_no_line(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs, jobs.watch("7", "http", logs=True) as events:
        for number in range(5):
            redis.client.rpush(LOGS, f"{number}")
            assert await told(events, f"{number}") == [f"{number}"]
            redis.client.ltrim(LOGS, -2, -1)
            before = set(live.bridge.clients.connected)
            live.bridge.close_all(RESTART)
            await eventually(lambda: bool(live.bridge.clients.connected - before))  # noqa: B023 - asked at once
        redis.add_event("http", "completed", "7", returnvalue="1")
        assert await told(events, "completed") == ["completed"]


async def test_lines_of_a_worker_without_await(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:

        def watch() -> list[Any]:
            items: list[Any] = []
            with jobws.sync.connect(live.url) as jobs:
                for event in jobs.watch("j", "http", logs=True):
                    items += _lines(event) if event.event == "job-log" else [event.event]
            return items

        with await trio.to_thread.run_sync(Logger, "python", redis, "http") as worker:
            await worker.tell(add={"jobId": "j"})
            for line in ("a", "b"):
                await worker.tell(log=line)
            await worker.tell(end=1)
        assert await trio.to_thread.run_sync(watch) == ["a", "b", "completed"]


def frame(first: int, *lines: str, **rest: Any) -> dict[str, Any]:
    return {
        **{
            "queue": "http",
            "jobId": "7",
            "lines": list(lines),
            "first": first,
            "position": f"{first + len(lines)}.0.x",
        },
        **rest,
    }


def take(lines: RoomLines, data: dict[str, Any]) -> list[Any]:
    event = lines.take(data, 10)
    return [] if event is None else [event.data["first"], *_lines(event)]


def test_what_came_while_the_room_was_subscribed_again_is_not_handed_on_twice() -> None:
    lines = RoomLines()
    assert lines.wanted() is True
    lines.asked(1)
    lines.answered(1)
    assert take(lines, frame(0, "a", "b")) == [0, "a", "b"]
    assert lines.wanted() == {"after": {"http": "2.0.x"}}
    lines.asked(2)
    assert take(lines, frame(2, "c", "d", "e")) == [2, "c", "d", "e"]
    lines.answered(2)
    assert take(lines, frame(2, "c")) == []
    assert take(lines, frame(3, "d", "e", "f")) == [5, "f"]
    assert take(lines, frame(0, "a")) == [0, "a"]


def test_numbers_that_begin_anew_are_new_lines() -> None:
    for anew in (frame(0, "x"), frame(2, "x", gap=True)):
        lines = RoomLines()
        take(lines, frame(0, "a", "b"))
        lines.asked(1)
        take(lines, frame(2, "c"))
        lines.answered(1)
        assert take(lines, anew) == [anew["first"], "x"]
        assert take(lines, frame(anew["first"] + 1, "y")) == [anew["first"] + 1, "y"]


def test_each_answer_is_to_its_own_request() -> None:
    lines = RoomLines()
    take(lines, frame(0, "a", "b"))
    lines.asked(1)
    take(lines, frame(2, "c", "d"))
    lines.asked(2)
    lines.answered(1)
    assert take(lines, frame(2, "c")) == []
    assert lines.wanted() == {"after": {"http": "4.0.x"}}
    lines.answered(2)
    assert take(lines, frame(4, "e")) == [4, "e"]


def test_what_is_kept_for_later_watchers_is_bounded() -> None:
    lines = RoomLines()
    for number in range(100):
        lines.take(frame(number, "x"), KEPT_BYTES // 10)
    assert [event.data["first"] for event, _ in lines.kept()] == list(range(90, 100))
    lines.take(frame(100, "x"), 2 * KEPT_BYTES)
    assert [event.data["first"] for event, _ in lines.kept()] == [100]


def test_a_room_is_named_by_the_frame() -> None:
    assert room_of(frame(0, "a")) == Room("http", "7")
    assert room_of(frame(0, "a", anywhere=True)) == Room(None, "7")


def test_a_room_goes_on_behind_its_lines_if_a_watcher_wants_some() -> None:
    room, items = Room("http", "7"), list[Item]()
    state = RoomState(room)
    state.watchers[Watcher([room], None, strict=False, gaps=True, put=items.append)] = None
    assert state.logs() is False
    state.watchers[Watcher([room], frozenset(), strict=False, gaps=True, put=items.append, logs=True)] = None
    assert state.logs() is True
    state.lines.asked(1)
    take(state.lines, frame(0, "a"))
    state.lines.answered(1)
    assert take(state.lines, frame(0, "a", "b")) == [1, "b"]
    assert state.logs() == {"after": {"http": "2.0.x"}}


def test_a_watcher_gets_what_came_before_with_its_answer_and_not_until_then() -> None:
    room, items = Room("http", "7"), list[Item]()
    watcher = Watcher([room], None, strict=False, gaps=True, put=items.append, logs=True)
    lines = RoomLines()
    event = lines.take(frame(0, "a"), 10)
    assert event is not None
    watcher.deliver(room, event, 10)
    assert not items
    watcher.answer(room, [], lines)
    watcher.deliver(room, event, 10)
    assert [type(item) for item in items] == [Answer, Delivery, Delivery]

"""What the page lets its viewer do to jobs and queues: what the rights allow, after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.acting import acting_bridge, events
from tests.support.authorizer import Authorizer, asking_bridge
from tests.support.bridge import live_bridge
from tests.support.page import act, click, give, says
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

READS: Final = "read:queues:http read:jobs:http"
# By the right, the state of the job, the button's text, what the page says then, and where the job is then.
ON_JOBS: Final = {
    "retry": ("failed", "Retry", "The job waits for another run.", "waiting"),
    "promote": ("delayed", "Promote", "The job waits for a worker.", "waiting"),
    "remove": ("completed", "Remove", "The job was removed.", "removed"),
}
# The buttons in sight, besides filters.
OFFERED: Final = """[...document.querySelectorAll('main button')]
    .filter((each) => each.checkVisibility() && !each.closest('.tabs')).map((each) => each.innerText)"""


def add_jobs(redis: Redis) -> None:
    """Add a job in each of the states in which there is an action: `failed-1`, `delayed-1` and `completed-1`."""
    for state in ("failed", "delayed", "completed"):
        redis.add_job("http", f"{state}-1", state=state, failedReason="no such page", timestamp=1000, finishedOn=2000)


async def show(page: Page, place: str, where: str, text: str) -> None:
    """Go to another view, and wait until an element there has this text."""
    await page.run("(place) => (location.hash = place)", f"#/{place}")
    await says(page, where, text)


async def show_failed(page: Page, count: int) -> None:
    """Go to the failed jobs, and open the largest group, of so many jobs: its button is in there."""
    await show(page, "queues/http/failed", ".group .n", str(count))
    await page.run("document.querySelector('.group').open = true")


@pytest.mark.parametrize("action", ON_JOBS)
async def test_an_action_on_a_job_for_who_has_the_right(redis: Redis, chromium: Chromium, action: str) -> None:
    state, button, done, then = ON_JOBS[action]
    add_jobs(redis)
    async with (
        keyed_bridge(redis.url, queues=("http",)) as live,
        chromium.page(f"{live.url}/#/jobs/http/{state}-1") as page,
    ):
        await give(chromium, page, jwt(f"{READS} write:jobs:http:{action}"))
        for each in ("failed", "delayed", "completed"):
            await show(page, f"jobs/http/{each}-1", ".jobhead .chip", each)
            offers = each == state or (action == "remove")
            assert await page.run(OFFERED) == ([button] if offers else [])
        await show(page, f"jobs/http/{state}-1", ".jobhead .chip", state)
        await act(chromium, page, button, f"{button} “test” of http?")
        await says(page, ".notice.good", done)
        await says(page, ".jobhead .chip", then)
        assert redis.client.zscore(f"bull:http:{state}", f"{state}-1") is None
        waiting = [] if action == "remove" else [f"{state}-1".encode()]
        assert redis.client.lrange("bull:http:wait", 0, -1) == waiting


async def test_actions_on_a_queue_for_who_has_the_rights(redis: Redis, chromium: Chromium) -> None:
    """Who may pause a queue may not resume it."""
    add_jobs(redis)
    async with keyed_bridge(redis.url, queues=("http",)) as live:
        async with chromium.page(f"{live.url}/#/queues/http") as page:
            await give(chromium, page, jwt(f"{READS} write:queues:http:pause"))
            await act(chromium, page, "Pause", "Pause http? Jobs that run go on.")
            await says(page, ".notice.good", "No worker takes a job of this queue until it is resumed.")
            await says(page, ".note", "paused")
            assert redis.client.hexists("bull:http:meta", "paused")
            assert await page.run(OFFERED) == []
            await show_failed(page, 1)
            assert await page.run(OFFERED) == []
        async with chromium.page(f"{live.url}/#/queues/http") as page:
            await give(chromium, page, jwt(f"{READS} write:queues:http:resume write:queues:http:retry"))
            await act(chromium, page, "Resume", "Resume http?")
            await says(page, ".notice.good", "Workers take jobs again.")
            await page.until("() => !document.querySelector('.note.warn')?.innerText.includes('paused')")
            assert not redis.client.hexists("bull:http:meta", "paused")
            assert await page.run(OFFERED) == []
            await show_failed(page, 1)
            await act(chromium, page, "Retry all failed", "Retry all failed jobs of http?")
            await says(page, ".notice.good", "1 job will be retried.")
            await says(page, ".empty", "No job of this queue has failed.")
            assert redis.client.lrange("bull:http:wait", 0, -1) == [b"failed-1"]


async def test_jobs_of_one_reason_are_retried_together(redis: Redis, chromium: Chromium) -> None:
    """It is an action on each of the jobs, and needs the right to that."""
    for number in range(20):
        reason = "no such page" if number < 5 else f"timeout after {number} ms"
        redis.add_job("http", f"j{number}", state="failed", failedReason=reason, finishedOn=number)
    async with keyed_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        await give(chromium, page, jwt(f"{READS} write:jobs:http:retry"))
        await show_failed(page, 15)
        await act(chromium, page, "Retry these", "Retry 15 jobs that failed for this reason?")
        await says(page, ".notice.good", "15 jobs wait for another run.")
        await page.until("() => document.querySelectorAll('.group').length === 1")
        await says(page, ".group .n", "5")
        assert await page.run("document.querySelectorAll('main .line button:not([hidden])').length") == 0
    assert redis.client.llen("bull:http:wait") == 15


async def test_a_refusal_is_shown(redis: Redis, chromium: Chromium) -> None:
    """The page cannot know what an authorizer will allow, nor that a job is gone since."""
    add_jobs(redis)
    with Authorizer("read:queues http", "read:jobs http", "read:jobs http/failed-1") as authorizer:
        async with (
            asking_bridge(redis.url, authorizer) as live,
            chromium.page(f"{live.url}/#/jobs/http/failed-1") as page,
        ):
            await give(chromium, page, "ann")
            await act(chromium, page, "Retry", "Retry “test” of http?")
            await says(page, ".notice.bad", "the token does not allow this")
            await says(page, ".jobhead .chip", "failed")
    assert events(redis, "http") == []
    async with acting_bridge(redis.url) as live, chromium.page(f"{live.url}/#/jobs/http/delayed-1") as page:
        await says(page, ".jobhead .chip", "delayed")
        await click(chromium, page, "main button:text-is('Promote')")
        await says(page, "dialog[open] h2", "Promote “test” of http?")
        redis.client.zrem("bull:http:delayed", "delayed-1")  # not before: a look of the page would take the button away
        await click(chromium, page, "dialog[open] button[value=yes]")
        await says(page, ".notice.bad", "the job is not delayed, so it cannot be promoted")


async def test_nothing_is_offered_where_the_bridge_takes_no_actions(redis: Redis, chromium: Chromium) -> None:
    add_jobs(redis)
    async with live_bridge(redis.url, queues=("http",)) as live, chromium.page(live.url + "/") as page:
        await show(page, "queues/http", ".job .chip", "failed")
        assert await page.run(OFFERED) == []
        for state in ("failed", "delayed", "completed"):
            await show(page, f"jobs/http/{state}-1", ".jobhead .chip", state)
            assert await page.run(OFFERED) == []
        await show_failed(page, 1)
        assert await page.run(OFFERED) == []

"""An animation: a job that runs, on our page and on a board that polls, as both browsers' pages were painted."""

from __future__ import annotations

import os
import subprocess
import time
from base64 import b64decode
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, ImageFont

from jobws.embedded import free_port
from tests.bench.servers import BOARD, install_opponent
from tests.pictures.files import save_animation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, CDPSession

    from tests.pictures.demo import Demo

QUEUE: Final = "analyzer"
NAME: Final = "audit server"
_ENDED_HERE: Final = f"""() => [...document.querySelectorAll('.list .job')].some(({{ innerText }}) =>
    innerText.includes('{NAME}') && innerText.includes('completed'))"""
_RESULTS: Final = "(count) => document.body.innerText.split('returnValue').length - 1 === count"
SIZE: Final = (640, 420)
BAR: Final = 34
FRAME_MILLISECONDS: Final = 250
# What the pages have in their DOM is painted, and has come here, so much later at most.
PAINTED_MILLISECONDS: Final = 1000
# The last frame stays so long, before the animation begins again.
LAST_MILLISECONDS: Final = 4000

Painted = list[tuple[float, Image.Image]]


def take(started: Demo, browser: Browser) -> None:
    """Watch a job from its `queue.add` until both pages show that it has completed."""
    install_opponent(BOARD)
    with _board(started) as board:
        ours, theirs = (
            browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, locale="en-GB", timezone_id="UTC")
            for _ in range(2)
        )
        ours.goto(f"{started.url}/#/queues/{QUEUE}")
        theirs.goto(f"{board}/queue/{QUEUE}")
        before = started.jobs.submit(QUEUE, {"path": "demo"}, name="audit demo")
        started.wait(QUEUE, before.job_id)
        results = 2  # of this one, and of the demo's own
        ours.wait_for_function("() => document.querySelectorAll('.list .job').length === 2")
        theirs.wait_for_function(_RESULTS, arg=results)
        sessions = [page.context.new_cdp_session(page) for page in (ours, theirs)]
        frames = [_painted(session) for session in sessions]
        added = time.time()
        started.jobs.submit(QUEUE, {"path": "server"}, name=NAME)
        ours.wait_for_function(_ENDED_HERE)
        theirs.wait_for_function(_RESULTS, arg=results + 1)
        theirs.wait_for_timeout(PAINTED_MILLISECONDS)
        ended = time.time()
        for each in sessions:
            each.send("Page.stopScreencast")
    save_animation(_joined(frames, added, ended))


@contextmanager
def _board(started: Demo) -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, **started.redis(), "PORT": str(port), "QUEUE": QUEUE, "NODE_ENV": "production"}
    command = ["node", str(BOARD / "board.mjs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _painted(session: CDPSession) -> Painted:
    """Return a list that gets each picture that the browser paints of a page from now on, with its time."""
    found: Painted = []

    def take(frame: dict[str, Any]) -> None:
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})
        found.append((frame["metadata"]["timestamp"], Image.open(BytesIO(b64decode(frame["data"]))).convert("RGB")))

    session.on("Page.screencastFrame", take)
    session.send("Page.startScreencast", {"format": "png"})
    return found


def _joined(frames: list[Painted], began: float, ended: float) -> list[tuple[Image.Image, int]]:
    """Return both pages beside each other, as they were in each quarter of a second."""
    joined: list[tuple[Image.Image, int]] = []
    steps = int((ended - began) * 1000) // FRAME_MILLISECONDS + 1
    for step in range(-2, steps + 1):
        at = began + step * FRAME_MILLISECONDS / 1000
        shown = [max((each for each in of if each[0] <= at), default=of[0], key=lambda each: each[0]) for of in frames]
        joined.append((_beside([image for _, image in shown], max(0.0, at - began)), FRAME_MILLISECONDS))
    joined[-1] = (joined[-1][0], LAST_MILLISECONDS)
    return joined


def _beside(images: list[Image.Image], seconds: float) -> Image.Image:
    width, height = SIZE
    whole = Image.new("RGB", (2 * width + 2, height + BAR), "#1f2430")
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(16)
    labels = ("jobws", "bull-board, which asks every 5 s")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        left = number * (width + 2)
        whole.paste(image.resize(SIZE) if image.size != SIZE else image, (left, BAR))
        draw.text((left + 12, BAR // 2), label, "white", font, "lm")
    draw.text((2 * width - 10, BAR // 2), f"{seconds:.1f} s after queue.add", "#c8cede", font, "rm")
    return whole

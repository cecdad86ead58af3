"""A client of the Socket.IO bridge that does all it can: it connects again when it is cut off, and joins its rooms
again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from tests.chaos.jobs import Job, Ledger, Lives, Outcome
from tests.chaos.raw import TICK_SECONDS, is_lost, websocket

if TYPE_CHECKING:
    from random import Random

    import trio_websocket

    from tests.chaos.proxy import Proxy

PATH = "/socket.io/?EIO=4&transport=websocket"


class SocketIoClient:
    """Subscribes to jobs at random moments, as the other clients do."""

    def __init__(self, name: str, jobs: list[Job], lives: Lives, random: Random, proxy: Proxy) -> None:
        self.ledger = Ledger(name, lives)
        self._random = random
        self._proxy = proxy
        due: dict[str, float] = {}
        for job in jobs:
            at = max(0.0, job.at + random.uniform(-2, 4))
            due[job.job_id] = min(at, due.get(job.job_id, at))
        self._due = sorted(due.items(), key=lambda each: -each[1])
        self._joined: list[str] = []

    async def run(self, started: float) -> None:
        """Follow the jobs until cancelled."""
        while True:
            try:
                async with websocket(self._proxy.port, PATH) as socket:
                    await self._talk(socket, started)
            except Exception as error:
                if not is_lost(error):
                    raise
            self.ledger.counts["connections lost"] += 1
            await trio.sleep(self._random.uniform(0, 0.5))

    async def _talk(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        while True:
            text = str(await socket.get_message())
            if text.startswith("0"):
                await socket.send_message("40")
            elif text.startswith("40"):
                break
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, started)
            while True:
                text = str(await socket.get_message())
                if text == "2":
                    await socket.send_message("3")
                elif text.startswith("42"):
                    self._event(*json.loads(text[2:]))

    async def _write(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        for job_id in self._joined:
            await self._join(socket, job_id)
        while True:
            while self._due and self._due[-1][1] <= trio.current_time() - started:
                job_id, _ = self._due.pop()
                self._joined.append(job_id)
                await self._join(socket, job_id)
            await trio.sleep(self._random.uniform(0, 2 * TICK_SECONDS))

    async def _join(self, socket: trio_websocket.WebSocketConnection, job_id: str) -> None:
        await socket.send_message(f'42["subscribe-job",{json.dumps(job_id)}]')

    def _event(self, event: str, data: dict[str, str]) -> None:
        self.ledger.count_frame(None, replayed=False)
        outcome = Outcome(None, False, sum(self.ledger.counts.values()))
        self.ledger.note((data["queue"], data["jobId"]), event, data, outcome)

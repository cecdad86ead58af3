"""A burst of log lines, clients that do not read, and unexpected entries."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
import trio

from jobws.protocol.close_codes import CloseCode
from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.peer import Peer

if TYPE_CHECKING:
    from jobws.hub.log.broadcaster import LogHub
    from tests.support.redis import Redis

LINES = 50_000
WRITERS = 3
WRITE = """
import sys, redis
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = redis.Redis.from_url(url)
for start in range(0, count, 500):
    pipe = client.pipeline(transaction=False)
    for number in range(start, min(start + 500, count)):
        fields = {"level": "info", "source": name, "message": str(number), "queue": "http"}
        pipe.xadd("jobws:logs", fields, maxlen=100_000)
    pipe.execute()
"""


class Reader:
    """A client that reads as fast as it can, in a thread, and parses later."""

    def __init__(self, url: str) -> None:
        self.peer = Peer(url, "/logs", receive_bytes=None)
        assert json.loads(self.peer.frame()[1])["event"] == "hello"
        self.peer.send(b'{"event":"subscribe-logs"}')
        assert json.loads(self.peer.frame()[1])["event"] == "ack"
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        self._thread.start()

    def _read(self) -> None:
        while b"the end" not in self._data[-500:]:
            self._data += self.peer.socket.recv(1 << 18)

    def frames(self) -> list[dict[str, Any]]:
        self._thread.join(45)
        assert not self._thread.is_alive()
        return [json.loads(part) for part in _payloads(bytes(self._data)) if part]


def _payloads(data: bytes) -> list[bytes]:
    """Return the payloads of whole frames of less than 64 KiB each."""
    found, at = [], 0
    while at + 4 <= len(data):
        size, begin = data[at + 1], at + 2
        if size == 126:
            size, begin = int.from_bytes(data[at + 2 : at + 4]), at + 4
        if data[at] == 0x81:
            found.append(data[begin : begin + size])
        at = begin + size
    return found


def message(peer: Peer) -> dict[str, Any]:
    """Return the next frame that is not a ping."""
    while (frame := peer.frame())[0] != 1:
        assert frame[0] == 9, f"the bridge ends the connection: {frame[1]!r}"
    found: dict[str, Any] = json.loads(frame[1])
    return found


def account(frames: list[dict[str, Any]], ids: list[str]) -> int:
    """Return how many lines were dropped.

    Each frame must be the next line, or the number of lines that are missing before it.
    """
    received = dropped = 0
    for frame in frames:
        if frame["event"] == "dropped":
            assert "approximate" not in frame["data"]
            received += frame["data"]["count"]
            dropped += frame["data"]["count"]
        else:
            assert frame["id"] == ids[received]
            received += 1
    assert received == len(ids)
    return dropped


@pytest.mark.thorough
def test_a_burst_from_three_processes(redis: Redis) -> None:
    """A client that keeps up gets all lines in order. One that does not gets the exact number of missing ones."""
    arguments = ("--redis", redis.url, "--port", "0", "--outbox-bytes", "2097152", "--no-own-log")
    with BridgeProcess(*arguments) as bridge, ExitStack() as stack:
        url = bridge.started()
        readers = [Reader(url) for _ in range(2)]
        slow = Reader(url)
        for reader in (*readers, slow):
            stack.enter_context(reader.peer)
        for reader in readers:
            reader.start()
        share = [LINES // WRITERS + (number < LINES % WRITERS) for number in range(WRITERS)]
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITE, redis.url, f"w{number}", str(count)])
            for number, count in enumerate(share)
        ]
        assert [writer.wait(45) for writer in writers] == [0] * WRITERS
        redis.add_log("the end")
        fast = [reader.frames() for reader in readers]
        ids = [stream_id.decode() for stream_id, _ in redis.client.xrange("jobws:logs")]  # type: ignore[union-attr]
        assert len(ids) == LINES + 1
        assert [account(frames, ids) for frames in fast] == [0, 0]
        for number, count in enumerate(share):
            numbers = [int(f["data"]["message"]) for f in fast[0] if f["data"]["source"] == f"w{number}"]
            assert numbers == list(range(count))
        frames = [message(slow.peer)]
        while frames[-1]["event"] != "dropped":
            frames.append(message(slow.peer))
        last = redis.add_log("and now")
        ids.append(last)
        while frames[-1].get("id") != last:
            frames.append(message(slow.peer))
        assert account(frames, ids) > 1000
        assert bridge.terminate() == 0


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
async def test_a_client_that_does_not_read_is_not_closed_for_it(redis: Redis, direct: bool) -> None:
    """As long as that is shorter than `slow_seconds` and `silence_seconds`."""
    patient: dict[str, Any] = {"slow_seconds": 3600.0, "silence_seconds": 3600.0}
    async with live_bridge(redis.url, outbox_bytes=500_000, direct=direct, **patient) as live:
        with await anyio.to_thread.run_sync(partial(Peer, live.url, "/logs", receive_bytes=65_536)) as peer:

            def begin() -> list[str]:
                message(peer)
                peer.send(b'{"event":"subscribe-logs"}')
                message(peer)
                pipe = redis.client.pipeline(transaction=False)
                for _ in range(500):  # much more than the kernel holds for the client
                    pipe.xadd("jobws:logs", {"message": "x" * 50_000})
                return [stream_id.decode() for stream_id in pipe.execute()]

            def read(ids: list[str]) -> int:
                frames = [message(peer)]
                while frames[-1]["event"] != "dropped":
                    frames.append(message(peer))
                ids.append(redis.add_log("now"))
                while frames[-1].get("id") != ids[-1]:
                    frames.append(message(peer))
                return account(frames, ids)

            ids = await anyio.to_thread.run_sync(begin)
            # Clients do not read before this, since they might keep up with a busy bridge.
            await eventually(lambda: live.bridge.logs.hub.counts["dropped"] > 0)
            assert await anyio.to_thread.run_sync(read, ids) > 0


async def test_a_client_that_takes_nothing_at_all_is_closed_as_everywhere(redis: Redis) -> None:
    async with live_bridge(redis.url, slow_seconds=0.5) as live:

        def run() -> None:
            with Peer(live.url, "/logs") as peer:
                message(peer)
                (connection,) = live.bridge.logs.clients.connected
                peer.send(b'{"event":"subscribe-logs"}')
                message(peer)
                for _ in range(300):
                    redis.add_log("x" * 50_000)
                while live.bridge.logs.clients.connected:
                    threading.Event().wait(0.01)
                assert connection.closing is not None
                assert connection.closing.code == CloseCode.SLOW_CONSUMER

        await anyio.to_thread.run_sync(run)


async def test_all_history_for_a_client_that_does_not_read_costs_little(redis: Redis) -> None:
    """A client asks many times for all of 10 MB of lines, and reads none of them."""
    pipe = redis.client.pipeline(transaction=False)
    for _ in range(10_000):
        pipe.xadd("jobws:logs", {"message": "x" * 1000})
    pipe.execute()
    async with live_bridge(redis.url, outbox_bytes=200_000) as live:
        with await anyio.to_thread.run_sync(lambda: Peer(live.url, "/logs")) as peer:
            for _ in range(20):
                await anyio.to_thread.run_sync(peer.send, b'{"event":"subscribe-logs","data":{"tail":1000000000}}')
            async with raw_client(live.url, path="/logs") as client:
                assert (await client.ask("subscribe-logs", {"tail": 3}))["event"] == "ack"
                assert [(await client.receive())["event"] for _ in range(3)] == ["log"] * 3
                redis.add_log("live")
                assert (await client.receive())["data"]["message"] == "live"
            assert all(member.outbox.size < 200_000 for member in live.bridge.logs.clients.connected)


async def test_entries_that_nobody_expects(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url, path="/logs") as client:
        assert (await client.ask("subscribe-logs"))["event"] == "ack"
        redis.client.xadd("jobws:logs", {"message": b"\xff" * 1_048_576, "fields": b"{" * 1_048_576})
        redis.client.xadd("jobws:logs", {"": "", b"\xff": b"\xff", "fields": "[" * 100_000, "time": "9" * 400})
        redis.client.xadd(
            "jobws:logs", {"message": "\0\u2028💥", "fields": '{"a":"\\ud800","deep":' + "[" * 990 + "]" * 990 + "}"}
        )
        redis.add_log("good")
        big, empty, strange, good = [await client.receive() for _ in range(4)]
        assert len(big["data"]["message"]) == 65_536
        assert big["data"]["fields"] == {"truncated": True}
        assert empty["data"]["fields"] == {"": "", "\ufffd": "\ufffd", "truncated": True}
        assert strange["data"]["message"] == "\0\u2028💥"
        assert good["data"]["message"] == "good"


@pytest.mark.parametrize("data", [{"tail": 10**9}, {"tail": 10**9, "text": "nowhere"}, {"after": "0-1"}])
async def test_a_client_that_leaves_in_the_midst_leaves_nothing(redis: Redis, data: dict[str, Any]) -> None:
    pipe = redis.client.pipeline(transaction=False)
    for _ in range(5000):
        pipe.xadd("jobws:logs", {"message": "x" * 100})
    pipe.execute()
    async with live_bridge(redis.url) as live:
        for _ in range(10):
            async with raw_client(live.url, path="/logs") as client:
                await client.send("subscribe-logs", data)
        async with raw_client(live.url, path="/logs") as client:
            await client.send("subscribe-logs", data)
            await client.send("unsubscribe-logs")
            await client.until("ack", request="unsubscribe-logs")
            assert (await client.ask("ping"))["event"] == "pong"
        assert live.bridge.logs.hub.cursor is None


async def test_many_who_read_back_take_turns(redis: Redis) -> None:
    """Filtering one line may take a millisecond, so events of jobs are sent between two lines."""
    pipe = redis.client.pipeline(transaction=False)
    for number in range(2000):
        pipe.xadd("jobws:logs", {"message": f"n {number}"})
    pipe.execute()
    async with live_bridge(redis.url) as live:
        seconds = count()
        live.bridge.logs.hub.clock = lambda: float(next(seconds))  # so filtering each line takes long
        passes = Passes(live.bridge.logs.hub)
        trio.lowlevel.add_instrument(passes)

        async def watch(number: int) -> None:
            data = {"tail": 40, "text": f"{number}"} if number % 2 else {"after": "0-1", "text": f"n {number}"}
            async with raw_client(live.url, path="/logs") as client:
                await client.send("subscribe-logs", data)
                assert str(number) in (await client.until("log"))[-1]["data"]["message"]

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(watch, number)
        trio.lowlevel.remove_instrument(passes)
        assert passes.most in (2, 3)


class Passes(trio.abc.Instrument):
    """Counts how often the clock was read between two looks of the event loop at its sockets: twice for each line."""

    def __init__(self, hub: LogHub) -> None:
        self._clock = hub.clock
        self._count = self.most = 0
        hub.clock = self._ask

    def _ask(self) -> float:
        self._count += 1
        self.most = max(self.most, self._count)
        return self._clock()

    def before_io_wait(self, timeout: float) -> None:
        self._count = 0

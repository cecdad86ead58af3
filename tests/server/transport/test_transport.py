"""What clients may do to the server's sockets, and the effect on them and on others.

Each of these tests fails on plain Hypercorn 0.18. Its sends cannot be cancelled, it always compresses, buffers without
a limit, ignores missing pongs, and ends connections without a close frame.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest

from jobws.server.transport.address_limit import AddressLimit
from jobws.server.websocket.clients import SLOW
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.echo import echo_server
from tests.support.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

IN_THREAD = anyio.to_thread.run_sync
MIB = 1024 * 1024
SECURITY = "\r\nx-content-type-options: nosniff\r\n"


def _subscribed(url: str) -> Peer:
    peer = Peer(url)
    peer.send(b'{"event":"subscribe-queue","data":"http"}')
    assert b'"hello"' in peer.frame()[1]
    assert b'"ack"' in peer.frame()[1]
    return peer


def rss(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- 1: clients that do not read ----


async def test_a_client_that_does_not_read_is_closed_as_slow_and_others_do_not_notice(redis: Redis) -> None:
    outbox_bytes = 512 * 1024
    async with live_bridge(redis.url, outbox_bytes=outbox_bytes) as live, raw_client(live.url) as good:
        await good.ask("subscribe-queue", "http")
        stalled = [await IN_THREAD(_subscribed, live.url) for _ in range(20)]
        result = '"' + "x" * 50_000 + '"'
        for number in range(60):
            redis.add_event("http", "completed", str(number), returnvalue=result)
            assert (await good.receive())["data"]["jobId"] == str(number)
        await eventually(lambda: sum(each.closing is not None for each in live.bridge.clients.connected) == 20)
        # Clients get whole frames within the time for the last frames, and then the close code.
        codes: list[int] = []

        async def read(peer: Peer) -> None:
            codes.append(await IN_THREAD(peer.close_code))

        async with anyio.create_task_group() as tasks:
            for peer in stalled:
                tasks.start_soon(read, peer)
        assert codes == [4000] * 20
        for peer in stalled:
            peer.socket.close()


async def test_a_client_that_trickles_is_closed_as_slow(redis: Redis) -> None:
    """The client takes 1 kB a second, so its outbox never becomes full."""
    async with (
        live_bridge(redis.url, slow_seconds=3.0, slow_bytes_per_second=4096.0) as live,
        raw_client(live.url) as good,
    ):
        await good.ask("subscribe-queue", "http")
        with await IN_THREAD(_subscribed, live.url) as peer:
            for number in range(20):
                redis.add_event("http", "completed", str(number), returnvalue='"' + "x" * 50_000 + '"')
            began = time.monotonic()

            def trickle() -> None:
                while all(each.closing is None for each in live.bridge.clients.connected):
                    peer.socket.recv(1000)
                    time.sleep(1)  # the client does this; the test does not wait for it

            await IN_THREAD(trickle)
            assert time.monotonic() - began < 3 + 20
            (slow,) = [each for each in live.bridge.clients.connected if each.closing is not None]
            assert slow.closing is SLOW
        assert [(await good.receive())["data"]["jobId"] for _ in range(20)] == [str(number) for number in range(20)]


# ---- 2: the end ----


async def test_sigterm_ends_it_whatever_clients_do(redis: Redis) -> None:
    redis.add_job("http", "large", state="completed", finishedOn=1, returnvalue='"' + "x" * 30_000_000 + '"')
    with BridgeProcess("--port", "0", "--redis", redis.url, "--shutdown-seconds", "3") as bridge:
        url = await IN_THREAD(bridge.started)
        async with raw_client(url) as idle:
            with (
                await IN_THREAD(_subscribed, url) as stalled,
                Peer(url),
                socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)),
            ):
                for number in range(40):
                    redis.add_event("http", "completed", str(number), returnvalue='"' + "x" * 50_000 + '"')
                download = Peer(url, path="/jobs/http/large", upgrade=False)
                await idle.ask("ping")
                began = time.monotonic()
                async with anyio.create_task_group() as tasks:
                    ended: list[int] = []

                    async def terminate() -> None:
                        ended.append(await IN_THREAD(bridge.terminate))

                    tasks.start_soon(terminate)
                    assert await idle.closed() == (1012, "the bridge restarts")
                    assert not ended
                assert ended == [0]
                assert time.monotonic() - began < 3 + 20
                assert stalled.gone()
                assert download.gone()
                download.socket.close()


# ---- 3 and 4: sizes ----


async def test_compression_is_not_negotiated_unless_switched_on() -> None:
    for on in (False, True):
        async with echo_server(permessage_deflate=on) as port:
            with await IN_THREAD(partial(Peer, port, extensions="permessage-deflate; client_max_window_bits")) as peer:
                assert ("permessage-deflate" in peer.answer) is on


async def test_compressed_events_are_the_same(redis: Redis) -> None:
    result = '{"text":"' + "jobws " * 500 + '"}'
    async with live_bridge(redis.url, permessage_deflate=True) as live:
        with await IN_THREAD(partial(Peer, live.url, extensions="permessage-deflate")) as peer:
            assert "server_no_context_takeover" in peer.answer
            await IN_THREAD(peer.frame)
            deflate = zlib.compressobj(wbits=-15)
            request = deflate.compress(b'{"event":"subscribe-queue","data":"http"}') + deflate.flush(zlib.Z_SYNC_FLUSH)
            peer.send(request[:-4], opcode=0xC1)
            await IN_THREAD(peer.frame)
            redis.add_event("http", "completed", "1", returnvalue=result)
            _, payload = await IN_THREAD(peer.frame)
            assert len(payload) < 200
            assert result.encode() in zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")


def _endless_frame(peer: Peer) -> None:
    peer.socket.sendall(b"\x81\xff" + struct.pack("!Q", 1 << 40) + bytes(4))
    for _ in range(200):
        peer.socket.sendall(b"x" * 65536)


def _endless_message(peer: Peer) -> None:
    peer.send(b"x", opcode=0x01)
    for _ in range(200):
        peer.socket.sendall((b"\x00\xfe" + struct.pack("!H", 1000) + bytes(4) + b"x" * 1000) * 64)


def _bomb(peer: Peer) -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    data = deflate.compress(b"x" * 100 * MIB) + deflate.flush(zlib.Z_SYNC_FLUSH)
    for start in range(0, len(data), 60_000):
        peer.send(data[start : start + 60_000], opcode=0x41 if start == 0 else 0x00)


@pytest.mark.parametrize("attack", [_endless_frame, _endless_message, pytest.param(_bomb, marks=pytest.mark.thorough)])
async def test_what_has_no_end_costs_no_memory(redis: Redis, attack: Callable[[Peer], None]) -> None:
    deflate = ("--permessage-deflate",) if attack is _bomb else ()
    with BridgeProcess("--port", "0", "--redis", redis.url, *deflate) as bridge:
        url = await IN_THREAD(bridge.started)
        async with raw_client(url) as good:
            await good.ask("ping")
            before = rss(bridge.pid)
            peers = [Peer(url, extensions="permessage-deflate") for _ in range(8)]

            def attacking(peer: Peer) -> int:
                # The client reads nothing until it has sent everything. A server that has given up resets the
                # connection.
                try:
                    attack(peer)
                    return peer.close_code()
                except (ConnectionError, EOFError):
                    return 0

            codes: list[int] = []

            async def one(peer: Peer) -> None:
                codes.append(await IN_THREAD(attacking, peer))

            async with anyio.create_task_group() as tasks:
                for peer in peers:
                    tasks.start_soon(one, peer)
                with anyio.fail_after(20):
                    assert (await good.ask("ping"))["event"] == "pong"
            # A client that reads in time gets the reason. One that only sends is cut.
            assert set(codes) <= {1009, 0}
            assert rss(bridge.pid) - before < len(peers) * MIB
            for peer in peers:
                peer.socket.close()
        assert bridge.terminate() == 0


async def test_a_message_that_is_too_large_is_reported() -> None:
    async with echo_server(max_message_bytes=1000) as port:
        with await IN_THREAD(Peer, port) as peer:
            peer.send(b"x" * 1001)
            opcode, payload = await IN_THREAD(peer.frame)
            assert (opcode, payload) == (8, struct.pack("!H", 1009) + b"a message may have 1000 bytes")
            # The client ignores this and goes on, so it is cut.
            with pytest.raises((ConnectionError, BrokenPipeError)):
                await IN_THREAD(_send_for_ever, peer)


def _send_for_ever(peer: Peer) -> None:
    while True:
        peer.send(b"x" * 100)
        if select.select([peer.socket], [], [], 0.05)[0] and not peer.socket.recv(100):
            raise ConnectionResetError


async def test_a_flood_of_pings_holds_up_nobody() -> None:
    """The pings of one second would be minutes of work."""
    async with echo_server() as port:
        with await IN_THREAD(Peer, port) as flooding, await IN_THREAD(Peer, port) as good:
            flooding.socket.setblocking(False)
            flood = b"\x89\x80\0\0\0\0" * 10_000
            for _ in range(100):
                try:
                    flooding.socket.send(flood)
                except BlockingIOError:
                    break
            for number in range(20):
                good.send(b"%d" % number)
                with anyio.fail_after(20):
                    assert await IN_THREAD(good.frame) == (1, b"%d" % number)


# ---- 5: who is gone ----


async def test_a_peer_that_vanished_is_gone_after_the_silence(redis: Redis) -> None:
    """The client is a stopped process, whose kernel still acknowledges everything."""
    program = (
        "import sys, trio\nfrom jobws.client import connect\n"
        "async def main():\n    async with connect(sys.argv[1]) as client:\n"
        "        print('connected', flush=True)\n        await trio.sleep_forever()\ntrio.run(main)"
    )
    async with live_bridge(redis.url, ping_seconds=0.5, silence_seconds=3.0) as live:
        with subprocess.Popen(
            [sys.executable, "-c", program, live.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None
                await IN_THREAD(process.stdout.readline)
                # It answers pings, and does nothing else.
                await anyio.sleep(4)
                assert len(live.bridge.clients.connected) == 1
                process.send_signal(signal.SIGSTOP)
                with anyio.fail_after(EVENTUALLY_SECONDS):
                    while live.bridge.clients.connected:
                        await anyio.sleep(0.05)
            finally:
                process.kill()


def test_a_network_that_goes_away_is_noticed() -> None:
    """There is no FIN, no reset and no answer. The test has a network namespace of its own."""
    namespace = ["unshare", "--map-root-user", "--net"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine lets a test make no network namespace")
    command = [*namespace, sys.executable, "-m", "tests.support.cut_network"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout) == (0, "gone\n"), done.stderr


async def test_pings_reach_a_client_that_says_nothing() -> None:
    async with echo_server(ping_seconds=0.2, silence_seconds=2.0) as port:
        with await IN_THREAD(Peer, port) as peer:
            assert await IN_THREAD(peer.frame) == (9, b"")
            assert await IN_THREAD(peer.gone)


# ---- 6: the handshake ----


async def test_half_open_connections_end_and_cost_the_others_nothing() -> None:
    async with echo_server(request_seconds=1.0, max_connections=2000) as port:
        with await IN_THREAD(Peer, port) as good:
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
            slow = socket.create_connection(("127.0.0.1", port))
            for byte in b"GET / HTTP/1.1\r\n":
                slow.send(bytes((byte,)))
            good.send(b"there?")
            assert await IN_THREAD(good.frame) == (1, b"there?")
            for sock in (*silent, slow):
                sock.settimeout(10)
                await IN_THREAD(sock.recv, 1000)
                sock.close()


async def test_a_client_that_says_something_only_after_its_time_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such a client is a process that did not run meanwhile."""
    async with echo_server(request_seconds=1.0) as port:
        with socket.create_connection(("127.0.0.1", port)) as late:
            await anyio.sleep(1.5)
            late.send(b"GET / HTTP/1.1\r\n")
            late.settimeout(EVENTUALLY_SECONDS)
            with suppress(ConnectionError):
                assert await IN_THREAD(late.recv, 1000) == b""
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Sec-WebSocket-Version: 12", "426"),
        ("Sec-WebSocket-Key: short", "400"),
    ],
)
async def test_a_handshake_that_is_none(header: str, status: str) -> None:
    name, _, value = header.partition(": ")
    lines = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        name: value,
    }
    head = "".join(f"{key}: {each}\r\n" for key, each in lines.items())
    async with echo_server() as port:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(f"GET /ws HTTP/1.1\r\n{head}\r\n".encode())
            answer = (await IN_THREAD(sock.recv, 4096)).decode()
    assert answer.split()[1] == status
    assert "sec-websocket-version: 13" in answer.lower()
    assert SECURITY in answer


async def test_an_address_has_a_number_of_connections_of_any_kind() -> None:
    """Also of those over which nothing was asked."""
    limited: Counter[str] = Counter()
    sentence = "this address has as many connections as it may have (max_connections_per_address)"
    addresses = AddressLimit(3, str, limited)
    async with echo_server(addresses=addresses) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", port)) as fourth:
            answer = (await IN_THREAD(fourth.recv, 4096)).decode()
            assert answer.startswith("HTTP/1.1 503 ")
            assert SECURITY in answer
            assert answer.endswith(f"\r\n\r\n{sentence}\n")
        assert limited == {"max_connections_per_address": 1}
        for each in idle:
            each.close()
        await eventually(lambda: not addresses._open)
        with await IN_THREAD(Peer, port) as peer:
            peer.send(b"there?")
            assert await IN_THREAD(peer.frame) == (1, b"there?")


async def test_at_the_limit_new_connections_get_503() -> None:
    async with echo_server(max_connections=3) as port:
        peers = [await IN_THREAD(Peer, port) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", port)) as fourth:
            answer = (await IN_THREAD(fourth.recv, 4096)).decode()
            assert answer.startswith("HTTP/1.1 503 ")
            assert SECURITY in answer
            assert answer.endswith("\r\n\r\nthe bridge has as many connections as it may have; try again later\n")
        for peer in peers:
            peer.send(b"there?")
            assert await IN_THREAD(peer.frame) == (1, b"there?")
            peer.socket.close()


@pytest.mark.parametrize(
    ("limit", "allowed"), [pytest.param("-Sn 1024", None, marks=pytest.mark.thorough), ("-n 300", 200)]
)
async def test_the_limit_of_open_files_is_raised_and_the_cap_follows_it(
    redis: Redis, limit: str, allowed: int | None
) -> None:
    options = ("--port", "0", "--redis", redis.url, "--max-connections", "1500")
    with BridgeProcess(*options, shell=f"ulimit {limit}") as bridge:
        url = await IN_THREAD(bridge.started)
        if allowed is not None:
            line = f"300 open files are allowed (ulimit -n), so {allowed} connections, not 1500"
            await IN_THREAD(bridge.read_until, line)
        count = 1200 if allowed is None else allowed
        peers = [await IN_THREAD(Peer, url) for _ in range(count)]
        assert all(" 101 " in peer.answer for peer in peers)
        if allowed is not None:
            with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as further:
                assert b" 503 " in await IN_THREAD(further.recv, 4096)
        for peer in peers:
            peer.socket.close()


async def test_http_and_a_websocket_on_one_connection() -> None:
    """A proxy may use a connection for other requests before the upgrade."""
    async with echo_server() as port:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += await IN_THREAD(sock.recv, 4096)
            sock.sendall(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert b"101 Switching Protocols" in await IN_THREAD(sock.recv, 4096)
            sock.sendall(b"\x81\x82\0\0\0\0hi")
            assert await IN_THREAD(sock.recv, 4096) == b"\x81\x02hi"


async def test_resets_are_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with echo_server() as port:
        for part in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01"):
            for _ in range(10):
                sock = socket.create_connection(("127.0.0.1", port))
                sock.sendall(part)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        with await IN_THREAD(Peer, port) as reset:
            reset.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with await IN_THREAD(Peer, port) as good:
            good.send(b"there?")
            assert await IN_THREAD(good.frame) == (1, b"there?")
    assert [
        record for record in caplog.records if record.name.startswith("jobws") and "open files" not in record.msg
    ] == []


async def test_an_http_client_that_takes_nothing_is_cut() -> None:
    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    async with echo_server(app=endless, send_seconds=0.5) as port:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await anyio.sleep(1.5)  # meanwhile the client reads nothing

            def rest() -> int:
                taken = 0
                try:
                    while data := sock.recv(1 << 20):
                        taken += len(data)
                except ConnectionResetError:
                    pass
                return taken

            with anyio.fail_after(EVENTUALLY_SECONDS):
                assert await IN_THREAD(rest) < 64 * MIB


async def test_a_client_that_ends_while_it_is_slowed_down_is_not_worth_a_line(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The socket is closed while its reader sleeps."""
    async with live_bridge(redis.url, silence_seconds=0.5, burst_messages=1, messages_per_second=0.5) as live:
        async with raw_client(live.url) as client:
            await client.send("ping")
            await client.send("ping")
            await client.closed()
        await eventually(lambda: not live.bridge.clients.connected)
        await anyio.sleep(2)  # as long as the reader sleeps, which nothing else shows
    assert not [record for record in caplog.records if record.levelname == "ERROR"]

"""The Autobahn cases against the Python client's transport, with kosoku's fuzzing server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest
import trio

from jobws.client.connection.transport import open_websocket
from jobws.errors import ClientError

# Binary messages, which jobws.v1 does not use, and compression, which trio-websocket does not have.
EXCLUDED = ("1.2.*", "9.2.*", "9.4.*", "9.6.*", "9.8.*", "12.*", "13.*")
CASES = 266


async def _first(url: str) -> str | None:
    """Return the first message of a connection, or None if the connection ends without one."""
    try:
        async with open_websocket(url) as transport:
            return await transport.receive()
    except ClientError:
        return None


@pytest.mark.long
@pytest.mark.thorough
async def test_the_client(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    excluded = [part for case in EXCLUDED for part in ("-x", case)]
    kosoku = str(Path(sys.executable).parent / "kosoku")
    command = [kosoku, "-m", "fuzzingserver", f"127.0.0.1:{port}", "-o", str(tmp_path), *excluded]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            assert "listening" in await anyio.to_thread.run_sync(server.stdout.readline)
            url = f"ws://127.0.0.1:{port}"
            assert await _first(f"{url}/getCaseCount") == str(CASES)
            for case in range(1, CASES + 1):
                with trio.move_on_after(30):
                    try:
                        async with open_websocket(f"{url}/runCase?case={case}&agent=jobws") as transport:
                            while True:
                                await transport.send(await transport.receive())
                    except ClientError:
                        pass  # the server ends each case
            await _first(f"{url}/updateReports?agent=jobws")
            said = await anyio.to_thread.run_sync(server.stdout.read)  # the connection ends on its own
        finally:
            server.kill()
    print(*re.findall(r".*cases.*", said), sep="\n")
    assert f"\n{CASES} cases passed\n" in f"\n{said}"

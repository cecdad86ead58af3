"""The Autobahn cases, with kosoku, against an echo app on this transport."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.support.echo import echo_server

# 12.* and 13.* are compression, which is off; kosoku 0.1 itself fails on 12.*.
EXCLUDED = ("-x", "12.*", "-x", "13.*")
LARGEST_MESSAGE = 16 * 1024 * 1024


@pytest.mark.long
@pytest.mark.thorough
@pytest.mark.parametrize("direct", [False, True], ids=["asgi", "direct"])
@pytest.mark.parametrize(
    ("cases", "together", "count"),
    [
        # Many cases keep a silent connection open for a while.
        (("-x", "9.*"), 8, 247),
        # These have messages of 16 MiB, or of 65,536 frames, and kosoku gives each case only 20 s.
        (("-i", "9.*"), 1, 54),
    ],
    ids=["small", "large"],
)
async def test_the_server(cases: tuple[str, str], together: int, count: int, direct: bool, tmp_path: Path) -> None:
    kosoku = str(Path(sys.executable).parent / "kosoku")
    async with echo_server(direct=direct, max_message_bytes=LARGEST_MESSAGE, outbox_bytes=LARGEST_MESSAGE) as port:
        options = ("-p", str(together), "-o", str(tmp_path), *cases, *EXCLUDED)
        command = [kosoku, f"ws://127.0.0.1:{port}", *options]
        run = partial(subprocess.run, command, capture_output=True, text=True, check=False)
        done: Any = await anyio.to_thread.run_sync(run)
    (results,) = json.loads((tmp_path / "index.json").read_text()).values()
    passed = [case for case, result in results.items() if result["behavior"] in ("OK", "NON-STRICT", "INFORMATIONAL")]
    print(f"{len(passed)} of {len(results)} cases passed, {'direct' if direct else 'through ASGI'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(passed) == count

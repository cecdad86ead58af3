"""The example's notebook, run with nbclient, submits jobs to a real worker and collects their results."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio.to_thread
import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.bridge import live_bridge
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_notebook_submits_20_jobs_and_collects_their_results(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text("print(1)\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    worker = [sys.executable, "-m", "jobws.demo.worker", "--root", str(tmp_path), "--queue", "techstack"]
    notebook = nbformat.read(ROOT / "examples" / "notebook" / "results.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    async with live_bridge(redis.url) as live:
        monkeypatch.setenv("JOBWS_URL", live.url)
        with subprocess.Popen(
            worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "JOBWS_REDIS": redis.url},
        ):
            client = NotebookClient(notebook, timeout=60, kernel_name="python3")
            # Not nbclient's `execute`, which leaves an event loop open.
            await anyio.to_thread.run_sync(lambda: asyncio.run(client.async_execute()))
    printed = [output.get("text") for cell in notebook.cells for output in cell.get("outputs", ())]
    assert printed == [None, "20 {'Python'}\n", "['completed'] True\n"]

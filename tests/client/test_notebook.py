"""A notebook, run as nbclient runs one, submits jobs to a real worker and collects their results."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
from nbclient import NotebookClient
from nbformat import from_dict

from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

CELLS = (
    "import jobws.sync",
    "jobs = jobws.sync.connect({url!r})",
    "ids = [jobs.submit('techstack', {{'path': '.'}}).job_id for _ in range(20)]",
    "results = dict(jobs.wait_many(ids, 'techstack', timeout_s=60))",
    "print(len(results), {{each['languages'][0]['name'] for each in results.values()}}, set(results) == set(ids))",
    "print([event.event for event in jobs.watch(ids[0])], jobs.wait(ids[0]) == results[ids[0]])",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_notebook_submits_20_jobs_and_collects_their_results(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text("print(1)\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    worker = [sys.executable, "-m", "jobws.demo.worker", "--root", str(tmp_path), "--queue", "techstack"]
    async with live_bridge(redis.url) as live:
        cells = [
            {"cell_type": "code", "id": str(number), "metadata": {}, "outputs": [], "source": cell.format(url=live.url)}
            for number, cell in enumerate(CELLS)
        ]
        notebook = from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})  # type: ignore[no-untyped-call]
        with subprocess.Popen(
            worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "JOBWS_REDIS": redis.url},
        ):
            client = NotebookClient(notebook, timeout=60, kernel_name="python3")
            # Not its `execute`, which leaves an event loop behind.
            await anyio.to_thread.run_sync(lambda: asyncio.run(client.async_execute()))
    printed = ["".join(output["text"] for output in cell["outputs"]) for cell in notebook.cells]
    assert printed == ["", "", "", "", "20 {'Python'} True\n", "['completed'] True\n"]

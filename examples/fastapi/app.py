"""An app that adds jobs, with the bridge mounted in it.

pip install 'jobws[server]' bullmq fastapi 'uvicorn[standard]'
uvicorn app:app                 # then http://127.0.0.1:8000, beside a worker of the queue "reports"
"""

import os
from contextlib import asynccontextmanager

from bullmq import Queue
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from jobws.server import Bridge, Settings

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
bridge = Bridge(Settings(redis=REDIS, queues=("reports",)))


@asynccontextmanager
async def lifespan(app):
    async with bridge.running():
        app.state.reports = Queue("reports", {"connection": REDIS})
        yield
        await app.state.reports.close()


app = FastAPI(lifespan=lifespan)
app.mount("/live", bridge.app)


@app.post("/reports/{city}")
async def add_report(city: str, request: Request):
    job = await request.app.state.reports.add("report", {"city": city})
    return {"jobId": job.id}


@app.get("/")
async def index():
    return HTMLResponse(PAGE)


PAGE = """<!doctype html>
<title>Reports</title>
<button>Berlin</button> <button>Lima</button>
<ul></ul>
<script type="module">
  import { io } from '/live/jobws.js';

  const jobs = io('/live');
  document.onclick = async ({ target }) => {
    if (target.tagName !== 'BUTTON') return;
    const city = target.textContent;
    const item = document.querySelector('ul').appendChild(document.createElement('li'));
    item.textContent = `${city}: waiting`;
    const answer = await fetch(`/reports/${city}`, { method: 'POST' });
    const { jobId } = await answer.json();
    try {
      const report = await jobs.wait(jobId, { queue: 'reports' });
      item.textContent = `${city}: ${report.text}`;
    } catch (error) {
      item.textContent = `${city}: ${error.message}`;
    }
  };
</script>
"""

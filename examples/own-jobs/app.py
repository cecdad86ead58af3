r"""An app whose users sign in, start reports, and watch the reports that they started, and no others.

pip install 'jobws[serve,jwt]' bullmq fastapi 'uvicorn[standard]'
openssl rand -base64 48 > jobws.secret
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=app.example.com
jobws serve --queue reports --jwt-secret-file jobws.secret \
    --root-path /live --trusted-proxy 127.0.0.1 --allow-host app.example.com
uvicorn app:app
mkdir -p temp && nginx -p . -c nginx.conf    # then https://app.example.com, beside a worker of the queue "reports"
"""

import os
import secrets
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from bullmq import Queue
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from jobws.tokens import job_scope, mint

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
SECRET = Path("jobws.secret").read_text("ascii").strip()
COOKIE = "__Host-session"

# Who is signed in, by cookie, and who started a report, by job id. A real app has this in its database.
users: dict[str, str] = {}
owners: dict[str, str] = {}


@asynccontextmanager
async def lifespan(app):
    app.state.reports = Queue("reports", {"connection": REDIS})
    yield
    await app.state.reports.close()


app = FastAPI(lifespan=lifespan)


@app.post("/sign-in/{name}")
async def sign_in(name: str, response: Response):
    cookie = secrets.token_urlsafe()  # a real app asks for a password first
    users[cookie] = name
    response.set_cookie(COOKIE, cookie, secure=True, httponly=True, samesite="strict")


async def signed_in(request: Request):
    user = users.get(request.cookies.get(COOKIE, ""))
    if user is None:
        raise HTTPException(401, "sign in first")
    return user


User = Annotated[str, Depends(signed_in)]


@app.post("/reports/{city}")
async def start(city: str, user: User, request: Request):
    job_id = str(uuid4())  # never used again, so that a token for it never shows another job
    owners[job_id] = user
    await request.app.state.reports.add("report", {"city": city}, {"jobId": job_id})
    return {"jobId": job_id}


@app.get("/reports/{job_id}/token")
async def token(job_id: str, user: User):
    if owners.get(job_id) != user:
        raise HTTPException(404, "you started no such report")
    return mint(SECRET, job_scope("reports", job_id), sub=user)


@app.get("/")
async def page():
    return FileResponse(Path(__file__).with_name("index.html"))

"""What docs/elements.md shows works as it is written there: the two lines, a token, styles, the policy, and React."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from jobws.tokens import job_scope
from tests.support.documents import ROOT, block
from tests.support.elements import HOST_SCRIPT, until_part
from tests.support.node import install_packages
from tests.support.page_server import PageServer
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.browser import Chromium
    from tests.support.redis import Redis

BRIDGE: Final = "127.0.0.1:8787"
PART: Final = """(() => {
  const card = document.querySelector('jobws-job')?.shadowRoot?.querySelector('[part=card]');
  return card && getComputedStyle(card).boxShadow + getComputedStyle(card).borderRadius;
})()"""
MOUNT: Final = """
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { Job } from './job.jsx';

window.states = [];
const onState = ({ detail }) => states.push(detail.state);
const root = createRoot(document.querySelector('main'));
window.show = (id) => root.render(createElement(Job, { queue: 'http', id, onState }));
show('42');
"""


async def test_the_two_lines_a_token_styles_and_the_policy(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    files: dict[str, str] = {}
    with PageServer(served(files)) as pages:
        async with keyed_bridge(redis.url, allowed_origins=(pages.origin,)) as live:
            address = live.url.removeprefix("http://")

            def here(text: str) -> str:
                return text.replace(BRIDGE, address)

            policy = " ".join(here(block("http", "Content-Security-Policy")).split()).partition(": ")[2]
            files |= {
                "page.html": f"""<!doctype html><meta http-equiv="content-security-policy" content="{policy}">
                    <link rel="stylesheet" href="style.css"><script src="host.js"></script>
                    <script type="module" src="app.js"></script>{here(block("html", "<jobws-job"))}""",
                "style.css": block("css", "::part"),
                "app.js": here(block("js", "import { JobwsElement }")),
                "host.js": HOST_SCRIPT.decode(),
                "token": jwt(job_scope("http", "42")),
            }
            async with chromium.page(f"{pages.origin}/page.html") as page:
                await until_part(page, "state", "active")
                assert await page.run(PART) == "rgba(0, 0, 0, 0.133) 0px 2px 8px 0px4px"
                redis.add_event("http", "completed", "42", returnvalue="7")
                await until_part(page, "result", "7")
                assert await page.run("refused") == []


async def test_in_react(redis: Redis, chromium: Chromium, tmp_path: Path) -> None:
    for job_id in ("42", "43"):
        redis.add_job("http", job_id, state="active")
    files: dict[str, str] = {}
    with PageServer(served(files)) as pages:
        async with keyed_bridge(redis.url, allowed_origins=(pages.origin,)) as live:
            code = block("jsx", "<jobws-job").replace(f"http://{BRIDGE}", live.url)
            await anyio.to_thread.run_sync(build, tmp_path, code)
            files |= {
                "page.html": '<!doctype html><main></main><script src="host.js"></script>'
                '<script type="module" src="app.js"></script>',
                "host.js": HOST_SCRIPT.decode(),
                "app.js": (tmp_path / "app.js").read_text("utf-8"),
                "token": jwt(f"{job_scope('http', '42')} {job_scope('http', '43')}"),
            }
            async with chromium.page(f"{pages.origin}/page.html") as page:
                await until_part(page, "state", "active")
                redis.add_event("http", "failed", "42", failedReason="no such page")
                await until_part(page, "reason", "no such page")
                assert await page.run("states") == ["active", "failed"]
                await page.run("show('43')")
                await until_part(page, "about", "http / 43")
                await until_part(page, "reason", None)
                await until_part(page, "state", "active")


def served(files: Mapping[str, str]) -> Callable[[str], bytes | None]:
    """Return the function of a `PageServer` for these files."""
    return lambda path: files[path].encode() if path in files else None


def build(folder: Path, code: str) -> None:
    """Make `app.js` of the code in the document, with React and the npm package."""
    (folder / "node_modules").mkdir()
    for home, last in (("node-react", "ws"), ("node-build", "terser")):
        install_packages(ROOT / "tests" / home, last)
        for each in (ROOT / "tests" / home / "node_modules").iterdir():
            if not each.name.startswith("."):
                (folder / "node_modules" / each.name).symlink_to(each)
    (folder / "node_modules" / "jobws").symlink_to(ROOT / "src" / "jobws" / "web")
    (folder / "job.jsx").write_text(code)
    (folder / "mount.js").write_text(MOUNT)
    esbuild = str(folder / "node_modules" / "esbuild" / "bin" / "esbuild")
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--outfile=app.js", "--preserve-symlinks")
    subprocess.run([esbuild, "mount.js", *options], cwd=folder, check=True, capture_output=True, timeout=120)

"""The files of the browser extension, and what tests run in its pages."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from typing import Final

from tests.support.documents import ROOT

FOLDER: Final = ROOT / "web" / "extension"
MANIFEST: Final = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
# As Chromium computes it: 16 bytes of the hash of the key, with a letter of a to p for each half of a byte.
_DIGEST: Final = hashlib.sha256(b64decode(MANIFEST["key"])).hexdigest()[:32]
ORIGIN: Final = "chrome-extension://" + _DIGEST.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))
"""The origin of its pages and its worker."""
EVERYTHING: Final = "import('./store.js').then((it) => it.everything())"
"""What the extension keeps."""
FORGET: Final = f"""async () => {{
    await chrome.storage.local.clear();
    // The worker may still write of jobs, until it has closed its connection.
    while ((await {EVERYTHING}).connection.state !== 'idle') await new Promise((resolve) => setTimeout(resolve, 10));
    await Promise.all([chrome.storage.local.clear(), chrome.storage.session.clear(), chrome.alarms.clearAll()]);
    for (const id in await chrome.notifications.getAll()) await chrome.notifications.clear(id);
}}"""
"""Forget everything."""
USE: Final = "async ([url, token]) => (await import('./store.js')).use(url, token)"
"""Use a bridge."""
WATCH: Final = "async (job) => (await import('./store.js')).watch(job)"
"""Watch a job."""

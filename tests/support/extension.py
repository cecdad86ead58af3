"""The files of the browser extension, and what tests run in its pages."""

from __future__ import annotations

import json
from typing import Final

from tests.support.documents import ROOT

FOLDER: Final = ROOT / "web" / "extension"
MANIFEST: Final = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
EVERYTHING: Final = "import('./store.js').then((it) => it.everything())"
"""What the extension keeps."""
USE: Final = "async ([url, token]) => (await import('./store.js')).use(url, token)"
"""Use a bridge."""
WATCH: Final = "async (job) => (await import('./store.js')).watch(job)"
"""Watch a job."""

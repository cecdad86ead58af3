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
USE: Final = "async ([url, token]) => (await import('./store.js')).use(url, token)"
"""Use a bridge."""
WATCH: Final = "async (job) => (await import('./store.js')).watch(job)"
"""Watch a job."""

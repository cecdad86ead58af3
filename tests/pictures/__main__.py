"""`make pictures`: starts the demo, looks at it in Chromium, and writes docs/pictures/."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.pictures import beside, every, guests, stills
from tests.pictures.demo import demo
from tests.support.documents import PICTURES

# The queues are looked at last, since then most has happened.
KINDS: Final = {"animation": beside.take, "guests": guests.take, "page": stills.take}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--only", choices=KINDS, help="only these")
    parser.add_argument(
        "--every-view", type=Path, metavar="FOLDER", help="instead, every view into this folder, to look at"
    )
    parser.add_argument("--named", default="", metavar="PART", help="of these, those whose names contain this")
    given = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with demo() as started, sync_playwright() as playwright:
        browser = every.launch(playwright)
        if given.every_view:
            every.take(given.every_view, started, browser, given.named)
        for kind, take in KINDS.items():
            if not given.every_view and given.only in (None, kind):
                take(started, browser)
        browser.close()


if __name__ == "__main__":
    main()

"""The test vectors for access, which tests in Python and in Node share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "access" / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        (Path(__file__).parents[1] / "access" / "vectors" / f"{name}.json").read_text("utf-8")
    )
    return rows

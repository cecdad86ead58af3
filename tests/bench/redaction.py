"""How long it takes to redact parts of a megabyte of JSON, in CPU time: `python -m tests.bench.redaction`."""

from __future__ import annotations

import json
import time
from typing import Final

from jobws.privacy.paths import Path, redact, tree_of

ROUNDS: Final = 15
PATHS: Final[dict[str, Path]] = {
    "the whole": (),
    "one part": ("token",),
    "a part of each of 12,000 objects": ("users", None, "password"),
}


def main() -> None:
    users = [
        {"name": f"user {number}", "password": "xxxxxxxx", "n": [1.5, 2, 3], "of": {"a": True}}
        for number in range(12_000)
    ]
    value = json.dumps({"users": users, "token": "x"}).encode()
    print(f"{len(value):,} bytes; the least of {ROUNDS} rounds, ms")
    for name, path in PATHS.items():
        tree, took = tree_of([path]), []
        for _ in range(ROUNDS):
            began = time.process_time()
            redact(value, tree)
            took.append(time.process_time() - began)
        print(f"  {name}: {min(took) * 1000:.2f}")


if __name__ == "__main__":
    main()

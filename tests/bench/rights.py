"""`python -m tests.bench.rights` measures how long a check of a right takes, with 1 entry and 1,000 in the token."""

from __future__ import annotations

import statistics
import timeit
from typing import Final

from jobws.access.identity import Identity, Rights, allows
from jobws.access.scope import Action, parse_scope

ROUNDS: Final = 15
QUESTIONS: Final = 10_000


def identity(entries: int) -> Identity:
    rights = Rights(parse_scope([f"read:jobs:http/{number}" for number in range(entries)]))
    return Identity(iss=None, sub="ann", rights=rights, expires_ms=None, token_hash=b"")


def measure(asked: Identity, job_id: str) -> float:
    """Return the microseconds for one check, with the overhead of the loop."""
    return timeit.timeit(lambda: allows(asked, Action.READ_JOB, "http", job_id), number=QUESTIONS) / QUESTIONS * 1e6


def main() -> None:
    holders = {1: identity(1), 1000: identity(1000)}
    cases = [(entries, job_id) for job_id in ("0", "none") for entries in holders]
    seen: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for entries, job_id in cases:
            seen[entries, job_id].append(measure(holders[entries], job_id))
    for entries, job_id in cases:
        answer = "allowed" if job_id == "0" else "refused"
        print(f"{entries:>5} entries, {answer}: {statistics.median(seen[entries, job_id]):.2f} µs a question")


if __name__ == "__main__":
    main()

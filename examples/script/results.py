"""Adds one job for each argument, and prints the results as the jobs end.

pip install jobws               # the client alone
python results.py techstack . src
"""

import os
import sys

import jobws.sync
from jobws.errors import ClientError

URL = os.environ.get("JOBWS_URL", "http://127.0.0.1:8787")


def main(queue: str, paths: list[str]) -> int:
    """The number of jobs that failed."""
    failed = 0
    with jobws.sync.connect(URL) as jobs:
        submitted = {jobs.submit(queue, {"path": path}).job_id: path for path in paths}
        for job_id, outcome in jobs.wait_many(submitted, queue, timeout_s=600):
            if isinstance(outcome, ClientError):
                failed += 1
            print(f"{submitted[job_id]}: {outcome}")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], sys.argv[2:]) else 0)

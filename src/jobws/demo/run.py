"""The demo: a private Redis, the bridge, a worker, and a job that is followed from its subscription to its result."""

from __future__ import annotations

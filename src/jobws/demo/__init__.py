"""The demo: a worker that does real work, and a walk through its jobs."""

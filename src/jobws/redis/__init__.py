"""Connections to Redis that a task can wait for, from a URL, with TLS, users and Sentinels. Nothing here knows BullMQ.

Begin reading at `connection`. `commands` has the types of commands and stream entries, `login` connects with redis-py,
`sentinel` finds the master, `server` decides which servers are refused, and `log_stream` reads and writes jobws's own
stream of log lines. `retry` says how long to wait after a failure, and `batch_size` how many items to ask for.
"""

"""Connections to Redis for tasks, from a URL, with TLS, users and Sentinels. Nothing here knows BullMQ.

Begin reading at `connection`. `commands` has the types of commands and stream entries. `login` connects with redis-py,
`sentinel` finds the master, and `server` decides which servers are refused. `log_stream` reads and writes the stream of
log lines, which is jobws's own. `retry` says how long to wait after a failure, and `batch_size` how many items to ask
for.
"""

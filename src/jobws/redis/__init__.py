"""Talking to Redis: from a URL to a connection that a task can wait for, through TLS, users and Sentinels.

`connection` is where to begin. `commands` has the shapes of what is sent and read, `server` which servers are refused,
`log_stream` the one stream that is ours and not BullMQ's. `retry` says how long to wait after a failure, `batch_size`
how much to ask for together. Nothing here knows BullMQ.
"""

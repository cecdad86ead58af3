"""Talking to Redis: from a URL to a connection that a task can wait for, through TLS, users and Sentinels.

`connection` is where to begin. `commands` has the shapes of what is sent and read, `server` which servers are refused,
`log_stream` the one stream that is ours and not BullMQ's. Nothing here knows BullMQ.
"""

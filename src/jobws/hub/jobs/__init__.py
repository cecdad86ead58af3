"""The subscriptions to jobs and queues: where each begins, and which events it gets.

`fanout` passes events on: `batch` has the step for one event, and `progress` merges updates of progress. `rooms` finds
the subscriptions that want an event, and `client` serves requests. `query` says what to look up in Redis, and
`beginning` decides where a subscription begins. `published_streams` knows how far each stream was published, and
`history` which events happened before. `missed`, `backlog` and `replay` deliver what a subscription missed.
"""

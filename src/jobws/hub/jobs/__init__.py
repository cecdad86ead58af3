"""The subscriptions to jobs and queues: where each begins, and which events it gets.

`fanout` and `batch` pass events on, `rooms` finds the subscriptions that want them, `client` serves requests.
`pending_subscription` decides where a subscription begins. `history` knows which events happened before, and `missed`
and `replay` deliver those that a subscription missed.
"""

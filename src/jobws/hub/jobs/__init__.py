"""The subscriptions to jobs and queues: where each begins, and which events it gets.

`fanout` passes events on, `rooms` finds the subscriptions that want them, and `client` serves requests. `query` looks
jobs up, and `beginning` decides where a subscription begins. `published_streams` knows how far each stream was
published, and `history` which events happened before. `missed`, `backlog` and `replay` deliver what a subscription
missed.
"""

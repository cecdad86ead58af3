"""The subscriptions to jobs and queues: where each begins, and which events it gets.

`fanout` passes events on, `rooms` finds the subscriptions that want them, `client` serves requests. `beginning` decides
where a subscription begins. `streams` and `history` know how far streams were published and which events happened
before. `missed` and `replay` deliver those that a subscription missed.
"""

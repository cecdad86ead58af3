"""The log that all programs share: the WebSocket `/logs`, and writing to the log's stream, both in `service`.

A subscription is live while it gets new lines as they are written. `tail` reads these for all live subscriptions.
Before that, `history` reads older lines for each subscription.
"""

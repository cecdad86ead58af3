"""The log that all programs share: the WebSocket `/logs`, and writing to the log's stream, both in `service`.

`tail` reads new lines for all live subscriptions, `history` reads older lines back for one subscription.
"""

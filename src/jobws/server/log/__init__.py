"""The log that all programs share: `service` puts together its WebSocket `/logs` and the way into its stream.

`tail` reads on in the stream while anyone watches it, `history` reads back for one subscription.
"""

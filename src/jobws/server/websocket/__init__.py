"""One client between what carries its messages and the hub, which never waits.

`endpoint` serves WebSockets, `in_process_client` lets an HTTP request wait as a WebSocket would, `rate_limit` slows
down who speaks too fast.
"""

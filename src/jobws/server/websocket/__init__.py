"""Connects each client's transport with the hub.

`clients` serves WebSockets. `in_process_client` lets an HTTP request wait for a job as a WebSocket does. `admission`
closes clients without a valid token, and `connection_limits` counts connections. `rate_limit` slows down clients that
send too fast, and `rates` limits what one holder of tokens sends over several connections. `hello` makes the first
frame.
"""

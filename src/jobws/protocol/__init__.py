"""What goes over the wire: pure, shared by server, Python client and the conformance vectors.

`request_types` and `messages` have one Struct per message, `requests` checks what clients send, `session` holds what a
connection's frames become, `codec` makes frames. `http_resources` is HTTP's part, `log` that of `/logs`.
"""

"""The messages of the protocol, without I/O. Server, Python client and conformance vectors share these modules.

`request_types` and `messages` define a Struct for each message. `requests` checks what clients send, `session` turns a
client's frames into requests, and `codec` makes frames. `http_resources` defines the bodies of HTTP, and `log` the
messages of `/logs`.
"""

"""The server's sockets, from `accept` to the last byte.

`acceptor` accepts connections. `http1` serves HTTP requests, with Hypercorn's classes. `head` and `handshake` read and
answer the request with which a WebSocket begins. `websocket_connection` serves one WebSocket, without Hypercorn:
`frame_reader` reads its frames, `send_buffer` writes them. An app gets the messages through ASGI (`asgi_websocket`) or
by plain calls (`direct`). No module here depends on what a message contains.
"""

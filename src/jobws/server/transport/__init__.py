"""The server's sockets, from `accept` to the last byte: HTTP through Hypercorn, WebSockets without it.

`acceptor` tells the two apart, `http1` serves requests, `websocket_connection` one WebSocket: `frame_reader` is its way
in, `send_buffer` its way out. Nothing here knows what is in a message.
"""

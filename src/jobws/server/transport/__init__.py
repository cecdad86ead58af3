"""The server's sockets, from `accept` to the last byte. Hypercorn serves HTTP; this package serves WebSockets itself.

`acceptor` accepts connections and distinguishes the two protocols. `http1` serves HTTP requests. `websocket_connection`
serves one WebSocket: `frame_reader` reads its frames, `send_buffer` writes them. No module here depends on what a
message contains.
"""

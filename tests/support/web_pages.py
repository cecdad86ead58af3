"""A web server on loopback whose answers are bytes that a test chooses."""

from __future__ import annotations

import socket
import threading


class Pages:
    """The server. It sends the same bytes on each connection. `asked` has the requests.

    If `end` is false, it leaves connections open after the answer.
    """

    def __init__(self, answer: bytes, *, end: bool = True) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._end = end
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.asked.append(connection.recv(65536))
            connection.sendall(self._answer.replace(b"{self}", self.url.encode()))
            if self._end:
                connection.close()
            else:
                self._open.append(connection)

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone does not wake a thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def page(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body

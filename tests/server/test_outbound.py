"""HTTP requests of the bridge: a server that is slow holds no thread for longer than the request may take."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from jobws.server.outbound import ExchangeError, exchange

SECONDS = 0.3


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_a_server_that_sends_byte_by_byte_is_too_slow(begin: bytes) -> None:
    gone = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(begin)
            try:
                while not gone.wait(SECONDS / 10) and time.monotonic() < started + 20 * SECONDS:
                    connection.sendall(b"H")
            except OSError:  # the bridge has gone
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip)
        server.start()
        started = time.monotonic()
        with pytest.raises(ExchangeError) as refused:
            exchange("GET", f"http://127.0.0.1:{listener.getsockname()[1]}", SECONDS)
        took = time.monotonic() - started
        gone.set()
        server.join()
    assert str(refused.value) == "no answer within 0.3 s"
    assert took < 10 * SECONDS
